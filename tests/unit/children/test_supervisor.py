"""Nothing that was started outlives what it was started for, however that ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pytest_evalrun.children import handle, supervised
from pytest_evalrun.children.supervised import session_members

LINUX = sys.platform == "linux"
on_linux = pytest.mark.skipif(not LINUX, reason="only Linux has subreapers and signals of a parent's death")

# A program with a child, and a daemon that left its session and its parents; all of them are deaf to SIGTERM.
FAMILY = """
trap '' TERM HUP INT
sleep 1000 & echo $! > child
(setsid sh -c 'echo $$ > stray; exec sleep 1000' &)
while :; do sleep 1000; done
"""
# What a worker does: it takes a lock, hands it over, and then whatever the test wants.
WORKER = """
import fcntl, json, os, sys, time
from pytest_evalrun.children.process import Child

lock = os.open("lock", os.O_CREAT | os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
pids = []
child = Child(["/bin/sh", "-c", sys.argv[1]], env=os.environ, cwd=None, hold=[lock], output=None,
              started=pids.append, stdin=False, stdout="output")
os.close(lock)
if sys.argv[2] == "forks" and os.fork() == 0:
    time.sleep(60)
print(json.dumps(pids), flush=True)
time.sleep(1000)
"""


class Worker:
    """A process that started a family and holds a lock for it."""

    def __init__(self, directory, number_in, wait_until, then="waits"):
        words = [sys.executable, "-c", WORKER, FAMILY, then]
        self.process = subprocess.Popen(words, cwd=directory, stdout=subprocess.PIPE, start_new_session=True)
        self.supervisor, self.program = json.loads(self.process.stdout.readline())
        self.child, self.stray = number_in(directory / "child"), number_in(directory / "stray")
        self.family = [self.program, self.child, self.stray]
        self.lock = directory / "lock"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def lock_is_free(self):
        with self.lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


@pytest.fixture
def worker(tmp_path, number_in, wait_until):
    made = []

    def make(**how):
        one = Worker(tmp_path, number_in, wait_until, **how)
        for pid in (one.process.pid, one.supervisor):
            with suppress(psutil.NoSuchProcess):
                made.append(psutil.Process(pid))
        return one

    yield make
    for process in made:
        with suppress(ProcessLookupError):
            if process.is_running():  # the very one: its PID may be another's by now
                os.killpg(process.pid, signal.SIGKILL)


@on_linux
@pytest.mark.parametrize("then", ["waits", "forks"])
def test_nothing_outlives_a_killed_worker(worker, lives, wait_until, then):
    """Children and daemons end with it, then the lock is free; a fork of the worker cannot hide its death."""
    dead = worker(then=then)
    assert not dead.lock_is_free()
    dead.kill()
    wait_until(dead.lock_is_free)
    assert [pid for pid in dead.family if lives(pid)] == []
    wait_until(lambda: not lives(dead.supervisor))


def test_the_lock_is_the_supervisors_alone(start, tmp_path, number_in):
    """The program cannot keep it, whatever it forks: it does not have it."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = start.shell("ls -l /proc/$$/fd /dev/fd; sleep 1000", hold=[lock.fileno()], stdout="output")
    assert not taken(tmp_path / "lock")
    child.end(0)
    assert taken(tmp_path / "lock")
    assert b"lock" not in start.output


def taken(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@on_linux
def test_end_takes_everything_along(start, tmp_path, number_in, lives):
    """When it returns nothing lives: not what ignores SIGTERM, not what left the session."""
    child = start.shell(FAMILY, cwd=str(tmp_path), grace=0.05)
    family = [child.pid, number_in(tmp_path / "child"), number_in(tmp_path / "stray")]
    child.end()
    assert [pid for pid in family if lives(pid)] == []
    assert child.returncode == -signal.SIGKILL


def test_a_program_may_tidy_up_in_its_grace(start, tmp_path):
    """SIGTERM comes first, and its own exit code is kept."""
    child = start.shell("trap 'echo tidy; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    assert child._channel.receive(30, lambda: True) == b"ready"
    child.end(30)
    assert child.returncode == 7


def test_a_second_end_shortens_the_grace(start, wait_until):
    """Somebody has lost patience: an order that comes while the grace runs counts at once."""
    child = start.shell("trap '' TERM; echo ready; while :; do sleep 0.01; done")
    assert child._channel.receive(30, lambda: True) == b"ready"
    child._supervised._supervisor.order("stop 600")
    child.end(0)
    assert child.returncode == -signal.SIGKILL


@on_linux
def test_what_a_program_leaves_behind_ends_with_it(start, tmp_path, number_in, lives):
    """Its end is known at once, and told before its remains have ended too."""
    child = start.shell("(setsid sh -c 'echo $$ > stray; exec sleep 1000' &); while ! [ -s stray ]; do :; done; exit 3",
                        cwd=str(tmp_path))  # fmt: skip
    assert child.wait(30) == 3
    stray = number_in(tmp_path / "stray")
    child.end()
    assert not lives(stray)


@on_linux
def test_a_killed_supervisor_takes_its_program_along(start, tmp_path, number_in, lives, wait_until):
    """Even while the worker looks elsewhere; the rest of the session ends when it looks."""
    child = start.shell("sleep 1000 & echo $! > child; wait", cwd=str(tmp_path))
    second = number_in(tmp_path / "child")
    os.kill(child.supervisor_pid, signal.SIGKILL)
    wait_until(lambda: not lives(child.pid))
    child.end()
    assert not lives(second)
    assert session_members(child.supervisor_pid) == []
    assert child.fate() == "was ended by SIGKILL"
    assert start.shell("exit 4").wait(30) == 4


def test_signals_of_the_terminal_do_not_reach_the_supervisor(start):
    """Ctrl-C, a closed terminal and a polite kill are the worker's to answer."""
    child = start.shell("read line; exit 5")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(child.supervisor_pid, number)
    child.send_line(b"go\n")
    assert child.wait(30) == 5
    assert os.getsid(child.supervisor_pid) == child.supervisor_pid != os.getsid(0)


@on_linux
def test_a_program_finds_its_signals_as_the_system_has_them(start):
    """What the supervisor ignores or handles is nothing to the program."""
    child = start("cat", "/proc/self/status", stdout="output")
    child.wait(30)
    child.end()
    masks = dict(line.split() for line in start.output.decode().splitlines() if line.startswith("Sig"))
    # Those that the C library keeps to itself are left out: its posix_spawn, of which make is a user, ignores them.
    usual = sum(1 << (number - 1) for number in signal.valid_signals())
    assert {name: int(masks[name], 16) & usual for name in ("SigIgn:", "SigBlk:", "SigCgt:")} == {
        "SigIgn:": 0,
        "SigBlk:": 0,
        "SigCgt:": 0,
    }


def test_a_supervisor_serves_one_program_after_the_other(start):
    """A new interpreter for each would cost more than most programs do."""
    first, second = start.shell("exit 1"), start.shell("exit 2")
    assert first.supervisor_pid != second.supervisor_pid
    assert (first.wait(30), second.wait(30)) == (1, 2)
    first.end()
    third = start.shell("exit 3")
    assert third.supervisor_pid == first.supervisor_pid
    assert third.wait(30) == 3
    assert {first.supervisor_pid, second.supervisor_pid} <= handle.supervisors()


def test_an_idle_supervisor_that_was_killed_is_replaced(start, wait_until, lives):
    """Nobody notices."""
    first = start.shell("exit 1")
    first.end()
    for idle in list(handle._idle):
        os.kill(idle.pid, signal.SIGKILL)
        wait_until(lambda idle=idle: not lives(idle.pid))
    second = start.shell("exit 2")
    assert second.wait(30) == 2
    assert second.supervisor_pid != first.supervisor_pid
    assert first.supervisor_pid not in handle.supervisors()


def test_orders_for_a_program_that_has_ended_touch_no_later_one(start):
    """They may be under way when the next one starts."""
    first = start.shell("exit 1")
    first.wait(30)
    kept = first._supervised._supervisor
    first.end()
    kept.order("stop 0")
    kept.order(f"signal {signal.SIGKILL}")
    second = start.shell("read line; exit 6")
    assert second.supervisor_pid == first.supervisor_pid
    second.send_line(b"go\n")
    assert second.wait(30) == 6


def test_many_starts_leave_nothing(start):
    """No descriptor, no zombie, no thread."""
    start.shell("exit 0").end()
    before = open_descriptors()
    for _ in range(40):
        child = start.shell("exit 0")
        child.wait(30)
        child.end()
    assert open_descriptors() == before
    assert zombies() == []


def open_descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def zombies():
    if not LINUX:
        return []
    stats = Path("/proc").glob("[0-9]*/stat")
    fields = [stat.read_text().rpartition(")")[2].split() for stat in stats if stat.exists()]
    family = {os.getpid(), *handle.supervisors()}
    return [words for words in fields if words[0] == "Z" and int(words[1]) in family]


def test_environments_of_any_size(start):
    """More than a socket takes at once; and names that are no text."""
    env = {"PATH": os.environ["PATH"], **{f"X{i}": "x" * 60_000 for i in range(20)}, "ODD": "\udcff 数据"}
    child = start.shell('printf %s "$X19" | wc -c; printf %s "$ODD"', env=env, stdout="output")
    assert child.wait(30) == 0
    child.end()
    assert start.output.split(b"\n") == [b"60000", "\udcff 数据".encode(errors="surrogateescape")]


def test_out_of_memory_is_told(start, monkeypatch):
    """A SIGKILL while the kernel counted one more process that it ended for want of memory."""
    counts = iter([7, 8, 8])
    monkeypatch.setattr(supervised, "oom_kills", lambda: next(counts))
    child = start.shell("kill -KILL $$")
    child.wait(30)
    assert child.fate() == (
        "was ended by SIGKILL (by the kernel, it seems: the machine, or the limit of the job, was out of memory)"
    )


def test_the_kernels_count_is_read():
    """A number where the kernel says it, else nothing to compare."""
    assert supervised.oom_kills() >= 0


def test_a_fork_keeps_no_supervisor():
    """A process that a model forked, and that lives for long, has a copy of the socket: we do not wait for it."""
    idle = handle.SupervisorHandle()
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    try:
        idle.close()
        assert idle.pid not in handle.supervisors()
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
