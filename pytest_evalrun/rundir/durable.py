"""Writes that a reader never sees half done, and the thread that carries them to the disk.

What was written survives the death of any process at once: it is in the kernel's hands. A power cut is another
matter: ``Disk`` syncs once a second what was written through it, data before the markers that vouch for it.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import encoded, open_with_parents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

INTERVAL = 1.0
# Above this many files one syncfs(2) is cheaper than a journal commit for each of them.
MANY = 64
MAX_ERRORS = 100

_WRITE_ASIDE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
# A FIFO that somebody put there must not hold up the others.
_SYNC = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
# What an OSError says where something lies in the place of one of our files.
IN_THE_WAY = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EEXIST, errno.ELOOP, errno.ENXIO})
# Of renameat2(2), by Linux: names as open(2) takes them, and that the two change places.
_HERE, _EXCHANGE = -100, 2
_count = itertools.count()
# What such a file is called until it is put in its place; the process that writes it is the first number.
ASIDE = re.compile(r"\..+?\.(\d+)(?:\.\d+)?\.tmp")


def write_atomic(path: Path | str, data: str | bytes, *, private: bool = False) -> None:
    """Replace a file in one step: a reader meets the old content or the new, whatever dies meanwhile.

    Parents are made where they are missing. The temporary file lies beside the target, hidden, and ends in ``.tmp``.
    ``private``: nobody but its owner can read it.
    """
    replacement = Replacement(os.fspath(path), private=private)
    try:
        replacement.write(data)
        replacement.put()
    except BaseException:
        replacement.drop()
        raise


def link_atomic(source: Path | str, path: Path | str) -> bool:
    """Make a file another name of ``source``, in one step; False where the file systems allow no such name.

    Raises FileNotFoundError where there is no source, or no directory for the name.
    """
    aside = _aside(os.fspath(path))
    try:
        os.link(source, aside, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    try:
        os.rename(aside, path)  # noqa: PTH104 - as below
    finally:
        with suppress(FileNotFoundError):  # where both were names of one file already, a rename leaves both
            os.unlink(aside)  # noqa: PTH108 - as below
    return True


def exchanged(one: Path, other: Path) -> bool:
    """Let two files or directories change places, in one step; False where the system or file system cannot."""
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0


class Replacement:
    """The new content of a file, written aside until ``put`` makes it the file; nobody else's where ``private``."""

    __slots__ = ("_aside", "_fd", "_target")

    def __init__(self, target: str, *, private: bool = False) -> None:
        self._target = target
        self._aside = _aside(target)
        if not private:
            self._fd = open_with_parents(self._aside, _WRITE_ASIDE)
            return
        # From its first moment, and made by us: who has opened it before may read what comes later.
        with suppress(FileNotFoundError):
            os.unlink(self._aside)  # noqa: PTH108 - as beside it
        self._fd = open_with_parents(self._aside, _WRITE_ASIDE | os.O_EXCL, 0o600)

    def write(self, data: str | bytes) -> None:
        write_all(self._fd, encoded(data) if isinstance(data, str) else data)

    def put(self) -> None:
        self._close()
        os.rename(self._aside, self._target)  # noqa: PTH104 - pathlib costs more than the call

    def drop(self) -> None:
        self._close()
        try:
            os.unlink(self._aside)  # noqa: PTH108 - as above
        except OSError:
            pass

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _aside(target: str) -> str:
    """A name that no other writer uses; the target's own name may be too long to be made longer."""
    directory, name = os.path.split(target)
    return os.path.join(directory, f".{name[:40]}.{os.getpid()}.{next(_count)}.tmp")  # noqa: PTH118 - hot path


def write_all(fd: int, data: bytes) -> None:
    """Everything or OSError: a disk that fills up takes a part of a write and says so only at the next."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


class Appender:
    """A file that only grows: each call is one unbuffered write, whole lines are never mixed with another's."""

    __slots__ = ("_disk", "_fd", "_path", "_torn")

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._fd = open_with_parents(path, _APPEND)
        self._torn = False

    def write(self, data: str | bytes) -> None:
        data = encoded(data)
        if self._torn:  # a write failed half way: what it left becomes a line of its own, which readers skip
            data = b"\n" + data
        self._torn = True
        write_all(self._fd, data)
        self._torn = False
        self._disk.mark(self._path)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Disk:
    """The writes of one process, and the thread that syncs them once a second.

    A sync that fails (disk full, I/O error) never ends the thread: the error is kept in ``errors``, and ``flush`` and
    ``close`` return those that came since they were last asked. A file that vanished meanwhile is no error.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self.errors: list[OSError] = []
        self._interval = interval
        self._told = 0
        self._dirty: dict[str, bool] = {}
        self._late: dict[Callable[[], None], None] = {}
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, path: Path | str, data: str | bytes, *, vouches: bool = False) -> None:
        """``write_atomic``, synced within a second; ``vouches`` for a marker, which goes after all the data."""
        write_atomic(path, data)
        self.mark(os.fspath(path), vouches=vouches)

    @contextmanager
    def replacing(self, path: Path | str) -> Iterator[Replacement]:
        """Like ``write`` for what comes in pieces: the file changes when the block ends, and not if it raises."""
        target = os.fspath(path)
        replacement = Replacement(target)
        try:
            yield replacement
            replacement.put()
        except BaseException:
            replacement.drop()
            raise
        self.mark(target)

    def appender(self, path: Path | str) -> Appender:
        return Appender(self, os.fspath(path))

    def append_line(self, path: Path | str, obj: dict[str, Any]) -> None:
        """One JSON line in one write; for files that get a line now and then."""
        import json

        appender = self.appender(path)
        try:
            appender.write(json.dumps(obj, ensure_ascii=False) + "\n")
        finally:
            appender.close()

    def mark(self, path: str, *, vouches: bool = False) -> None:
        """Remember a file that somebody wrote by other means."""
        with self._lock:
            self._dirty[path] = vouches
            if self._thread is None:
                self._start()

    def later(self, write: Callable[[], None]) -> None:
        """Have this called by the thread within a second, once; for what is worth writing only if nothing follows."""
        with self._lock:
            self._late[write] = None
            if self._thread is None:
                self._start()

    def flush(self) -> list[OSError]:
        """Write and sync now what waits; returns what failed since the last call, in the thread too."""
        self._sync()
        new, self._told = self.errors[self._told :], len(self.errors)
        return new

    def close(self) -> list[OSError]:
        """Sync what is left and end the thread; the object can be used again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return self.flush()

    def _start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="evalrun-flusher", daemon=True)
        self._thread.start()

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._interval):
            self._sync()

    def _sync(self) -> None:
        with self._syncing:
            self._write_late()
            with self._lock:
                dirty, self._dirty = self._dirty, {}
            if len(dirty) <= MANY or not self._sync_file_systems(dirty):
                # A marker that outlives its data is found out by its hashes; this order makes it rare.
                self._sync_files(path for path, vouches in dirty.items() if not vouches)
                self._sync_files(path for path, vouches in dirty.items() if vouches)

    def _write_late(self) -> None:
        with self._lock:
            late, self._late = self._late, {}
        for write in late:
            try:
                write()
            except OSError as error:
                self._keep(error, error.filename)

    def _sync_files(self, paths: Iterable[str]) -> None:
        directories: dict[str, None] = {}
        for path in paths:
            directories[os.path.dirname(path) or "."] = None  # noqa: PTH120
            self._sync_path(path)
        for directory in directories:  # the names too: a rename is a change of the directory
            self._sync_path(directory)

    def _sync_path(self, path: str) -> None:
        try:
            fd = os.open(path, _SYNC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._keep(error, path)

    def _sync_file_systems(self, paths: Iterable[str]) -> bool:
        """One syncfs(2) for each file system; False where there is no such call."""
        syncfs = _syncfs()
        if syncfs is None:
            return False
        devices: set[int] = set()
        for path in paths:
            try:
                if os.stat(path).st_dev in devices:  # noqa: PTH116 - of thousands of files one is opened
                    continue
                fd = os.open(path, _SYNC)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._keep(error, path)
                continue
            try:
                devices.add(os.fstat(fd).st_dev)
                self._check(syncfs(fd), path)
            finally:
                os.close(fd)
        return True

    def _check(self, code: int, path: str) -> None:
        if code:
            import ctypes

            number = ctypes.get_errno() or errno.EIO
            self._keep(OSError(number, os.strerror(number)), path)

    def _keep(self, error: OSError, path: str) -> None:
        # A second fsync would report success, the pages being clean by then: what failed is kept, not tried again.
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(OSError(error.errno, error.strerror, path))


def _syncfs() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
