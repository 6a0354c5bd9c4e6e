"""Boards from the command line: how they stand, and what a run has left there; commands of their own, real boards."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sshd import ME, Sshd, free_port
from support import EVALRUN

from pytest_evalrun.remote.manifest import boards_of
from pytest_evalrun.remote.places import CACHE
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.runs import add_manifest
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory
from pytest_evalrun.suite.discovery import discover

pytestmark = pytest.mark.measured


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch, tmp_path):
    """Neither the agent nor the keys of whoever runs the tests open a door, nor do their leases count."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))


@pytest.fixture
def board(tmp_path):
    with Sshd(tmp_path / "board") as board:
        yield board


def on_boards(project, *devices, names=("a",), **top):
    """A suite whose pairs run on these."""
    given = {"adapter": "ssh", "ask": "batch", "command": ["sh", "ask.sh", "{model}", "{inputs}"], "params": {}}
    return project.make(names, **given, results={"csv": "answers.csv"}, devices=list(devices), **top)


def cells(out):
    """The lines of a table by their first word, each with what it says."""
    return {line.split(maxsplit=1)[0]: line for line in out.splitlines()}


def names(home):
    return sorted(path.name for path in home.iterdir())


def lay(board, *found):
    """What a killed run leaves: directories, and models in the cache."""
    for name in found:
        path = board.home / name
        path.parent.mkdir(exist_ok=True)
        if path.parent.name == CACHE:
            path.write_text("weights")
        else:
            path.mkdir()


class TestDevices:
    def test_all_that_is_known_of_a_board_is_in_its_row(self, project, board):
        """Where it is, load and disk, who has it, models with sizes, what was left behind, labels."""
        on_boards(project, board.entry(labels={"soc": "j5"}, slots=2, home=str(board.home)))
        lay(board, f"{CACHE}/a_model.bin", "task_a_one")
        device = Device("b1", f"{ME}@127.0.0.1:{board.port}", slots=2)
        with DevicePool(LeaseDirectory(), [device]).try_acquire({}):
            code, out, err = project.evalrun("devices")
            assert (code, err) == (0, ""), (out, err)
            (told,) = json.loads(project.evalrun("devices", "evals", "--json")[1])
        row = cells(out)["b1"]
        for text in (
            f"({ME}@127.0.0.1:{board.port})",
            str(board.home),
            "a_model.bin (7 bytes)",
            "task_a_one",
            "soc: j5",
        ):
            assert text in row
        assert f"1 of 2 taken: process {os.getpid()} of " in row
        assert row.endswith("reachable")
        assert (told["reachable"], told["reason"], told["home"]) == (True, None, str(board.home))
        assert (told["models"], told["left_behind"]) == ([{"name": "a_model.bin", "size": 7}], ["task_a_one"])
        assert [lease["pid"] for lease in told["leases"]] == [os.getpid()]
        assert (told["slots"], told["labels"]) == (2, {"soc": "j5"})
        assert 0 < told["disk_free"] < told["disk_size"]
        assert told["load"] >= 0

    def test_boards_that_cannot_be_used_say_why(self, project, board):
        """Nobody there, nobody answering, a key that nobody knows with its fingerprint: a row each, and exit code 1."""
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            on_boards(
                project,
                board.entry(),
                board.entry("down", port=free_port()),
                board.entry("deaf", port=deaf.getsockname()[1]),
                board.entry("strange", known_hosts="/nonexistent", user="somebody"),
            )
            code, out, err = project.evalrun("devices")
        rows = cells(out)
        assert (code, err) == (1, ""), (out, err)
        assert rows["b1"].endswith("reachable")
        assert "Connection refused" in rows["down"]
        assert "cannot be reached: it did not answer within" in rows["deaf"]
        assert "host key is not known: ssh-ed25519 SHA256:" in rows["strange"]
        assert "host_key: " in rows["strange"]

    def test_each_board_has_one_row(self, project, board):
        """However many pairs and suites name it; one that no pair wants too, and with another home another one."""
        on_boards(project, board.entry(), board.entry("b2", host="localhost"), names=("a", "b"), device={})
        other = json.loads((project.suite / "evalrun.yaml").read_text())
        other |= {"adapter": "./model.py:Model", "env": {"REMOTE_TASK_HOME": str(board.home)}}
        for key in ("ask", "command", "results", "params", "device"):
            other.pop(key)
        second = project.root / "evals" / "second"
        second.mkdir()
        for name in ("model.py", "a.bin", "b.bin", "one.jsonl"):
            (second / name).write_bytes((project.suite / name).read_bytes())
        (second / "evalrun.yaml").write_text(json.dumps(other))
        told = json.loads(project.evalrun("devices", "--json")[1])
        assert [row["name"] for row in told] == ["b1", "b2", "b1", "b2"]
        assert len(json.loads(project.evalrun("devices", "--json", "evals/echo")[1])) == 2

    def test_mistakes_are_usage_errors(self, project, board):
        """No suite, no such place, no board in any suite: one line, and exit code 2."""
        project.root.mkdir()
        code, _, err = project.evalrun("devices")
        assert (code, err.startswith("Error: no suite found: looked for evalrun.yaml in ")) == (2, True)
        project.make()
        code, _, err = project.evalrun("devices", "nowhere")
        assert (code, "nowhere: not found" in err) == (2, True)
        code, _, err = project.evalrun("devices")
        assert (code, "no suite names a board; looked in " in err, "`devices:`" in err) == (2, True, True)
        assert not (project.root / "outputs").exists()


class TestClean:
    @pytest.fixture
    def cleaned(self, project, board):
        """A run of two pairs that was made here, and is told of two boards: one of them is down."""

        def make(*devices):
            project.make(("a", "b"))
            assert project.run().code == 0
            on_boards(project, *devices, names=("a", "b"))
            add_manifest(RunPaths(project.latest), {}, [], boards_of([discover(project.suite / "evalrun.yaml")]))
            lay(board, "task_a_one", "task_a_one_0-250_2", "task_b_one", f"{CACHE}/a_model.bin", "task_other", "mine")
            return project

        return make

    def test_list_ask_and_do(self, cleaned, board):
        """Nothing goes while it is only listed or nobody agrees; then what the run has left, here and there."""
        project = cleaned(board.entry())
        before, here = names(board.home), names(project.latest)
        code, out, err = project.evalrun("clean", "--remote", "--dry-run")
        assert (code, err) == (0, "")
        listed = [line.partition("  ")[0] for line in out.splitlines() if line.startswith("board b1: ")]
        gone = [f"{CACHE}/a_model.bin", "task_a_one", "task_a_one_0-250_2", "task_b_one"]
        assert sorted(listed) == [f"board b1: {name}" for name in gone]
        code, out, _ = project.evalrun("clean", "--remote", answer="n\n")
        assert (code, "and 4 places on boards, of" in out, "nothing was changed" in out) == (0, True, True)
        assert (names(board.home), names(project.latest)) == (before, here)
        code, out, _ = project.evalrun("clean", "--yes", "--dry-run")
        assert "board" not in out
        code, out, err = project.evalrun("clean", "--remote", "--yes")
        assert (code, err, "board b1: removed 4" in out) == (0, "", True), (out, err)
        assert names(board.home) == ["mine", "task_other"]
        assert not project.workdir.exists()

    def test_what_a_real_run_leaves_is_what_goes(self, project, board):
        """A run that was told to keep everything on its board: devices shows it, clean leaves the board as it was."""
        on_boards(project, board.entry(), env={"CLEANUP_REMOTE_WORKDIR": "0", "CLEANUP_SHARED_MODELS": "0"})
        (project.suite / "ask.sh").write_text("exit 0\n")
        project.run()
        assert names(board.home) == [CACHE, "task_a_one"]
        (told,) = json.loads(project.evalrun("devices", "--json")[1])
        assert ([model["name"] for model in told["models"]], told["left_behind"]) == (["a_model.bin"], ["task_a_one"])
        code, out, err = project.evalrun("clean", "--remote", "--yes")
        assert (code, err, "board b1: removed 2" in out) == (0, "", True), (out, err)
        assert names(board.home) == []
        assert not project.workdir.exists()

    def test_some_pairs(self, cleaned, board):
        """-k means the same pairs there as here."""
        project = cleaned(board.entry())
        code, out, err = project.evalrun("clean", "--remote", "-k", "b/one", "--yes")
        assert (code, err) == (0, ""), (out, err)
        assert names(board.home) == [CACHE, "mine", "task_a_one", "task_a_one_0-250_2", "task_other"]
        assert (project.latest / "results/echo/a/one.json").exists()
        assert not (project.latest / "results/echo/b/one.json").exists()

    def test_a_board_that_is_down_is_told(self, cleaned, board):
        """With the reason; the rest is done, and the exit code is 1."""
        project = cleaned(board.entry("down", port=free_port()), board.entry())
        code, out, err = project.evalrun("clean", "--remote", "--yes")
        assert code == 1
        assert "Connection refused; what is there of task_a_one, task_b_one" in err
        assert err.count("\n") == 1
        assert names(board.home) == ["mine", "task_other"]
        assert not project.workdir.exists(), out

    def test_a_live_run_is_refused(self, cleaned, board):
        """Before any board is asked."""
        project = cleaned(board.entry())
        session = open_session(RunPaths(project.latest), ["pytest"])
        try:
            for words in (["--yes"], ["--dry-run"]):
                code, out, err = project.evalrun("clean", "--remote", *words)
                assert (code, out, "is live: PID" in err) == (2, "", True)
        finally:
            session.close(clean=True)
        assert "task_a_one" in names(board.home)


def test_a_launch_notes_its_boards_first(project, board):
    """Also those that turn out to be down: by name what its pairs would put there, and never a password."""
    down = board.entry(port=free_port(), password_env="BOARD_PASSWORD")
    on_boards(project, down, names=("a", "b"), env={"REMOTE_TASK_HOME": "/data"})
    ran = project.run(BOARD_PASSWORD="hunter2222")
    assert ran.code == 1, ran
    text = (project.latest / "run.json").read_text()
    (told,) = json.loads(text)["boards"]
    assert (told["home"], told["work"]) == ("/data", ["task_a_one", "task_b_one"])
    assert told["models"] == ["a_model.bin", "b_model.bin"]
    assert (told["spec"]["name"], told["spec"]["password_env"]) == ("b1", "BOARD_PASSWORD")
    assert "hunter2222" not in text


def test_the_table_folds_on_a_terminal(project, board):
    """A long reason does not push the rest off the screen."""
    on_boards(project, board.entry("strange", known_hosts="/nonexistent"))
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [*EVALRUN, "devices"], cwd=project.root, env={**os.environ, "COLUMNS": "100"}, stdout=side, text=True
    )
    os.close(side)
    said = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            said += piece
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(terminal)
    assert process.wait(60) == 1
    assert max(map(len, said.decode().splitlines())) <= 100
    assert "strange" in said.decode()
