"""What the scores of a metric are declared to keep within: by it a mean has an interval that holds at any n."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, PairError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Bounds = tuple[float, float]

SHARE = (0.0, 1.0)
# By so much of their distance a score may lie outside of them, as numbers of 32 bits are rounded.
ROUNDING = 1e-6


def bounds_of(made: Any, ref: str) -> Bounds | None:
    """The attribute ``bounds`` of a metric; None where it has none. Raises ConfigError for what is no two numbers."""
    found = getattr(made, "bounds", None)
    if found is None:
        return None
    if isinstance(found, tuple | list) and len(found) == 2 and all(map(_is_number, found)) and found[0] < found[1]:
        return float(found[0]), float(found[1])
    raise ConfigError(f"metric {ref}: bounds is {found!r}; accepted: two numbers, the lower one first, as in (0, 1)")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def held(metric: str, score: float, bounds: Bounds) -> float:
    """The score, within its bounds to the last digit. Raises PairError where it is outside of them."""
    nearest = min(max(score, bounds[0]), bounds[1])
    if abs(score - nearest) > ROUNDING * (bounds[1] - bounds[0]):
        low, high = (f"{bound:g}" for bound in bounds)
        raise PairError(
            f"metric {metric}: the score {score!r} is outside of the bounds that it declares, {low} to {high}"
        )
    return nearest


def all_held(metric: str, scores: list[float | None], bounds: Bounds) -> list[float | None]:
    """The same of many: at the price of their least and their greatest where all are within."""
    known: Sequence[float] = [score for score in scores if score is not None]
    if not known or (bounds[0] <= min(known) and max(known) <= bounds[1]):
        return scores
    return [None if score is None else held(metric, score, bounds) for score in scores]
