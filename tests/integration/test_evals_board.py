"""The sample suite of boards: its program, its skips, what `make evals-board` shows; and docs/boards.md."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from showdriver import Driver
from sshd import busybox, free_port, until

from pytest_evalrun.suite.devices import devices_of
from pytest_evalrun.suite.discovery import discover
from pytest_evalrun.suite.schema import DeviceEntry

SAMPLE = Path(__file__).parents[2] / "evals" / "board"
PAGE = (SAMPLE.parents[1] / "docs" / "boards.md").read_text(encoding="utf-8")
MODELS = ("centroids", "linear", "network")
DATASETS = ("clean", "noisy", "shifted")


class Copy:
    """The sample elsewhere, with ports that nobody else has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.suite = root / "evals" / "board"
        shutil.copytree(SAMPLE, self.suite, ignore=shutil.ignore_patterns(".boards", "__pycache__"))
        shutil.copy(SAMPLE.parent / "shows.py", root / "evals")
        (root / "pytest.ini").write_text("[pytest]\n")
        devices = self.suite / "devices.yaml"
        self.ports: list[int] = []
        devices.write_text(re.sub(r"(?<=port: )\d+", self._port, devices.read_text()))

    def _port(self, _: re.Match[str]) -> str:
        self.ports.append(free_port())
        return str(self.ports[-1])

    def start(self, *args: str) -> Driver:
        return Driver(self.root, "evals/board/boards.py", *args)

    def answering(self) -> list[int]:
        return [port for port in self.ports if _answers(port)]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """No sshd of it stays, whatever becomes of the test."""
    monkeypatch.syspath_prepend(SAMPLE)
    from sshds import Board

    copy = Copy(tmp_path)
    yield copy
    for place in (copy.suite / ".boards").glob("board*"):
        Board(place.name, "127.0.0.1", 0, place).end_left()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _asked(model: Path, files: list[Path], out: Path, path: str) -> list[list[str]]:
    out.mkdir(parents=True)
    (out / "list").write_text("".join(f"{file}\n" for file in files))
    argv = [shutil.which("sh", path=path), str(SAMPLE / "classify.sh"), str(model), str(out / "list"), str(out)]
    subprocess.run(argv, env={"PATH": path}, check=True, capture_output=True)
    with (out / "answers.csv").open(newline="") as file:
        return [*csv.reader(file)][1:]


def _computed(model: Path, files: list[Path]) -> list[str]:
    values = np.array([file.read_text().split() for file in files], dtype=float)
    lines = iter(model.read_text().splitlines())
    for header in lines:
        _, _, outputs, activation = header.split()
        rows = np.array([next(lines).split() for _ in range(int(outputs))], dtype=float)
        values = values @ rows[:, 1:].T + rows[:, 0]
        values = np.maximum(values, 0) if activation == "relu" else values
    return [str(best) for best in values.argmax(axis=1)]


@pytest.mark.parametrize("board", ["this host", "BusyBox"])
def test_a_board_that_has_a_shell_and_awk_can_run_the_program(tmp_path, board):
    """With the awk of this host and with nothing but BusyBox the answers are those of the models' own numbers."""
    path = busybox(tmp_path / "bin") if board == "BusyBox" else os.environ["PATH"]
    for model in MODELS:
        for dataset in DATASETS:
            files = sorted((SAMPLE / "data" / dataset).glob("*.txt"))[:40]
            weights = SAMPLE / "models" / f"{model}.txt"
            rows = _asked(weights, files, tmp_path / model / dataset, path)
            assert rows == [[file.name, digit] for file, digit in zip(files, _computed(weights, files), strict=True)]


@pytest.mark.parametrize("broken", ["model", "digit"])
def test_what_cannot_be_read_is_no_answer(tmp_path, broken):
    """A model that is cut off, or a digit that is not there, ends the program with its name and without answers."""
    model, digit = tmp_path / "m.txt", SAMPLE / "data/clean/000.txt"
    text = (SAMPLE / "models/linear.txt").read_text()
    model.write_text(text[: len(text) // 2] if broken == "model" else text)
    (tmp_path / "list").write_text(f"{digit if broken == 'model' else tmp_path / 'none.txt'}\n")
    argv = ["sh", str(SAMPLE / "classify.sh"), str(model), str(tmp_path / "list"), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode != 0
    assert {"model": "m.txt", "digit": "none.txt"}[broken] in done.stderr
    assert not (tmp_path / "answers.csv").exists()


def test_without_a_board_every_pair_is_skipped(copy):
    """Where no board answers the pairs are SKIPPED, and the reason names the boards."""
    argv = [sys.executable, "-m", "pytest", "evals/board", "-rs"]
    done = subprocess.run(argv, cwd=copy.root, capture_output=True, text=True)
    assert "9 skipped" in done.stdout, done.stdout
    (reason,) = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED [9]")]
    assert all(word in reason for word in ("board1", "board2", "board3", "Connection refused"))


@pytest.mark.slow
def test_what_is_shown_holds(copy):
    """Results, uploads and leftovers are as they must be, with all boards and when one is cut off in the middle."""
    with copy.start() as driver:
        code = driver.process.wait(280)
    text = driver.text
    assert code == 0, text
    assert "everything held" in text
    assert "  NO " not in text
    for line, times in (
        ("all pairs passed", 3),
        ("no model went to a board twice", 2),
        ("the 9 results are those of this machine", 2),
        ("no work directory is left on any board", 1),
        ("a board was cut off with a pair half done", 1),
        ("no work directory is left on the other boards", 1),
    ):
        assert text.count(f"  yes  {line}") == times, text
    assert not copy.answering()


def test_ctrl_c_ends_all(copy):
    """Ctrl-C while pairs run ends pytest and the boards, and the exit code says that it was interrupted."""
    with copy.start() as driver:
        driver.says("$ pytest")
        started = psutil.Process(driver.process.pid)
        processes = until(lambda: found if len(found := started.children()) > len(copy.ports) else None)
        assert driver.kill(signal.SIGINT) == 130
    assert "interrupted: all boards are ended" in driver.text
    assert not copy.answering()
    until(lambda: not any(process.is_running() for process in processes))


def test_boards_outlive_a_kill_by_one_call(copy):
    """Where SIGKILL left sshds behind, the next call ends them and has the boards again; so does SIGTERM end them."""
    with copy.start("up") as first:
        first.says("Ctrl-C ends the boards")
        first.kill(signal.SIGKILL)
    assert copy.answering() == copy.ports
    with copy.start("up") as second:
        second.says("Ctrl-C ends the boards")
        assert copy.answering() == copy.ports
        assert second.kill(signal.SIGTERM) == 130
    assert not copy.answering()


def test_a_port_that_is_taken_is_told(copy):
    """Where somebody else has the port of a board, that is said, and no board stays."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", copy.ports[1]))
        other.listen()
        with copy.start("up") as driver:
            assert driver.process.wait(60) == 1
    assert f"board2: port {copy.ports[1]} of 127.0.0.1" in driver.text
    assert not copy.answering()


@pytest.fixture
def boards(monkeypatch):
    monkeypatch.syspath_prepend(SAMPLE)
    import boards

    return boards


def test_what_does_not_hold_is_found(boards, tmp_path, capsys):
    """A model that went twice, a result that differs, a directory that stayed: each is told, and counts."""
    assert boards.repeated({("m", "board1"): 2, ("m", "board2"): 1}) == ["m went to board1 2 times"]
    same = {"m/a": ("passed", "top1", "0.9")}
    assert boards.differences(same, dict(same)) == []
    assert len(boards.differences(same, {"m/a": ("passed", "top1", "0.8"), "m/b": ("passed", "top1", "1.0")})) == 2
    board = boards.Board("board1", "127.0.0.1", 1, tmp_path)
    (board.home / "task_m_a").mkdir(parents=True)
    assert boards.left_over([board]) == ["board1: task_m_a"]
    show = boards.Show([board])
    show.holds("nothing is left", boards.left_over([board]))
    assert "NO   nothing is left" in capsys.readouterr().out
    assert show.broken


def test_examples_of_the_page_are_suites(tmp_path):
    """Each suite on the page is accepted as it stands, with the boards of the page."""
    boards, *suites = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for number, suite in enumerate(suites):
        root = tmp_path / str(number)
        for name in ("models/a.hbm", "data/city/a.png", "data/night/a.png", "lib/a.so", "t/m.hbm", "t/d/images/a.png"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        (root / "eval.sh").write_text("MODEL_FILE_EXT=.hbm\nIN_SUBDIR=images\n")
        (root / "devices.yaml").write_text(boards)
        (root / "evalrun.yaml").write_text(suite)
        pairs = discover(root / "evalrun.yaml", environ={}).pairs
        assert pairs
        assert all(pair.settings.kind.needs_board(pair.settings) and devices_of(pair.settings) for pair in pairs)
    assert len(suites) == 2


def test_keys_of_the_page_are_those_of_a_board():
    """The table of a board's keys has all of them, and no other."""
    section = PAGE.partition("## Boards")[2].partition("## Asking")[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == DeviceEntry.model_fields.keys()
