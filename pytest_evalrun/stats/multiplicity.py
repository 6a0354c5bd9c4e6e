"""p-values of many comparisons at once: Holm, Benjamini and Hochberg."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: below alpha each is an alarm, a false one among them with chance alpha.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70; valid however the comparisons depend on each other.
    """
    order = _smallest_first(values)
    scaled = (min(1.0, (len(values) - rank) * values[place]) for rank, place in enumerate(order))
    return _in_place(order, accumulate(scaled, max))


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: of those below alpha a share of alpha is false.

    Source: Benjamini and Hochberg 1995, JRSS B 57, 289-300; for comparisons that are independent, or that depend on
    each other positively, as those of one model do.
    """
    order = _smallest_first(values)[::-1]
    count = len(values)
    scaled = (min(1.0, count / (count - rank) * values[place]) for rank, place in enumerate(order))
    return _in_place(order, accumulate(scaled, min))


def _smallest_first(values: Sequence[float]) -> list[int]:
    if not all(0 <= value <= 1 for value in values):  # NaN is not, either
        raise ValueError(f"p-values are within [0, 1]: {list(values)}")
    return sorted(range(len(values)), key=values.__getitem__)


def _in_place(order: Sequence[int], adjusted: accumulate[float]) -> list[float]:
    found = dict(zip(order, adjusted, strict=True))
    return [found[place] for place in range(len(order))]
