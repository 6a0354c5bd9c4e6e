"""The main log: its last lines, and why pairs failed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.lines import Follower

if TYPE_CHECKING:
    from pathlib import Path

KEPT = 60
# A log of a thousand launches is not read from its beginning.
MOST_BYTES = 8 << 20
_STARTED = "] [INFO] run "


class LogTail:
    """``lines`` are the last ones; ``notes`` say why a pair failed, which no event does of an error."""

    def __init__(self, path: Path) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.notes: dict[str, str] = {}
        self.new: list[str] = []
        self._file = Follower(path, MOST_BYTES)

    @property
    def changed(self) -> float:
        return self._file.changed

    def look(self) -> bool:
        """Whether there are new lines; they are in ``new``."""
        self.new = [line.decode("utf-8", "replace") for line in self._file.read()]
        for line in self.new:
            _, sign, rest = line.partition("] [ERROR] ✗ ")
            if sign:
                self._note(rest)
        self.lines.extend(self.new)
        return bool(self.new)

    def _note(self, text: str) -> None:
        """``error: suite/task/dataset: why``. A name may hold a colon: the note is kept under all that may be one."""
        words = text.split(": ")[1:]
        for count in range(1, len(words)):
            pair = ": ".join(words[:count])
            self.notes[pair] = ": ".join(words[count:]).removeprefix(f"{pair}: ")

    def last_session(self) -> list[str]:
        """The lines since the last start, of those that are kept."""
        lines = list(self.lines)
        starts = [i for i, line in enumerate(lines) if _STARTED in line and " started by process " in line]
        return lines[starts[-1] :] if starts else lines
