"""One side of a comparison: what a run or a saved baseline knows of the samples of a pair.

Numbers of results are read as anybody may have written them: what is none is as if it were not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# A value is the mean of its scores where it differs from that by no more of their scale: sums are rounded.
ROUNDING = 1e-9


def is_same_value(mean: float, value: float) -> bool:
    """Tell whether a mean is a metric's value, but for the rounding of sums."""
    return abs(mean - value) <= ROUNDING * max(1.0, abs(value))


@dataclass(frozen=True)
class SampleScores:
    """What one side knows of a sample: ``reference`` is the digest of its reference, ``scores`` metric → score.

    Of several generations of a sample there is one row, its scores their means, and ``answers`` says how many were
    scored. ``cluster`` is as the data name it; ``statistics`` metric → what the sample adds to a value of the corpus.
    """

    id: str
    reference: str
    scores: Mapping[str, float]
    cluster: str | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)
    answers: int = 1


@dataclass(frozen=True)
class Side:
    """A pair as one side has it. ``name`` is what people call it: ``main``, ``20261129_101500``.

    ``metrics`` is as a result has it: name → value, n, low, high, better, ``bounds`` where scores are declared to keep
    some; ``mean`` where a baseline vouches for the value being their mean.
    ``scoring`` is the part ``score`` of the fingerprint: use, params, source and version of each metric among it.
    ``rows`` reads the samples in dataset order, anew each time.
    """

    name: str
    pair: str
    metrics: Mapping[str, Mapping[str, Any]]
    rows: Callable[[], Iterator[SampleScores]]
    scoring: Mapping[str, Any] = field(default_factory=dict)
    saved: bool = False
    """Whether it is a saved baseline; otherwise it is of a run."""

    @property
    def remedy(self) -> str:
        """What mends a side that others cannot be compared with."""
        return f"save it again: evalrun baseline save {self.name} --force" if self.saved else "evaluate it again"


def finite(value: Any) -> float | None:
    """A number; None for whatever else somebody wrote there."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def two_ends(said: Any) -> tuple[float, float] | None:
    """Both ends of an interval; None for whatever else somebody wrote there."""
    ends = [finite(end) for end in said] if isinstance(said, list | tuple) and len(said) == 2 else [None, None]
    low, high = ends
    return None if low is None or high is None else (low, high)


def bounds_in(metric: Mapping[str, Any]) -> tuple[float, float] | None:
    """What a metric's scores are declared to keep; None where they are not, or somebody wrote something else there."""
    bounds = two_ends(metric.get("bounds"))
    return bounds if bounds is not None and bounds[0] < bounds[1] else None
