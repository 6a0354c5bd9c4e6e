"""The supervisors of this process: started when one is needed, and kept for the next program."""

from __future__ import annotations

import atexit
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.children import supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

# Neither site nor the wishes of the environment: they would cost time, and could break it.
BARE = ("-I", "-S")
MOST_IDLE = 2
_idle: list[SupervisorHandle] = []
_alive: set[int] = set()


class SupervisorHandle:
    """The process of a supervisor, and the socket to it."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._rest = b""
        self._socket, theirs = socket.socketpair()
        words = [sys.executable, *BARE, str(Path(supervisor.__file__)), str(theirs.fileno()), str(self._owner)]
        nothing = subprocess.DEVNULL
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    words,
                    stdin=nothing,
                    stdout=nothing,
                    stderr=nothing,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            self._socket.close()
            raise
        _alive.add(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def owned(self) -> bool:
        """This is the process that started it, not a fork of that."""
        return self._owner == os.getpid()

    @property
    def usable(self) -> bool:
        """It lives, and has nothing left to say."""
        return not readable(self._socket.fileno(), 0)

    def run(self, packed: bytes, fds: Sequence[int]) -> None:
        """Start a program. A supervisor that is gone is told by :meth:`hear`."""
        try:
            sent = socket.send_fds(self._socket, [packed[: 1 << 12]], list(fds))
            self._socket.sendall(packed[sent:])
        except ConnectionError:
            pass

    def order(self, line: str) -> None:
        try:
            self._socket.sendall(line.encode() + b"\n")
        except OSError:
            pass

    def hear(self, timeout: float | None) -> list[str] | None:
        """The lines that come within a time; None once the supervisor is gone."""
        if not readable(self._socket.fileno(), timeout):
            return []
        try:
            chunk = self._socket.recv(1 << 16)
        except OSError:
            chunk = b""
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line.decode() for line in lines]

    def close(self) -> None:
        """Its program, if it has one, ends with it. A fork of this process may hold a copy of the socket for long."""
        with suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._process.wait()
        _alive.discard(self.pid)


def supervisors() -> frozenset[int]:
    """The PIDs of all supervisors, idle ones too: they belong to this process and not to any model."""
    return frozenset(_alive)


def take() -> SupervisorHandle:
    """One that has nothing to do, or a new one."""
    while _idle:
        supervisor = _idle.pop()
        if not supervisor.owned:
            continue
        if supervisor.usable:
            return supervisor
        supervisor.close()
    return SupervisorHandle()


def give_back(supervisor: SupervisorHandle) -> None:
    if len(_idle) < MOST_IDLE:
        _idle.append(supervisor)
    else:
        supervisor.close()


@atexit.register
def close_idle() -> None:
    """Those of this process; a fork has only copies."""
    while _idle:
        supervisor = _idle.pop()
        if supervisor.owned:
            supervisor.close()


def readable(fd: int, timeout: float | None) -> bool:
    """Say whether a descriptor can be read, or is at its end, within so many seconds; None waits for ever."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
