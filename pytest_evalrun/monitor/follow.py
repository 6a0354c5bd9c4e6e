"""Files, directories and the main log, read again only as far as they changed since the last look."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.lines import Follower

if TYPE_CHECKING:
    from pathlib import Path

Signature = tuple[int, int, int]

KEPT = 60
# A log of a thousand launches is not read from its beginning.
MOST_BYTES = 8 << 20
_STARTED = "] [INFO] run "


def signature(path: Path) -> Signature | None:
    """Return what changes whenever a file is replaced or written; None where there is none to be read."""
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
        """List again where a file came or went; True where the names are other ones than at the last look."""
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


class LogTail:
    """The main log: ``lines`` are its last ones, ``notes`` say why a pair failed, which no event does of an error."""

    def __init__(self, path: Path) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.notes: dict[str, str] = {}
        self.new: list[str] = []
        self._file = Follower(path, MOST_BYTES)

    @property
    def changed(self) -> float:
        return self._file.changed

    def look(self) -> bool:
        """Read what was appended; True where there are new lines, which are in ``new`` then."""
        self.new = [line.decode("utf-8", "replace") for line in self._file.read()]
        for line in self.new:
            _, sign, rest = line.partition("] [ERROR] ✗ ")
            if sign:
                self._note(rest)
        self.lines.extend(self.new)
        return bool(self.new)

    def _note(self, text: str) -> None:
        """Keep ``error: suite/task/dataset: why``: under all that may be the name, for one may hold a colon."""
        words = text.split(": ")[1:]
        for count in range(1, len(words)):
            pair = ": ".join(words[:count])
            self.notes[pair] = ": ".join(words[count:]).removeprefix(f"{pair}: ")

    def last_session(self) -> list[str]:
        """Return the lines since the last start, of those that are kept."""
        lines = list(self.lines)
        starts = [i for i, line in enumerate(lines) if _STARTED in line and " started by process " in line]
        return lines[starts[-1] :] if starts else lines
