"""The lock of a work directory's task list, in the system's temporary directory: a place that everybody can write to.

Whoever comes first may have put there whatever he likes. So nothing is believed there but a directory of our own, for
us alone, and in it a plain file of ours; no link is followed, and nothing is ever written. Where it is otherwise, the
lock is taken in the work directory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.locks import POLL_SECONDS, FileLock
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK_TIMEOUT = 5.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no wait for a pipe's other end


def lock_directory(workdir: Path) -> Path:
    """Find the directory where the seed has the lock: it is called after the path of the work directory."""
    path = os.path.abspath(workdir)  # noqa: PTH100 - resolve() would follow links
    digest = hashlib.md5(os.fsencode(path), usedforsecurity=False).hexdigest()
    return Path(tempfile.gettempdir(), f"task_locks_{digest}")


class TaskListLock:
    """The lock file has the seed's name and place: watchers of the work directory would hold it open there.

    ``path`` is where it lies. ``say`` is told, once, where the seed's place is not to be trusted.
    """

    def __init__(self, workdir: Path, say: Callable[[str], object] | None = None) -> None:
        self._workdir = Path(os.path.abspath(workdir))  # noqa: PTH100 - resolve() would follow links
        self.directory = lock_directory(workdir)
        self._private = WorkDir(self._workdir).task_lock
        self.path = self.directory / self._private.name
        self._say = say
        self._place = -1
        self._lock: FileLock | None = None

    def __enter__(self) -> TaskListLock:
        """Raises ConfigError where another process has it for longer than the limit, or nothing can be locked."""
        if not wait_until(self._try, LOCK_TIMEOUT, POLL_SECONDS):
            raise ConfigError(
                f"{self.path}: another process holds the lock of the task list for more than {LOCK_TIMEOUT:g} s; "
                "end it, or remove the file if no such process is left"
            )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._lock is not None:
            self._lock.close()
        if self._place >= 0:
            os.close(self._place)
        self._place, self._lock = -1, None

    def cleanup(self) -> None:
        """Remove the lock file if nobody holds it, and its directory if nothing else is in it."""
        try:
            if self._try():
                os.unlink(self.path.name, dir_fd=self._place)
                if self.path != self._private:
                    self.directory.rmdir()
        except (OSError, ConfigError):
            pass
        finally:
            self.__exit__()

    def _try(self) -> bool:
        """Try once to take the lock; raises ConfigError where nothing can be locked there."""
        try:
            self._lock = self._open()
            if self._lock.take():
                return True
        except OSError as error:
            tidied = isinstance(error, FileNotFoundError) and self._workdir.exists()  # by whoever had it until now
            if not tidied:
                self.__exit__()
                raise ConfigError(f"{self.path}: cannot lock the task list: {error.strerror}") from error
        self.__exit__()
        return False

    def _open(self) -> FileLock:
        """Open the lock in the seed's place, or in the work directory where that is not to be trusted."""
        try:
            self.path = self.directory / self._private.name
            return FileLock(self.path, self._in_the_seeds)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.__exit__()
            self._warn(error)
            self.path = self._private
            return FileLock(self.path, self._in_ours)

    def _in_the_seeds(self) -> int:
        self._enter(own_directory(self.directory))
        file = os.open(self.path.name, _FILE, 0o600, dir_fd=self._place)
        try:
            _check_own(os.fstat(file))
        except BaseException:
            os.close(file)
            raise
        return file

    def _in_ours(self) -> int:
        self._enter(os.open(self._workdir, _DIRECTORY & ~os.O_NOFOLLOW))  # the user's own word: may be a link
        return os.open(self.path.name, _FILE, 0o666, dir_fd=self._place)

    def _enter(self, place: int) -> None:
        """Keep the directory of the lock open; where the file was removed before it was locked, this is done again."""
        if self._place >= 0:
            os.close(self._place)
        self._place = place

    def _warn(self, error: OSError) -> None:
        if self._say is not None:
            self._say(
                f"{self.directory} is not trusted with the lock of the task list: {error.strerror}; "
                f"{self._private} is locked instead; remove the other, or have its owner do it"
            )
            self._say = None


def own_directory(path: Path) -> int:
    """Open a directory of ours that is closed to others, made where it is missing; OSError says what else is there."""
    above = os.open(path.parent, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        try:
            os.mkdir(path.name, 0o700, dir_fd=above)
        except FileExistsError:
            _check_own(os.stat(path.name, dir_fd=above, follow_symlinks=False))  # for its words
        fd = os.open(path.name, _DIRECTORY, dir_fd=above)
    finally:
        os.close(above)
    try:
        _check_own(os.fstat(fd))
        os.fchmod(fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_own(info: os.stat_result) -> None:
    """Raises OSError for what another user made, and for what leads elsewhere."""
    if stat.S_ISLNK(info.st_mode):
        raise OSError(None, "it is a symbolic link")
    if info.st_uid != os.geteuid():
        raise OSError(None, f"it belongs to user {info.st_uid}")
    if not stat.S_ISDIR(info.st_mode) and not (stat.S_ISREG(info.st_mode) and info.st_nlink <= 1):
        raise OSError(None, "it is no plain file or directory")
