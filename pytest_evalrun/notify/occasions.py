"""When people are told of a run that goes on: the first ERROR of each kind, and when nothing finishes any more."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

# What runs for so many times as long as was expected of it hangs, probably.
PATIENCE = 3.0
# A run in which everything goes wrong in ways of its own tells of so many.
MOST_KINDS = 5


@dataclass(frozen=True)
class Stall:
    """Nothing has finished for ``seconds``; ``running`` are ids of what runs, the longest first, and since when."""

    seconds: float
    running: Mapping[str, float]


class Stalls:
    """Hears of what starts and finishes, and says when that was too long ago. Used by two threads.

    ``expected`` are seconds by id, of what was measured before; ``newest`` says how many seconds ago anything came of
    what runs, given its ids: one pair may take a day.
    """

    def __init__(
        self,
        expected: Mapping[str, float],
        newest: Callable[[Collection[str]], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = expected
        self._newest = newest
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        self._last = clock()
        self._told: set[float] = set()

    def started(self, name: str) -> None:
        """To begin is not to finish: a launch whose items begin again and again stalls, too."""
        with self._lock:
            self._running[name] = self._clock()

    def finished(self, name: str) -> None:
        with self._lock:
            self._running.pop(name, None)
            self._moved(self._clock())

    def _moved(self, moment: float) -> None:
        self._last = moment
        self._told.clear()

    def look(self, limit: float) -> Stall | None:
        """Tell of a stall of at least ``limit`` seconds, of each once until something finishes again."""
        with self._lock:
            if not self._is_due(limit):
                return None
            running = dict(self._running)
        age = self._newest(running)
        with self._lock:
            now = self._clock()
            if age is not None and now - age > self._last:
                self._moved(now - age)
            if not self._is_due(limit):
                return None
            self._told.add(limit)
            since = {name: now - began for name, began in sorted(running.items(), key=lambda one: one[1])}
            return Stall(now - self._last, since)

    def _is_due(self, limit: float) -> bool:
        if limit in self._told:
            return False
        longest = max((self._expected.get(name, 0.0) for name in self._running), default=0.0)
        return self._clock() - self._last >= max(limit, PATIENCE * longest)


def age_of_newest(files: Iterable[Path]) -> float | None:
    """How many seconds ago the last of these files was written; None where there is none."""
    written = []
    for file in files:
        with suppress(OSError):
            written.append(file.stat().st_mtime)
    return max(0.0, time.time() - max(written)) if written else None


class FirstOfAKind:
    """Which kinds of errors there were."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()

    def is_first(self, kind: str) -> bool:
        """Whether people should be told of an error: the first of its kind, and not one of very many kinds."""
        if kind in self._kinds or len(self._kinds) >= MOST_KINDS:
            return False
        self._kinds.add(kind)
        return True
