"""The paired bootstrap of values that are no means: of a corpus, by the statistic of each sample.

The percentile interval, its deviations from the value widened as Student's t is wider than the normal: few units vary
less in their draws than they would in truth. In simulations of F1 and of a ratio of sums it errs about as often as
basic and normal intervals below 100 samples (too often, all of them: what has not been seen is not drawn) and less
often from there on, where a worse candidate would pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_evalrun.stats.clustered import LEAST_CLUSTERS, student_quantile
from pytest_evalrun.stats.difference import AlikeError, NoEstimateError
from pytest_evalrun.stats.estimate import IntervalEstimate
from pytest_evalrun.stats.proportions import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

# How often each unit was drawn, draws x n -> the value of each draw; NaN where it is not defined.
ValueOfDraws: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float64]]

DRAWS = 2_000
MOST_DRAWN = 10_000  # units a draw: of more, so many are drawn, and what a draw is off is scaled (m out of n)
CHUNK_CELLS = 1_000_000  # counted at once: 8 MB an array
SEED = 20_000


def paired_bootstrap(
    n: int,
    before: ValueOfDraws,
    after: ValueOfDraws,
    clusters: NDArray[np.intp] | None = None,
    confidence: float = 0.95,
    keep: float = 1.0,
) -> IntervalEstimate:
    """The same units are drawn on both sides; approximate. The same each time.

    ``p_worse`` is of ``after - before`` whatever ``keep`` is. Raises NoEstimateError: fewer than 2 samples or 6
    clusters, a value that is not defined for all samples or for most draws; AlikeError: draws that are all the same.
    """
    places, units = _units(n, clusters)
    whole = np.ones((1, n), dtype=np.int64)
    first, second = float(before(whole)[0]), float(after(whole)[0])
    if not (math.isfinite(first) and math.isfinite(second)):
        raise NoEstimateError(f"the value is not defined {'after' if math.isfinite(first) else 'before'}")
    drawn = [(before(counts), after(counts)) for counts in _counts(units, places)]
    sides = np.concatenate([np.stack(pair) for pair in drawn], axis=1)
    sides = sides[:, np.isfinite(sides).all(axis=0)]
    if sides.shape[1] < DRAWS / 2:
        raise NoEstimateError(f"the value is not defined in {DRAWS - sides.shape[1]:,} of {DRAWS:,} draws")
    scale = _widened(units, confidence) * math.sqrt(min(1.0, MOST_DRAWN / units))
    value = second - keep * first
    ends = np.percentile(sides[1] - keep * sides[0], (50 * (1 - confidence), 50 * (1 + confidence)))
    low, high = (value + scale * (float(end) - value) for end in ends)
    if not low < high:
        what = "samples" if places is None else "clusters"
        told = f"{DRAWS:,} draws of {units:,} {what} are all alike"
        raise AlikeError(told, value, n, None if places is None else units)
    changes = second - first + scale * (sides[1] - sides[0] - (second - first))
    return IntervalEstimate(
        value,
        min(low, value),
        max(high, value),
        n,
        "paired bootstrap (approximate)",
        approximate=True,
        p_worse=float(1 + (changes >= 0).sum()) / (1 + len(changes)),
        confidence=confidence,
        clusters=None if places is None else units,
    )


def _units(n: int, clusters: NDArray[np.intp] | None) -> tuple[NDArray[np.intp] | None, int]:
    """The cluster of each sample, None where samples are drawn; how many are to draw from."""
    if n < 2:
        raise NoEstimateError(f"{n} sample{'s' * (n != 1)}; 2 are needed")
    if clusters is None:
        return None, n
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} numbers of clusters for {n} samples")
    names, places = np.unique(clusters, return_inverse=True)
    if len(names) == n:
        return None, n
    if len(names) < LEAST_CLUSTERS:
        raise NoEstimateError(f"{len(names)} cluster{'s' * (len(names) != 1)}; {LEAST_CLUSTERS} are needed")
    return places, len(names)


def _counts(units: int, places: NDArray[np.intp] | None) -> Iterator[NDArray[np.int64]]:
    """How often each sample was drawn, some draws at once; those of a cluster as often as their cluster."""
    rng = np.random.default_rng(SEED)
    step = max(1, CHUNK_CELLS // (units if places is None else len(places)))
    for start in range(0, DRAWS, step):
        draws = min(step, DRAWS - start)
        rows = rng.integers(0, units, (draws, min(units, MOST_DRAWN))) + np.arange(draws)[:, None] * units
        counts = np.bincount(rows.ravel(), minlength=draws * units).reshape(draws, units).astype(np.int64, copy=False)
        yield counts if places is None else counts[:, places]


def _widened(units: int, confidence: float) -> float:
    share = (1 + confidence) / 2
    return student_quantile(share, units - 1) / normal_quantile(share) * math.sqrt(units / (units - 1))
