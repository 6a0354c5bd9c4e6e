"""How far the launch is and how long it will take, in one line: ``Progress: 2/4 completed, 2 running, …``."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pytest_evalrun.planning.remaining import Remaining

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# On a terminal the line is rewritten; elsewhere every line stays.
SECONDS_ON_TERMINAL = 1.0
SECONDS_ELSEWHERE = 60.0
HOUR = 3600


class LaunchProgress:
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
        self._remaining = Remaining(total, expected)

    def started(self, name: str, expected: float | None = None) -> None:
        """Count an item as running; also one that is run again because its worker died."""
        with self._lock:
            self._remaining.started(name, self._clock(), expected)

    def finished(self, name: str, *, reused: bool = False) -> None:
        with self._lock:
            self._remaining.finished(name, self._clock(), reused=reused)

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
                f"{self._remaining.finished_count}/{self.total} completed",
                f"{self._remaining.running_count} running",
                f"elapsed {_span(now - self._begun, 1)}",
            ]
            left = self._remaining.left(now)
        return f"Progress: {', '.join(parts + ([] if left is None else [f'left ~{_span(left, 0)}']))}"


def _span(seconds: float, digits: int) -> str:
    if seconds < HOUR:
        return f"{seconds:.{digits}f}s"
    return f"{seconds // HOUR:.0f}h {seconds % HOUR // 60:02.0f}m"
