"""The boards of a launch as a user meets them: before the first pair, in the plan, and when one is down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sshd import ME, Sshd, free_port
from support import kill_group, wait_for

DIGITS = Path(__file__).parents[2] / "evals" / "board"
BOARD = {"adapter": "ssh", "ask": "batch", "command": ["cp", "{batch}", "{output}"], "results": {"csv": "out.csv"}}


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch, tmp_path):
    """Neither the agent nor the keys of whoever runs the tests open a door, and no lease is anybody else's."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))


@pytest.fixture
def board(tmp_path):
    with Sshd(tmp_path / "board") as board:
        yield board


def on_board(project, *devices, **task):
    """Task ``a`` runs on a board, ``b`` here."""
    models = [{"name": "a", "path": "a.bin", "devices": list(devices)} | BOARD | task, {"name": "b", "path": "b.bin"}]
    project.make(models=("a", "b"))
    project.yaml((), ("one",), models=models)
    return project


@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_host_key_that_nobody_knows_is_a_usage_error(project, board, tmp_path, workers):
    """Before anything is made: with its fingerprint, and how to accept it."""
    ran = on_board(project, board.entry(known_hosts=str(tmp_path / "none"))).run("evals", *workers)
    assert ran.code == 4, ran
    assert "host key is not known: ssh-ed25519 SHA256:" in ran
    options = f"-p {board.port} -o UserKnownHostsFile={tmp_path}/none"
    assert f"accept it by `ssh {options} {ME}@127.0.0.1`, by `host_key: SHA256:" in ran
    assert "Traceback" not in ran
    assert not project.workdir.exists()


def test_a_plan_speaks_to_no_board(project):
    """A dry run tells boards and slots by the suite alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        device = {"name": "b1", "host": "127.0.0.1", "port": listener.getsockname()[1], "labels": {"soc": "j5"}}
        ran = on_board(project, device | {"slots": 2}).run("evals", "--collect-only", "-n2")
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert ran.code == 0, ran
    assert "boards: b1 (soc j5); room for 2 models at once" in ran
    assert "1 board (2 slots): 2 pairs" in ran


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_who_may_be_skipped_is_skipped_when_its_board_is_down(project, board, workers):
    """With the reason; the others run, and the launch is no failure."""
    suite = on_board(project, board.entry(port=free_port()), optional=True)
    ran = suite.run("evals", *workers)
    assert ran.code == 0, ran
    assert "evalrun: board b1 set aside: cannot be reached: Connection refused" in ran
    assert "SKIPPED echo/a/one  no board: b1: cannot be reached: Connection refused" in ran
    assert "PASSED  echo/b/one" in ran
    assert "boards:" not in ran
    (ended,) = [e for e in project.events() if e["event"] == "item_finished" and e["pair"] == "echo/a/one"]
    assert (ended["outcome"], ended["reason"]) == ("skipped", "no board: b1: cannot be reached: Connection refused")
    seen = json.loads(project.evalrun("monitor", "--json")[1])
    assert seen["counts"] == {"pending": 0, "running": 0, "completed": 1, "failed": 0, "skipped": 1, "deselected": 0}
    assert seen["running"] == []
    assert "skipped: no board: b1" in project.evalrun("list")[1]


def test_who_must_have_a_board_that_is_down_is_an_error_and_no_other_is(project, board):
    """At once: there is nothing to wait for."""
    ran = on_board(project, board.entry(port=free_port())).run("evals", "-n2")
    assert ran.code == 1, ran
    assert "evalrun: board b1 set aside: cannot be reached: Connection refused" in ran
    assert "ERROR   echo/a/one" in ran
    assert "PASSED  echo/b/one" in ran


def test_what_a_dead_session_left_goes_before_the_first_pair(project, board):
    """Of the pairs of this launch; the notes of boards are for this user alone."""
    for name in ("task_a_one", "task_a_one_2", "task_b_one"):
        (board.home / name).mkdir()
    project.root.mkdir()
    (project.root / "conftest.py").write_text(
        "import glob, os\n"
        "def pytest_runtest_logstart(nodeid):\n"
        "    for path in glob.glob(os.environ['TMPDIR'] + '/evalrun-*'):\n"
        "        print('\\nmode', oct(os.stat(path).st_mode & 0o777))\n"
    )
    temporary = project.root / "tmp"
    temporary.mkdir()
    ran = on_board(project, board.entry()).run("evals", "-s", "-k", "a/one", TMPDIR=str(temporary))
    assert "board b1: removed 2 work directories of a session that died: task_a_one, task_a_one_2" in ran
    assert "boards: b1; room for 1 model at once" in ran
    assert "mode 0o700" in ran
    assert (board.home / "task_b_one").exists()


def test_where_nothing_is_predicted_no_board_is_spoken_to(project, board):
    """To score again needs none, nor do the tables."""
    on_board(project, board.entry(port=free_port()), optional=True).run("evals")
    for mode in ("eval", "viz"):
        ran = project.run("evals", "--eval-mode", mode)
        assert "set aside" not in ran
        assert "boards:" not in ran


@pytest.fixture
def digits(project, board):
    """The sample suite, on this board."""
    shutil.copytree(DIGITS, project.suite, ignore=shutil.ignore_patterns(".boards"))
    (project.root / "pytest.ini").write_text("[pytest]\n")
    (project.suite / "devices.yaml").write_text(json.dumps({"devices": [board.entry()]}))
    return project


def models(board):
    return [path.name for path in (board.home / ".model_cache").glob("*_model*")]


def test_the_models_of_a_launch_go_at_its_end(digits, board):
    """By default; the work directories are gone as well."""
    ran = digits.run("evals", "-n2", "-k", "clean", "--eval-set", "limit=8", "--eval-set", "gates.top1.min=0")
    assert ran.code == 0, ran
    assert sum(event["event"] == "uploaded" for event in digits.events()) == 3
    assert models(board) == []
    assert not list(board.home.glob("task_*"))
    assert "models may be left" not in ran


def test_ctrl_c_leaves_no_model_either(digits, board):
    """Nor a traceback of what talks to boards."""
    process = digits.start("evals", "-n2", "-k", "clean", "--eval-set", "max_batch_size=1")
    try:
        wait_for(lambda: models(board) and list(board.home.glob("task_*")), process=process)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    finally:
        kill_group(process)
    assert process.returncode == 2, output
    assert models(board) == []
    assert "Traceback" not in output
    assert "models may be left" not in output
