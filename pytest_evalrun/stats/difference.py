"""One door to the methods: which one fits what is compared, and when none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.stats.estimate import IntervalEstimate  # noqa: TC001

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class NoEstimateError(Exception):
    """Nothing can be said, and why: the words of an INCONCLUSIVE."""


@dataclass(frozen=True)
class PairedScores:
    """Scores of the same samples before and after, more is better; ``bounds`` are those that a score is declared to
    keep, None of a metric without. ``clusters`` numbers the cluster of each sample from 0, None where there are none.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    bounds: tuple[float, float] | None = None
    clusters: NDArray[np.intp] | None = None


def mean_difference(scores: PairedScores, confidence: float = 0.95, keep: float = 1.0) -> IntervalEstimate:
    """IntervalEstimate ``mean(after) - keep x mean(before)``; ``keep`` is 1 but for relative margins, 0.95 for 5 %.

    0/1 scores: Tango. Bounded ones: betting. Others: Student's t, approximate. In clusters: t above 20 of them, the
    wild bootstrap from 6 on. Where no unit differs the interval is that of 0/1 units or bounded ones, never of no
    width. Raises NoEstimateError: fewer than 2 samples, fewer than 6 clusters, unbounded scores without any difference.
    """
    raise NotImplementedError


def mean_interval(
    scores: NDArray[np.float64],
    bounds: tuple[float, float] | None,
    clusters: NDArray[np.intp] | None = None,
    confidence: float = 0.95,
) -> IntervalEstimate:
    """The interval of one mean, for gates on a value: Wilson's of 0/1 scores, betting of bounded ones, t of others."""
    raise NotImplementedError
