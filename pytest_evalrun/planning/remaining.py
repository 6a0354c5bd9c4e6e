"""How long the rest of a launch takes: for whoever runs it, and for whoever watches it from outside.

Both are told the same: what was expected of each item, and when it started and ended. So both say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is expected to take less says nothing of how fast this machine is today: it is reused, or all overhead.
LEAST_TO_LEARN_FROM = 0.1


@dataclass(frozen=True)
class _Running:
    since: float
    expected: float | None


class Remaining:
    """Counts items as they start and finish. ``expected`` are seconds by id, for as many as are known of ``total``.

    Moments are seconds of any one clock.
    """

    def __init__(self, total: int, expected: Mapping[str, float] | None = None) -> None:
        self.total = total
        self._waiting = dict(expected or {})
        self._running: dict[str, _Running] = {}
        self._finished: set[str] = set()
        self._lanes = 1
        self._measured = _Pace()

    @property
    def finished_count(self) -> int:
        return len(self._finished)

    @property
    def running_count(self) -> int:
        return len(self._running)

    def started(self, name: str, now: float, expected: float | None = None) -> None:
        """Also of an item that is run again because its worker died."""
        known = self._waiting.pop(name, None)
        before = self._running.pop(name, None)
        known = before.expected if known is None and before is not None else known
        self._running[name] = _Running(now, known if expected is None else expected)
        self._finished.discard(name)
        self._lanes = max(self._lanes, len(self._running))

    def finished(self, name: str, now: float, *, reused: bool = False) -> None:
        """What is ``reused`` took no time, and promises nothing of the others."""
        self._waiting.pop(name, None)
        run = self._running.pop(name, None)
        if run is not None and not reused:
            self._measured.add(now - run.since, run.expected)
        self._finished.add(name)

    def left(self, now: float) -> float | None:
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
