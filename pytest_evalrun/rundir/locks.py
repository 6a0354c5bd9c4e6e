"""The kernel's locks on files: no other module of the package takes any.

Such a lock belongs to an open file. The kernel frees it when the last descriptor of that file is closed, however its
holder dies. A fork copies every descriptor, and a helper that a user's model forks may outlive the model by hours: so
a forked child closes its copies before anything else. It closes and never unlocks, which would take the lock from its
parent. Who shall keep a lock beyond this process is handed a copy on purpose: supervisors get those of a lease.

What a holder says of itself it writes into the file; that is for people, and the kernel alone decides.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from pytest_evalrun.rundir.lines import open_plain, open_with_parents
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

POLL_SECONDS = 0.05
_MADE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
_held: set[FileLock] = set()


class FileLock:
    """A file, open to be locked: ``take`` may be called again and again, ``close`` gives the lock back.

    The file is made where it is missing; ``opener`` opens it in another way. Raises OSError for what is no plain file.
    """

    __slots__ = ("_fd", "_opener", "path")

    def __init__(self, path: Path, opener: Callable[[], int] | None = None) -> None:
        self.path = path
        self._opener = opener or (lambda: open_plain(path, _MADE))
        self._open()

    @classmethod
    def with_parents(cls, path: Path) -> Self:
        """Open the lock, and make the directories above it where they are missing."""
        return cls(path, lambda: open_with_parents(os.fspath(path), os.O_RDWR | os.O_NOFOLLOW))

    def _open(self) -> None:
        self._fd = self._opener()
        _held.add(self)

    def take(self, *, shared: bool = False, wait: float | None = 0.0, poll: float = POLL_SECONDS) -> bool:
        """Take the lock; False where ``wait`` seconds were not enough. With None it takes as long as it takes.

        Raises OSError, and is closed, where the file system knows no locks.
        """
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if wait is None:
            return self._lock(how)
        return self._lock(how | fcntl.LOCK_NB) or (
            wait > 0 and wait_until(lambda: self._lock(how | fcntl.LOCK_NB), wait, poll)
        )

    def _lock(self, how: int) -> bool:
        """Lock the file that others will find: one that was removed meanwhile is opened anew."""
        while True:
            try:
                fcntl.flock(self._fd, how)
            except BlockingIOError:
                return False
            except OSError:
                self.close()
                raise
            if self._is_there():
                return True
            self.close()
            self._open()

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path))  # noqa: PTH116 - hot path
        except FileNotFoundError:
            return False

    @property
    def is_open(self) -> bool:
        """False once it was closed, and in a forked child."""
        return self._fd >= 0

    def fileno(self) -> int:
        """The descriptor that has the lock for as long as it, or a copy of it, is open."""
        return self._fd

    def close(self) -> None:
        """Give the lock back by closing alone, which leaves it to who was handed a copy. A second time does nothing."""
        fd, self._fd = self._fd, -1
        _held.discard(self)
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HeldLocks:
    """Locks that are ours until ``release``, and longer in processes that were given copies of ``fds``."""

    def __init__(self, locks: Iterable[FileLock]) -> None:
        self.locks = tuple(locks)

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptors of the locks; none once they were released, and in a forked child."""
        return tuple(lock.fileno() for lock in self.locks if lock.is_open)

    def release(self) -> None:
        for lock in self.locks:
            lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Tell whether somebody has the lock alone. To ask is to share it for a moment; no file is made."""
    try:
        with FileLock(path, lambda: open_plain(path, os.O_RDONLY | os.O_NOFOLLOW)) as lock:
            return not lock.take(shared=True)
    except OSError:
        return False


def _leave_to_parent() -> None:
    while _held:
        with suppress(OSError):  # a model may close what it does not know
            _held.pop().close()


os.register_at_fork(after_in_child=_leave_to_parent)
