"""Files that grow or are replaced, read no more than they changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.lines import open_file

if TYPE_CHECKING:
    from pathlib import Path

Signature = tuple[int, int, int]


def signature(path: Path) -> Signature | None:
    """What changes whenever a file is replaced or written; None where there is none to be read."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


class Follower:
    """The complete lines that were appended to a file since the last look.

    ``last``: of a file that is longer at the first look, only so many bytes of its end.
    """

    def __init__(self, path: Path, last: int | None = None) -> None:
        self.path = path
        self.changed = 0.0
        self._last = last
        self._inode: int | None = None
        self._offset = 0

    def read(self) -> list[bytes]:
        """A last line without an end waits for the next call: its writer has not finished it."""
        try:
            stat = self.path.stat()
            self._settle(stat)
            if stat.st_size == self._offset:
                return []
            with open_file(self.path) as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        return data[:end].split(b"\n")[:-1]

    def _settle(self, stat: os.stat_result) -> None:
        """Where to go on: at the beginning of a file that is another one, or was cut."""
        self.changed = stat.st_mtime
        if stat.st_ino != self._inode or stat.st_size < self._offset:
            self._inode = stat.st_ino
            self._offset = max(0, stat.st_size - self._last) if self._last else 0


class Directory:
    """The files of a directory by name, listed again only when one came or went."""

    def __init__(self, path: Path, suffix: str) -> None:
        self._path = path
        self._suffix = suffix
        self._seen: Signature | None = None
        self.names: list[str] = []

    def look(self) -> bool:
        """Whether the names are other ones than at the last look."""
        seen = signature(self._path)
        if seen == self._seen:
            return False
        self._seen = seen
        before, self.names = self.names, self._list()
        return self.names != before

    def _list(self) -> list[str]:
        try:
            names = os.listdir(self._path)  # noqa: PTH208 - the names, not paths
        except OSError:
            return []
        return sorted(name for name in names if name.endswith(self._suffix) and not name.startswith("."))
