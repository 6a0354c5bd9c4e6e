"""Files and directories that change: whether they have since the last look."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
