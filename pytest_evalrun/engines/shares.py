"""How many jobs may run at once, divided among resource classes: submitted apart, they know nothing of each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_evalrun.engines.attempts import UnitLife

K = TypeVar("K")


def occupied(lives: Iterable[UnitLife]) -> int:
    """Count the slots of what was submitted: of each batch its share, or its jobs where these are fewer by now."""
    jobs: Counter[int] = Counter()
    shares: dict[int, int] = {}
    for life in lives:
        if life.has_slot:
            jobs[life.batch] += 1
            shares[life.batch] = life.share
    return sum(min(shares[batch], count) for batch, count in jobs.items())


def share_out(work: Mapping[K, tuple[int, float]], free: int) -> dict[K, int]:
    """Divide free slots among classes, each of so many units and so many seconds, such that all end together.

    One each first, for as many as there are slots, the one with the longest work first; none gets more than it has
    units. What gets no slot is not in the result.
    """
    shares: dict[K, int] = {}
    for _ in range(free):
        open_ones = [name for name, (units, _) in work.items() if shares.get(name, 0) < units]
        if not open_ones:
            break
        hungry = max(open_ones, key=lambda name: (name not in shares, work[name][1] / (shares.get(name, 0) + 1)))
        shares[hungry] = shares.get(hungry, 0) + 1
    return shares
