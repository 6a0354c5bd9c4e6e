"""What runs on a board ends with the connection that started it, however that ends; nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sshd import Sshd, busybox, until

import pytest_evalrun
from pytest_evalrun.remote import watchdog
from pytest_evalrun.remote.program import RemoteProgram
from pytest_evalrun.remote.watchdog import PREFIX

# Deaf to SIGTERM and SIGHUP, with a child and a grandchild that hold the output too.
STUBBORN = (
    'trap "" TERM HUP; (trap "" TERM; sleep 300 & echo $! >> pids; wait) & echo $$ $! >> pids; echo up; wait; wait'
)


@pytest.fixture(params=["dash", "busybox"])
def board(request, tmp_path):
    """A board whose shell is this host's, or BusyBox's."""
    path = busybox(tmp_path / "bin") if request.param == "busybox" else None
    with Sshd(tmp_path / "board", path=path) as board:
        yield board


def begin(connection, board):
    heard = []
    program = RemoteProgram(connection, ["sh", "-c", STUBBORN], cwd=str(board.home), output=heard.append)
    until(lambda: b"up" in b"".join(heard))
    pids = until(lambda: len(found := (board.home / "pids").read_text().split()) >= 3 and [int(pid) for pid in found])
    assert all(map(alive, pids))
    return program, pids


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_closed_connection_ends_all(board):
    """When the connection is closed, programs that ignore SIGTERM end too, with their children, and no file is left."""
    connection = board.connection()
    _, pids = begin(connection, board)
    watch = Path(connection.watchdog.directory)
    assert watch.exists()
    connection.close()
    until(lambda: not any(map(alive, pids)))
    until(lambda: not watch.exists())


def test_killed_server_ends_all(board):
    """When the board's own server dies, so does what it started."""
    _, pids = begin(board.connection(), board)
    board.kill_sessions()
    until(lambda: not any(map(alive, pids)))


def test_silence_ends_all(board):
    """When the link goes silent, and no end of a connection is ever seen, the board notices by itself."""
    from badlink import Relay

    relay = Relay(board.port)
    board.know(board.host_key, f"[127.0.0.1]:{board.port},[127.0.0.1]:{relay.port}")
    _, pids = begin(board.connection(port=relay.port), board)
    relay.freeze()
    until(lambda: not any(map(alive, pids)), 30)
    relay.close()


def test_killed_worker_ends_all(board):
    """kill -9 of who started them ends programs on the board, within seconds."""
    code = f"""
import sys
sys.path[:0] = {[str(Path(pytest_evalrun.__file__).parents[1]), str(Path(__file__).parents[2])]!r}
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.hosts import Host
from pytest_evalrun.remote.program import RemoteProgram
connection = Connection({board.host()!r})
program = RemoteProgram(connection, ["sh", "-c", {STUBBORN!r}], cwd={str(board.home)!r})
print(program.pid, flush=True)
program.wait()
"""
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert worker.stdout.readline()
    pids = until(
        lambda: (f := board.home / "pids").exists() and len(g := f.read_text().split()) >= 3 and list(map(int, g))
    )
    worker.kill()
    worker.wait()
    worker.stdout.close()
    until(lambda: not any(map(alive, pids)), 30)


def test_program_is_not_started_without_a_watchdog(board):
    """Once its watch is gone, nothing can be started that nobody would end."""
    connection = board.connection()
    directory = Path(connection.watchdog.directory)
    moved = directory.rename(directory.with_name(f"moved-{directory.name}"))
    with pytest.raises(Exception, match="could not be started"):
        RemoteProgram(connection, ["touch", "x"], cwd=str(board.home))
    assert not (board.home / "x").exists()
    moved.rename(directory)


def test_end_of_the_watchdog_ends_the_connection(board):
    """A watchdog that is killed is noticed: nothing is left to run unwatched."""
    connection = board.connection()
    os.kill(int(connection.watchdog.owner.partition(".")[2]), signal.SIGKILL)
    until(lambda: connection.lost)
    assert connection.run("echo again").text == "again\n"


def test_pid_of_another_is_left_alone(board):
    """A PID that was given to another process since is not that program: it is not ended."""
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    connection = board.connection()
    (Path(connection.watchdog.directory) / str(other.pid)).write_text("12345\n")
    connection.close()
    until(lambda: not Path(connection._watchdog.directory).exists())
    assert other.poll() is None
    other.kill()
    other.wait()


def test_what_a_dead_board_left_is_swept(board):
    """Where even the watchdog was killed, the next connection ends what is left; other directories are not touched."""
    connection = board.connection()
    _, pids = begin(connection, board)
    watch = Path(connection.watchdog.directory)
    owner = psutil.Process(int(connection.watchdog.owner.partition(".")[2]))
    for process in (*owner.children(recursive=True), owner):
        process.kill()
    until(lambda: connection.lost)
    assert watch.exists()
    assert any(map(alive, pids))
    strange = Path(f"{PREFIX}strange-{os.getpid()}")
    strange.mkdir()
    board.connection().connect()
    until(lambda: not watch.exists())
    until(lambda: not any(map(alive, pids)))
    assert strange.exists()
    strange.rmdir()


def test_link_is_not_swept(board, tmp_path, monkeypatch):
    """A link among the directories of watchdogs, which any user of the board can make, leads the sweep nowhere."""
    monkeypatch.setattr(watchdog, "PREFIX", f"{tmp_path}/watch-")  # sessions that live would sweep there too
    home, left = board.home / "precious", tmp_path / "watch-zz-left"
    for directory in (home, left):
        directory.mkdir()
        (directory / "owner").write_text("999999999 1\n")
        (directory / "1").write_text("kept\n")
    (tmp_path / "watch-link").symlink_to(home)
    board.connection().connect()
    until(lambda: not left.exists())  # by its name it comes after the link
    assert sorted(path.name for path in home.iterdir()) == ["1", "owner"]


def test_what_a_program_left_behind_ends_with_it(board):
    """A program that ends normally takes along what it started in its group."""
    connection = board.connection()
    heard = []
    words = ["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!"]
    with RemoteProgram(connection, words, cwd="/", output=heard.append) as program:
        assert program.wait(20) == 0
    left = int(b"".join(heard))
    until(lambda: not alive(left))
    watch = Path(connection.watchdog.directory)
    until(lambda: not (watch / str(program.pid)).exists())


def test_quiet_board_stays(board):
    """A connection that nobody uses for longer than any limit still stands."""
    connection = board.connection()
    connection.connect()
    time.sleep(2.5 * connection.limits.watch)
    assert not connection.lost
    assert connection.run("echo still").text == "still\n"
    assert connection.connects == 1


def test_complaints_of_the_watch_do_not_stop_it(board, monkeypatch):
    """Whatever its tools write to standard error: the board is still heard, and programs still end with the link."""
    monkeypatch.setattr(watchdog, "WATCH", "head -c 3000000 /dev/zero >&2\n" + watchdog.WATCH)
    connection = board.connection()
    _, pids = begin(connection, board)
    connection.close()
    until(lambda: not any(map(alive, pids)))
