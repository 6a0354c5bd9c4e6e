"""The program between a worker and what it starts: whatever becomes of the worker, nothing is left behind.

Run as ``python -I -S supervisor.py FD PID``, so it imports as little as it can. FD is a socket to the worker, PID.
From there come ``run LENGTH`` with a packed program and its descriptors (0, 1 and 2 of the program, then locks that
stay open here, and only here, until everything has ended), ``stop SECONDS`` and ``signal NUMBER``; back go ``started
PID`` or ``failed WHERE ERRNO``, ``ended CODE`` and ``gone``. Then it waits for the next program: one that takes a
millisecond is not worth a new interpreter.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # not signal: its enums would double the time it takes to start
import _socket
import os
import select
import sys
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
IGNORED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)
# Python ignores these two by itself; a program expects the system's way.
PYTHONS = (_signal.SIGPIPE, _signal.SIGXFSZ)
FDS_SPACE = _socket.CMSG_SPACE(4 * 250)
SHORTEST_PAUSE = 0.005
LONGEST_PAUSE = 0.5


def pack(argv: Sequence[str], env: Mapping[str, str], cwd: str, *, ignore: Iterable[int], grace: float) -> bytes:
    """A program as bytes. Raises ValueError for NUL, which no system can hand to a program."""
    head = [cwd, ",".join(map(str, ignore)), str(grace), str(len(argv))]
    fields = [*head, *argv, *(f"{name}={value}" for name, value in env.items())]
    data = b"\0".join(map(os.fsencode, fields))
    if data.count(b"\0") != len(fields) - 1:
        raise ValueError("a NUL in an argument, the environment or the directory")
    return b"run %d\n%b" % (len(data), data)


class Program:
    """What :func:`pack` packed."""

    def __init__(self, data: bytes) -> None:
        self.cwd, ignore, grace, count, *fields = os.fsdecode(data).split("\0")
        self.ignore = [int(number) for number in ignore.split(",") if number]
        self.grace = float(grace)
        self.argv = fields[: int(count)]
        pairs = (field.partition("=") for field in fields[int(count) :])
        self.env = {name: value for name, _, value in pairs}


class Failed(Exception):  # noqa: N818 - the program's failure to start, not one of this program
    """``cwd`` or ``program``, and the number of the system's error."""


class Control:
    """The socket to the worker. A worker that is gone hears nothing, and that is no fault."""

    def __init__(self, fd: int, worker: int) -> None:
        self._socket = _socket.socket(fileno=fd)
        self._rest = b""
        self._fds: list[int] = []
        self.fd = fd
        self._worker = worker

    @property
    def orphaned(self) -> bool:
        """A fork of the worker may hold its end of the socket, and outlive it."""
        return os.getppid() != self._worker

    def program(self) -> tuple[Program, list[int]] | None:
        """The next program and its descriptors; None once the worker is gone."""
        while True:
            words = self._line()
            if words is None and not self._more():
                return None
            if words and words[0] == b"run":  # anything else came too late for the program before
                return self._program(int(words[1]))

    def orders(self) -> list[list[bytes]] | None:
        """The words of each line that has come; None once the worker is gone."""
        if not self._more():
            return None
        return list(iter(self._line, None))

    def say(self, *words: object) -> None:
        try:
            os.write(self.fd, (" ".join(map(str, words)) + "\n").encode())
        except OSError:
            pass

    def _program(self, length: int) -> tuple[Program, list[int]] | None:
        while len(self._rest) < length:
            if not self._more():
                return None
        data, self._rest = self._rest[:length], self._rest[length:]
        fds, self._fds = self._fds, []
        return Program(data), fds

    def _line(self) -> list[bytes] | None:
        line, newline, rest = self._rest.partition(b"\n")
        if not newline:
            return None
        self._rest = rest
        return line.split()

    def _more(self) -> bool:
        try:
            chunk, ancillary, _, _ = self._socket.recvmsg(1 << 16, FDS_SPACE)
        except OSError:
            return False
        for _, _, data in ancillary:
            fds = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4)]
            self._fds += fds
            for fd in fds:
                os.set_inheritable(fd, False)
        self._rest += chunk
        return bool(chunk)


class Supervisor:
    """Watches one program and everything that comes of it."""

    def __init__(self, control: Control, program: Program, stdio: list[int], *, wakes: int, adopts: bool) -> None:
        self.control = control
        self.grace = program.grace
        self.adopts = adopts
        self.wakes = wakes
        self.deadline: float | None = None  # of the grace; None as long as nothing has to end
        self.pause = SHORTEST_PAUSE
        self.group = start(program, stdio)
        self.pid: int | None = self.group
        control.say("started", self.pid)

    def run(self) -> None:
        """Until nothing lives that was started."""
        poll = poll_of(self.control.fd, self.wakes)
        while self._reap():
            if self.control.orphaned:
                self.end(0)
            for fd, _ in poll.poll(self._patience()):
                if fd == self.wakes:
                    os.read(fd, 1 << 16)
                elif (orders := self.control.orders()) is not None:
                    self._obey(orders)
                else:
                    poll.unregister(fd)
                    self.end(0)

    def _patience(self) -> int | None:
        """Milliseconds to wait for news; once the grace is over everything is killed again and again."""
        if self.deadline is None:
            return None
        left = self.deadline - monotonic()
        if left > 0:
            return int(left * 1000) + 1
        self._send(_signal.SIGKILL)
        self.pause = min(self.pause * 2, LONGEST_PAUSE)
        return int(self.pause * 1000)

    def _obey(self, orders: list[list[bytes]]) -> None:
        for order, argument in orders:
            if order == b"stop":
                self.end(float(argument))
            elif order == b"signal" and self.pid:
                attempt(os.kill, self.pid, int(argument))

    def end(self, grace: float) -> None:
        """Ask everything to end and give it the grace; a second time can only shorten it."""
        deadline = monotonic() + grace
        if self.deadline is None:
            self.deadline = deadline
            if grace > 0:
                self._send(_signal.SIGTERM)
        self.deadline = min(self.deadline, deadline)

    def _reap(self) -> bool:
        """Whether anything still lives. Who has adopted all orphans needs only ask for children."""
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.pid:
                    self.pid = None
                    self.control.say("ended", os.waitstatus_to_exitcode(found[1]))
                    self.end(self.grace)
        except ChildProcessError:
            return not self.adopts and self._group_lives()
        return True

    def _send(self, number: int) -> None:
        if self.pid or not self.adopts:  # while the program is not reaped, its group's number is nobody else's
            attempt(os.killpg, self.group, number)
        for pid in descendants(os.getpid()) if self.adopts else ():
            attempt(os.kill, pid, number)

    def _group_lives(self) -> bool:
        return attempt(os.killpg, self.group, 0)


def attempt(kill, *arguments) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002 - typing costs start-up
    """Whether the signal was taken: who is gone, or belongs to another user, does not."""
    try:
        kill(*arguments)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def descendants(root: int) -> list[int]:
    """Everything that lives or waits to be reaped below a process, by what /proc says of parents."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - pathlib costs start-up
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
                stat = file.read()
        except OSError:
            continue
        parent = int(stat[stat.rindex(b")") + 2 :].split()[1])  # the name before it may hold anything
        children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found[1:]


def wake_on_signals() -> int:
    """A descriptor that can be read once a child has ended, or the worker."""
    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (_signal.SIGCHLD, _signal.SIGUSR1):
        _signal.signal(number, lambda *_: None)
    return wakes


def poll_of(*fds: int) -> select.poll:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return poll


def asked(control: Control, wakes: int) -> bool:
    """Waits until the worker has something to say; False where it is gone."""
    poll = poll_of(control.fd, wakes)
    while not control.orphaned:
        ready = [fd for fd, _ in poll.poll()]
        if control.fd in ready:
            return True
        os.read(wakes, 1 << 16)
    return False


def prctl(option: int, value: int) -> bool:
    """Whether this system could do it."""
    if not LINUX:
        return False
    import ctypes

    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def start(program: Program, stdio: list[int]) -> int:
    """The PID of the program, which leads a group of its own. Raises Failed where it could not be started."""
    supervisor = os.getpid()
    reason, failure = os.pipe()
    pid = os.fork()
    if not pid:
        become(program, stdio, supervisor, failure)
    os.close(failure)
    told = os.read(reason, 64)
    os.close(reason)
    if told:
        os.waitpid(pid, 0)
        raise Failed(told.decode())
    return pid


def become(program: Program, stdio: list[int], supervisor: int, failure: int) -> NoReturn:
    """In the forked child: everything as a program expects it, then the program in our place."""
    where = "cwd"
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        plain_signals(program.ignore)
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        os.chdir(program.cwd)
        where = "program"
        os.execvpe(program.argv[0], program.argv, program.env)  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        os.write(failure, f"{where} {error.errno}".encode())
    finally:
        os._exit(127)


def plain_signals(ignore: Iterable[int]) -> None:
    _signal.set_wakeup_fd(-1)
    for number in (*IGNORED, *PYTHONS, _signal.SIGCHLD, _signal.SIGUSR1):
        _signal.signal(number, _signal.SIG_DFL)
    for number in ignore:
        _signal.signal(number, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def supervise(control: Control, program: Program, fds: list[int], *, wakes: int, adopts: bool) -> None:
    """One program, from its start until nothing of it lives; only then are its locks given back."""
    stdio, held = fds[:3], fds[3:]
    try:
        supervisor = Supervisor(control, program, stdio, wakes=wakes, adopts=adopts)
    except Failed as failed:
        supervisor = None
        control.say("failed", failed)
    for fd in stdio:  # so that the program's end is seen by whoever reads it
        os.close(fd)
    if supervisor:
        supervisor.run()
    for fd in held:
        os.close(fd)
    control.say("gone")


def main() -> None:
    """The worker has made us the leader of a session already, out of reach of the terminal's signals."""
    for number in IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    control = Control(int(sys.argv[1]), int(sys.argv[2]))
    os.set_inheritable(control.fd, False)
    os.chdir("/")
    wakes = wake_on_signals()
    adopts = prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, _signal.SIGUSR1)
    while asked(control, wakes) and (found := control.program()):
        supervise(control, *found, wakes=wakes, adopts=adopts)
    os._exit(0)  # there is nothing to tidy


if __name__ == "__main__":
    main()
