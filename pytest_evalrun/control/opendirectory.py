"""Take files away below a directory that is held open: each step down is a directory, never a link.

A path that is looked at and then removed could be exchanged in between; a descriptor cannot.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = _DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Size:
    """How much lies in a place."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.files + other.files, self.bytes + other.bytes)


class OpenDirectory:
    """A directory, open; names are relative to it. ``follow``: it may itself be reached by a link."""

    def __init__(self, root: Path, *, follow: bool = False) -> None:
        self.root = root
        try:
            self._fd = os.open(root, _DIRECTORY if follow else _STEP)
        except OSError as error:
            why = "it is a symbolic link; name what it points to" if root.is_symlink() else error.strerror
            raise ConfigError(f"{root}: cannot be opened: {why}; nothing was changed") from error

    def __enter__(self) -> OpenDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._fd)

    def names(self) -> list[str]:
        """List what lies directly in it."""
        return sorted(os.listdir(self._fd))  # noqa: PTH208 - of a descriptor

    def size(self, name: str) -> Size | None:
        """How much lies at a name, None where nothing does; links count as themselves.

        Raises ConfigError where a link is on the way.
        """
        try:
            with self._parent(name) as (fd, last):
                return _size(fd, last)
        except FileNotFoundError:
            return None

    def files(self, name: str) -> Iterator[tuple[str, int | None]]:
        """List what is no directory below one, relative to it, with its size; None for what is no file, as a link."""
        try:
            with self._parent(name) as (fd, last):
                yield from _files(fd, last, "")
        except FileNotFoundError:
            return

    def remove(self, name: str) -> bool:
        """A file, a link itself, or a directory with all that is in it; False where nothing is."""
        try:
            with self._parent(name) as (fd, last):
                if stat.S_ISDIR(os.lstat(last, dir_fd=fd).st_mode):
                    shutil.rmtree(last, dir_fd=fd)  # by descriptors too, so no link is followed
                else:
                    os.unlink(last, dir_fd=fd)
        except FileNotFoundError:
            return False
        return True

    def set_aside(self, name: str, suffix: str) -> bool:
        """Rename, over what an earlier one has left; False where nothing is."""
        try:
            with self._parent(name) as (fd, last):
                if stat.S_ISDIR(os.lstat(last, dir_fd=fd).st_mode):
                    self.remove(f"{name}{suffix}")  # a directory replaces no other that has something in it
                os.rename(last, f"{last}{suffix}", src_dir_fd=fd, dst_dir_fd=fd)
        except FileNotFoundError:
            return False
        return True

    def prune(self, name: str) -> None:
        """Remove a directory that is empty, and those above it that then are, but never the root."""
        for place in (name, *map(str, PurePosixPath(name).parents)):
            if place == ".":
                return
            try:
                with self._parent(place) as (fd, last):
                    os.rmdir(last, dir_fd=fd)
            except FileNotFoundError:
                continue
            except OSError:  # something is in it
                return

    def prune_below(self, name: str) -> None:
        """Remove the empty directories in a directory, then itself and those above it, where they are empty, too."""
        try:
            with self._parent(name) as (fd, last):
                _remove_empty(fd, last)
        except FileNotFoundError:
            return
        self.prune(name)

    @contextmanager
    def _parent(self, name: str) -> Iterator[tuple[int, str]]:
        """The open directory above a name, and the name in it."""
        *steps, last = _parts(name)
        fd = os.dup(self._fd)
        try:
            for step in steps:
                below = self._step(fd, step, name)
                os.close(fd)
                fd = below
            yield fd, last
        finally:
            os.close(fd)

    def _step(self, fd: int, step: str, name: str) -> int:
        try:
            return os.open(step, _STEP, dir_fd=fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise ConfigError(
                f"{self.root / name}: {step} is a symbolic link or no directory; it was not followed, what lies "
                "behind it is not touched"
            ) from error


def _parts(name: str) -> tuple[str, ...]:
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ConfigError(f"{name!r} is no name of something below a directory; nothing was changed")
    return parts


def _files(fd: int, name: str, below: str) -> Iterator[tuple[str, int | None]]:
    inner = os.open(name, _STEP, dir_fd=fd)
    try:
        for entry in os.listdir(inner):  # noqa: PTH208 - of a descriptor
            facts = os.lstat(entry, dir_fd=inner)
            if stat.S_ISDIR(facts.st_mode):
                yield from _files(inner, entry, f"{below}{entry}/")
            else:
                yield f"{below}{entry}", facts.st_size if stat.S_ISREG(facts.st_mode) else None
    finally:
        os.close(inner)


def _remove_empty(fd: int, name: str) -> None:
    inner = os.open(name, _STEP, dir_fd=fd)
    try:
        for entry in os.listdir(inner):  # noqa: PTH208 - of a descriptor
            if stat.S_ISDIR(os.lstat(entry, dir_fd=inner).st_mode):
                _remove_empty(inner, entry)
    finally:
        os.close(inner)
    with suppress(OSError):  # something is in it
        os.rmdir(name, dir_fd=fd)


def _size(fd: int, name: str) -> Size:
    facts = os.lstat(name, dir_fd=fd)
    if not stat.S_ISDIR(facts.st_mode):
        return Size(1, facts.st_size)
    total = Size()
    inner = os.open(name, _STEP, dir_fd=fd)
    try:
        for entry in os.listdir(inner):  # noqa: PTH208 - of a descriptor
            total += _size(inner, entry)
    finally:
        os.close(inner)
    return total
