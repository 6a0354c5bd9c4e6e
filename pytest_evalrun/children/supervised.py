"""A program under its supervisor, seen from the worker: how it started, how it ended, and that all of it has."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING

from pytest_evalrun.children import handle, supervisor
from pytest_evalrun.children.faults import ChildError, NotStarted
from pytest_evalrun.rundir.processes import start_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# SIGKILL can be late where a driver keeps a process in the kernel, or in vain where it belongs to another user.
LONGEST_END_SECONDS = 60.0
# What a system may have again in a moment: memory, processes, descriptors; a program that is just being written.
_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ETXTBSY})
_WHERE = {"program": "the program", "cwd": "the directory to start it in"}
# How systems install programs, and what they call those that scripts of evaluations use.
_MANAGERS = ("apt-get install", "dnf install", "brew install")
_PACKAGES = {
    "adb": {"": "android-platform-tools", "apt-get install": "adb", "dnf install": "android-tools"},
    "awk": {"": "gawk"},
    "convert": {"": "imagemagick", "dnf install": "ImageMagick"},
    "expect": {"": "expect"},
    "ffmpeg": {"": "ffmpeg"},
    "jq": {"": "jq"},
    "parallel": {"": "parallel"},
    "python": {"": "python3", "apt-get install": "python-is-python3", "brew install": "python"},
    "rsync": {"": "rsync"},
    "scp": {"": "openssh", "apt-get install": "openssh-client", "dnf install": "openssh-clients"},
    "ssh": {"": "openssh", "apt-get install": "openssh-client", "dnf install": "openssh-clients"},
    "sshpass": {"": "sshpass"},
    "timeout": {"": "coreutils"},
    "tmux": {"": "tmux"},
}


class Supervised:
    """Starts a program with the descriptors ``stdio`` as its 0, 1 and 2.

    Raises ChildError where that fails, NotStarted where it may go well another time.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None,
        stdio: Sequence[int],
        hold: Sequence[int],
        ignore: Iterable[int],
        grace: float,
        started: Callable[[int], None],
    ) -> None:
        self.returncode: int | None = None
        self.gone = False
        self._lost = False
        self._pid: int | None = None
        self._failure = ""
        self._ooms = oom_kills()
        directory = cwd or os.getcwd()  # noqa: PTH109 - as text
        try:
            packed = supervisor.pack(argv, env, directory, ignore=ignore, grace=grace)
        except ValueError as error:
            raise ChildError(f"{argv[0]!r} cannot be started: {error}") from None
        self._supervisor: handle.SupervisorHandle | None = handle.take()
        self.supervisor_pid = self._supervisor.pid
        try:
            started(self.supervisor_pid)
            self._supervisor.run(packed, [*stdio, *hold])
            self._wait_for_start(argv[0], directory)
            started(self.pid)
        except ChildError:
            self.end(0)
            raise
        except BaseException:  # it may have half of an order: only its end is sure to be understood
            self._supervisor.close()
            raise

    @property
    def pid(self) -> int:
        assert self._pid is not None, "a program that did not start was raised as an error"
        return self._pid

    def poll(self) -> int | None:
        """How the program ended; None while it runs."""
        self._hear(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How the program ended. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"process {self.pid} did not end in {timeout:g} s")
            self._hear(left)
        return self.returncode

    def signal(self, number: int) -> None:
        """Send it to the program alone, and never to another process that was given its PID."""
        if self._supervisor is not None:
            self._supervisor.order(f"signal {number}")

    def end(self, grace: float) -> None:
        """SIGTERM to all that was started, after the grace SIGKILL; returns when nothing of it lives."""
        if self._supervisor is None:
            return
        if not self.gone:
            self._supervisor.order(f"stop {grace}")
        deadline = time.monotonic() + grace + LONGEST_END_SECONDS
        while not self.gone:
            if time.monotonic() > deadline:
                raise ChildError(f"what process {self.supervisor_pid} started does not end even by SIGKILL")
            self._hear(deadline - time.monotonic())
        unused, self._supervisor = self._supervisor, None
        if self._lost:
            unused.close()
        else:
            handle.give_back(unused)

    def fate(self) -> str:
        """How the program ended, in words."""
        text = how_it_ended(self.returncode)
        if self.returncode == -signal.SIGKILL and oom_kills() > self._ooms:
            text += " (by the kernel, it seems: the machine, or the limit of the job, was out of memory)"
        return text

    def _wait_for_start(self, name: str, cwd: str) -> None:
        while self._pid is None and not self.gone:
            self._hear(None)
        if self._pid is None:
            raise self._why_not_started(name, cwd)

    def _why_not_started(self, name: str, cwd: str) -> ChildError:
        if not self._failure:
            return NotStarted(name, "its supervisor ended", -signal.SIGKILL)
        where, number = self._failure.split()
        reason = os.strerror(int(number))
        if int(number) in _PASSING:
            return NotStarted(name, reason, os.EX_TEMPFAIL)
        hint = how_to_install(name) if where == "program" and int(number) == errno.ENOENT else ""
        return ChildError(f"{cwd if where == 'cwd' else name}: {_WHERE[where]} cannot be used: {reason}{hint}")

    def _hear(self, timeout: float | None) -> None:
        """Take what the supervisor says within so many seconds; its end is the end of all, however it came."""
        if self.gone or self._supervisor is None:
            return
        lines = self._supervisor.hear(timeout)
        for line in lines or ():
            self._take(line)
        if lines is None:
            self._end_orphans()

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "started":
            self._pid = int(rest)
        elif word == "failed":
            self._failure = rest
        elif word == "ended":
            self.returncode = int(rest)
        elif word == "gone":
            self.gone = True

    def _end_orphans(self) -> None:
        """A supervisor that was killed takes its program along on Linux; what else is of its session is left to us."""
        deadline = time.monotonic() + LONGEST_END_SECONDS
        # Not reaped yet, it still owns its number, so this can be no other session.
        while (left := session_members(self.supervisor_pid)) and time.monotonic() < deadline:
            for pid in left:
                supervisor.attempt(os.kill, pid, signal.SIGKILL)
            time.sleep(0.005)
        self._lost = self.gone = True
        if self._pid is not None and self.returncode is None:
            self.returncode = -signal.SIGKILL


def how_to_install(program: str) -> str:
    """End a message with how a program that many systems lack is had on this one; empty where nobody knows."""
    managers = (manager for manager in _MANAGERS if shutil.which(manager.partition(" ")[0]))
    manager = next(managers, None)
    packages = _PACKAGES.get(program)
    if manager is None or packages is None:
        return ""
    return f"; it is not installed, or not on the PATH: `{manager} {packages.get(manager, packages[''])}` installs it"


def session_members(leader: int) -> list[int]:
    """The processes of a session that live, without its leader."""
    return [pid for pid in _pids() if pid != leader and _session(pid) == leader]


def _pids() -> Iterable[int]:
    if sys.platform == "linux":
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - a name is all it takes
    import psutil

    return psutil.pids()


def _session(pid: int) -> int | None:
    """None for what is gone, or dead and waits to be reaped."""
    try:
        return os.getsid(pid) if start_time(pid) is not None else None
    except OSError:
        return None


def how_it_ended(code: int | None) -> str:
    """The exit code of a program in words; it is negative for a signal, and None where the program still runs."""
    if code is None:
        return "has not ended"
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal_name(-code)}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def oom_kills() -> int:
    """How many processes the kernel has ended for want of memory since it started; 0 where it does not say."""
    try:
        with open("/proc/vmstat", "rb") as file:  # noqa: PTH123 - once a program
            words = file.read().split()
        return int(words[words.index(b"oom_kill") + 1])
    except (OSError, ValueError):
        return 0
