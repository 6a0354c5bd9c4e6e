"""Sessions: one live one a run, whoever is killed and whenever; real processes, real kernel locks."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_evalrun
from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.processes import ProcessLog
from pytest_evalrun.rundir.sessions import join_session, open_session, read_session, session_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = """
import os, subprocess, sys
from pathlib import Path
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.processes import ProcessLog
from pytest_evalrun.rundir.sessions import join_session, open_session
paths = RunPaths(Path(sys.argv[1]))
"""
CONTROLLER = HEAD + "session = open_session(paths, ['pytest', 'evals/'])\nprint(session.run_id, flush=True)\ninput()"
WORKER = HEAD + (
    "member = join_session(paths, sys.argv[2])\nProcessLog(paths.processes('gw0')).add(os.getpid(), 's/t/d')\n"
    "print('joined', flush=True)\ninput()"
)
# The child outlives its parent, as its end of the pipe is open until the test ends. It speaks for itself: only then is
# it past the moment in which every new process still has its parent's descriptors.
CHILD = "import os; print(os.getpid(), flush=True); input()"
FORKING = HEAD + (
    "session = open_session(paths, [])\nmember = join_session(paths, session.run_id)\n"
    f"if sys.argv[2] == 'exec':\n    subprocess.Popen([sys.executable, '-c', {CHILD!r}], close_fds=False)\n"
    f"elif not os.fork():\n    {CHILD}\n    os._exit(0)\n"
    "input()"
)


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    run = RunPaths(tmp_path / "任务 $(x) 'run'")
    run.root.mkdir()
    return run


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start a program and wait for its first line: then it holds what it came for."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str, *args: object) -> tuple[subprocess.Popen[str], str]:
        argv = [sys.executable, "-c", code, *map(str, args)]
        environ = {**os.environ, "PYTHONPATH": str(Path(pytest_evalrun.__file__).parents[1])}
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)
        running.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in running:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_second_session_is_refused(paths: RunPaths, start) -> None:
    """While a session lives, another is refused with the holder's PID, host, time, command and a remedy."""
    holder, _ = start(CONTROLLER, paths.root)
    info = read_session(paths)
    assert info is not None
    message = f"in use by PID {holder.pid} on {socket.gethostname()} since {info.started} (pytest evals/)"
    with pytest.raises(RunBusy, match=re.escape(message) + ".*--eval-run new"):
        open_session(paths, [])
    assert read_session(paths) == info, "a session that is refused leaves no trace"


def test_killed_session_is_followed(paths: RunPaths, start) -> None:
    """After a SIGKILL the next session starts at once and knows that the end was not clean."""
    holder, run_id = start(CONTROLLER, paths.root)
    assert session_state(paths).word == "live"
    kill(holder)
    assert session_state(paths).word == "dead"
    session = open_session(paths, [])
    assert session.unclean
    assert session.run_id != run_id
    session.close(clean=True)


@pytest.mark.parametrize("clean", [True, False])
def test_end_is_remembered(paths: RunPaths, clean: bool) -> None:
    """The next session knows how the last one ended; the first has nothing to fear."""
    first = open_session(paths, [])
    assert not first.unclean
    first.close(clean=clean)
    first.close(clean=True)
    second = open_session(paths, [])
    assert second.unclean is not clean
    second.close(clean=True)


def test_corrupt_record_is_an_unclean_end(paths: RunPaths) -> None:
    """A record that nobody can read is not taken for a clean end."""
    paths.session_json.write_text('{"run_id":')
    assert session_state(paths).word == "none"
    session = open_session(paths, [])
    assert session.unclean
    session.close(clean=True)


def test_record_names_the_holder(paths: RunPaths) -> None:
    """``session.json`` holds what others need to find and recognize the controller."""
    session = open_session(paths, ["pytest", "任务", "\udcff"])
    record = json.loads(paths.session_json.read_bytes())
    assert set(record) == {"format", "run_id", "pid", "start_time", "host", "boot_id", "argv", "started"}
    assert (record["format"], record["pid"], record["argv"]) == (1, os.getpid(), ["pytest", "任务", "\udcff"])
    session.close(clean=True)
    assert json.loads(paths.session_json.read_bytes())["ended"] >= record["started"]
    assert session_state(paths) == ("ended", session.info)


def test_orphaned_worker_is_waited_for(paths: RunPaths, start) -> None:
    """A worker that outlives its controller is named, waited for, and followed once it is gone."""
    controller, run_id = start(CONTROLLER, paths.root)
    worker, _ = start(WORKER, paths.root, run_id)
    kill(controller)
    told: list[str] = []

    def notify(text: str) -> None:
        told.append(text)
        kill(worker)

    session = open_session(paths, [], wait=30, notify=notify)
    assert told == [f"waiting up to 30 s for processes of an earlier session: PID {worker.pid} (s/t/d)"]
    assert session.unclean
    session.close(clean=True)


def test_worker_that_stays_is_named(paths: RunPaths, start) -> None:
    """A worker that does not end in time keeps the next session out, and that leaves nothing behind."""
    controller, run_id = start(CONTROLLER, paths.root)
    worker, _ = start(WORKER, paths.root, run_id)
    kill(controller)
    with pytest.raises(RunBusy, match=rf"still work in it after 0\.1 s: PID {worker.pid} \(s/t/d\)"):
        open_session(paths, [], wait=0.1)
    assert session_state(paths).word == "dead"
    kill(worker)
    open_session(paths, [], wait=0.1).close(clean=True)


def test_unknown_holder_is_told_too(paths: RunPaths, start) -> None:
    """A worker that left no entry is waited for all the same; where it may be looked for is said."""
    session = open_session(paths, [])
    session.close(clean=True)
    ProcessLog(paths.processes("gw0")).add(os.getppid())
    paths.processes("gw0").unlink()
    member = join_session(paths, session.run_id)
    with pytest.raises(RunBusy, match=r"none that .*processes names on"):
        open_session(paths, [], wait=0)
    member.close()


def test_straggler_is_refused(paths: RunPaths) -> None:
    """A worker of a dead session that wakes up late finds another session and does not write."""
    old = open_session(paths, [])
    old.close(clean=False)
    new = open_session(paths, [])
    with pytest.raises(RunBusy, match="is over"):
        join_session(paths, old.run_id)
    members = [join_session(paths, new.run_id) for _ in range(3)]
    for member in members:
        member.close()
        member.close()
    new.close(clean=True)


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_child_does_not_keep_the_locks(paths: RunPaths, start, how: str) -> None:
    """A child process that outlives the holder, forked or started, has no part in its locks."""
    holder, child = start(FORKING, paths.root, how)
    kill(holder)
    os.kill(int(child), 0)
    session = open_session(paths, [], wait=0)
    session.close(clean=True)


def test_state_without_a_session(paths: RunPaths) -> None:
    """Where no session ever was, none is reported, and asking makes no file."""
    assert session_state(paths) == ("none", None)
    assert list(paths.root.iterdir()) == []


def test_question_keeps_no_session_out(paths: RunPaths) -> None:
    """Whoever asks for the state holds the lock for a moment; a session that starts just then waits that long."""
    fd = os.open(paths.session_lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_SH)
    timer = threading.Timer(0.1, os.close, [fd])
    timer.start()
    open_session(paths, []).close(clean=True)
    timer.join()


def test_place_without_a_run_is_named(tmp_path: Path) -> None:
    """A run directory that is gone is an error that names the lock and the option."""
    with pytest.raises(ConfigError, match=r"session\.lock: cannot be opened: No such file.*--eval-workdir"):
        open_session(RunPaths(tmp_path / "missing"), [])


def test_record_that_cannot_be_written_is_named(paths: RunPaths) -> None:
    """Without its record a session does not start, and holds nothing."""
    paths.session_json.mkdir()
    with pytest.raises(ConfigError, match=r"session\.json: cannot be written"):
        open_session(paths, [])
    paths.session_json.rmdir()
    session = open_session(paths, [])
    paths.session_json.unlink()
    paths.session_json.mkdir()
    session.close(clean=True)
    assert session_state(paths).word == "none", "an end that cannot be recorded does not raise"
