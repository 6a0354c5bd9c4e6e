"""How far the launch is and how long it will take, in one line: ``Progress: 2/4 completed, 2 running, …``."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# On a terminal the line is rewritten; elsewhere every line stays.
SECONDS_ON_TERMINAL = 1.0
SECONDS_ELSEWHERE = 60.0
# What is expected to take less says nothing of how fast this machine is today: it is reused, or all overhead.
LEAST_TO_LEARN_FROM = 0.1
HOUR = 3600


@dataclass(frozen=True)
class _Running:
    since: float
    expected: float | None


class Progress:
    """Counts items as they start and finish. ``expected`` are seconds by id, for as many as are known.

    ``write`` gets the line, never more often than a reader wants it. May be used by several threads.
    """

    def __init__(
        self,
        total: int,
        write: Callable[[str], None],
        is_tty: bool,
        clock: Callable[[], float] = time.monotonic,
        expected: Mapping[str, float] | None = None,
    ) -> None:
        self.total = total
        self._write = write
        self._interval = SECONDS_ON_TERMINAL if is_tty else SECONDS_ELSEWHERE
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = self._written = clock()
        self._waiting = dict(expected or {})
        self._running: dict[str, _Running] = {}
        self._finished: set[str] = set()
        self._lanes = 1
        self._measured = _Pace()

    def started(self, name: str, expected: float | None = None) -> None:
        """Also of an item that is run again because its worker died."""
        with self._lock:
            known = self._waiting.pop(name, None)
            before = self._running.pop(name, None)
            known = before.expected if known is None and before is not None else known
            self._running[name] = _Running(self._clock(), known if expected is None else expected)
            self._finished.discard(name)
            self._lanes = max(self._lanes, len(self._running))

    def finished(self, name: str) -> None:
        with self._lock:
            self._waiting.pop(name, None)
            run = self._running.pop(name, None)
            if run is not None:
                self._measured.add(self._clock() - run.since, run.expected)
            self._finished.add(name)

    def tick(self) -> None:
        """Write the line if the last one is old enough; to be called as often as one likes."""
        now = self._clock()
        if now - self._written >= self._interval:
            self._written = now
            self._write(self.line())

    def line(self) -> str:
        with self._lock:
            now = self._clock()
            parts = [
                f"{len(self._finished)}/{self.total} completed",
                f"{len(self._running)} running",
                f"elapsed {_span(now - self._begun, 1)}",
            ]
            left = self._left(now)
        return f"Progress: {', '.join(parts + ([] if left is None else [f'left ~{_span(left, 0)}']))}"

    def _left(self, now: float) -> float | None:
        """As many lanes as were ever busy at once share the work; none ends before what it is doing."""
        unknown = self.total - len(self._finished) - len(self._running) - len(self._waiting)
        guesses = [run.expected for run in self._running.values()]
        if (unknown > 0 or None in guesses) and self._measured.mean is None:
            return None
        rests = [self._rest(run, now) for run in self._running.values()]
        waiting = sum(self._measured.corrected(seconds) for seconds in self._waiting.values())
        waiting += max(0, unknown) * (self._measured.mean or 0.0)
        return max([(sum(rests) + waiting) / self._lanes, *rests])

    def _rest(self, run: _Running, now: float) -> float:
        """One that is overdue is believed to take as long again as it is late."""
        usual = self._measured.mean or 0.0
        wanted = usual if run.expected is None else self._measured.corrected(run.expected)
        return abs(wanted - (now - run.since))


class _Pace:
    """What items really took: how long on average, and how much longer than expected."""

    def __init__(self) -> None:
        self._count = 0
        self._seconds = 0.0
        self._expected = 0.0
        self._taken = 0.0

    def add(self, seconds: float, expected: float | None) -> None:
        self._count += 1
        self._seconds += seconds
        if expected is not None and expected >= LEAST_TO_LEARN_FROM:
            self._expected += expected
            self._taken += seconds

    @property
    def mean(self) -> float | None:
        return self._seconds / self._count if self._count else None

    def corrected(self, expected: float) -> float:
        return expected * self._taken / self._expected if self._expected else expected


def _span(seconds: float, digits: int) -> str:
    if seconds < HOUR:
        return f"{seconds:.{digits}f}s"
    return f"{seconds // HOUR:.0f}h {seconds % HOUR // 60:02.0f}m"
