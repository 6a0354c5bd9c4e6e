"""A recorded process to be ended: signalled only while it is still the very process that was recorded."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.processes import ProcessEntry, alive

if TYPE_CHECKING:
    from types import TracebackType

POLL = 0.05


class Target:
    """One process, held so that no other process that is given its PID can be meant.

    On Linux a descriptor names the process itself. Elsewhere its start is looked at again just before each signal.
    """

    def __init__(self, entry: ProcessEntry) -> None:
        self.entry = entry
        self._fd = _pidfd(entry.pid)
        # Opened first, then compared: what the descriptor names is what was compared.
        self._same = alive(entry)

    def __enter__(self) -> Target:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """True while the very process lives; a zombie does not, but for its other threads: they hold its locks."""
        if self._fd is None:
            self._same = self._same and alive(self.entry)
        elif self._same:
            self._same = not self._ended_within(0)
        return self._same

    def send(self, number: signal.Signals) -> bool:
        """Send it, or return False where the process is gone."""
        if not self.alive:
            return False
        try:
            self._send(number)
        except ProcessLookupError:
            return False
        except PermissionError:
            raise ConfigError(
                f"process {self.entry.pid} belongs to another user; run the same command as that user, or as root"
            ) from None
        return True

    def send_group(self, number: signal.Signals) -> bool:
        """The whole group of a process that leads one; the PID of a living leader is nobody else's."""
        if not self.leads or not self.alive:
            return False
        try:
            os.killpg(self.entry.pid, number)
        except (ProcessLookupError, PermissionError):  # gone, or one of its members has become somebody else
            return False
        return True

    @property
    def leads(self) -> bool:
        """True where it led a group of its own when it was recorded, one that we are not in ourselves."""
        return self.entry.pgid == self.entry.pid != os.getpgrp()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; True where that came within so many seconds."""
        end = time.monotonic() + seconds
        while self.alive:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._pause(min(left, POLL))
        return True

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _send(self, number: signal.Signals) -> None:
        if self._fd is None:
            os.kill(self.entry.pid, number)
        else:
            signal.pidfd_send_signal(self._fd, number)

    def _pause(self, seconds: float) -> None:
        if self._fd is None:
            time.sleep(seconds)
        else:
            self._ended_within(seconds)

    def _ended_within(self, seconds: float) -> bool:
        assert self._fd is not None
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)  # readable once the process has ended, with all its threads
        return bool(poll.poll(seconds * 1000))


def _pidfd(pid: int) -> int | None:
    """None where the system or its kernel knows no such descriptor, and for a process that is gone."""
    if pid <= 0 or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
