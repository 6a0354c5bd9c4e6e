"""One door to the methods: which one fits what is compared, and when none does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_evalrun.stats.betting import betting_interval, betting_tail
from pytest_evalrun.stats.clustered import (
    LEAST_CLUSTERS,
    MOST_FOR_BOOTSTRAP,
    clustered_t,
    residual_sums,
    t_mean,
    wild_bootstrap,
)
from pytest_evalrun.stats.estimate import IntervalEstimate
from pytest_evalrun.stats.proportions import clustered_wilson, wilson
from pytest_evalrun.stats.tango import tango_interval, tango_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

BETTING = "betting interval"
TANGO = "Tango's score interval (N−1)"
WILSON = "Wilson's score interval"
# Squares of what is larger, or smaller than its inverse, are not numbers any more.
LARGEST = 1e100
# Differences by less than this share of the scores' size are rounding.
ROUNDING = 1e-12


class NoEstimateError(Exception):
    """Nothing can be said, and why: the words of an INCONCLUSIVE."""


class AlikeError(NoEstimateError):
    """No unit differs from another, and no bounds tell what one that was not seen could do: ``value`` is all there is.

    Who knows what a unit could cost at most asks :func:`alike_within`.
    """

    def __init__(self, why: str, value: float, n: int, clusters: int | None = None) -> None:
        super().__init__(why)
        self.value, self.n, self.clusters = value, n, clusters


def alike_within(alike: AlikeError, worst: float, confidence: float = 0.95) -> IntervalEstimate | None:
    """The interval of units that are all alike, if none that was not seen is off by more than ``worst``; else None.

    Such units are rarer than 1 - (alpha / 2) ^ (1 / units), or one would have been seen. Approximate, for as a rule
    ``worst`` is what was seen of scores so far.
    """
    if not 0 < worst < math.inf:
        return None
    units = alike.clusters or alike.n
    half = worst * -math.expm1(math.log((1 - confidence) / 2) / units)
    value, method = alike.value, "nothing differs (approximate)"
    # Where all lost as much, so many gains of the worst as would make up for it would all have to be unseen.
    p = 1.0 if value >= 0 else (worst / (worst - value)) ** units
    return IntervalEstimate(value, value - half, value + half, alike.n, method, True, p, confidence, alike.clusters)


@dataclass(frozen=True)
class PairedScores:
    """Scores of the same samples before and after, more is better; ``bounds`` are those that a score is declared to
    keep, None of a metric without. ``clusters`` numbers the cluster of each sample from 0, None where there are none.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    bounds: tuple[float, float] | None = None
    clusters: NDArray[np.intp] | None = None


@np.errstate(over="ignore", invalid="ignore")
def mean_difference(scores: PairedScores, confidence: float = 0.95, keep: float = 1.0) -> IntervalEstimate:
    """Estimate ``mean(after) - keep x mean(before)``; ``keep`` is 1 but for relative margins, 0.95 for 5 %.

    0/1 scores: Tango. Bounded ones: betting. Others: Student's t, approximate. In clusters: t above 20 of them, the
    wild bootstrap from 6 on. Where no unit differs the interval is that of 0/1 units or bounded ones, never of no
    width. Raises NoEstimateError: fewer than 2 samples, fewer than 6 clusters; AlikeError: unbounded scores without any
    difference.
    ``p_worse`` is of ``after - before`` whatever ``keep`` is.
    """
    _check(scores, keep)
    found = _difference(scores, confidence, keep)
    if keep == 1:
        return found
    try:
        return replace(found, p_worse=_difference(scores, confidence, 1.0).p_worse)
    except NoEstimateError:
        return replace(found, p_worse=1.0)


@np.errstate(over="ignore", invalid="ignore")
def mean_interval(
    scores: NDArray[np.float64],
    bounds: tuple[float, float] | None,
    clusters: NDArray[np.intp] | None = None,
    confidence: float = 0.95,
) -> IntervalEstimate:
    """The interval of one mean, for gates on a value: Wilson's of 0/1 scores, betting of bounded ones, t of others."""
    _check_scores("scores", scores, bounds)
    n, (clusters, count) = len(scores), _numbered(clusters, len(scores))
    _check_units(n, count)
    ends = _ends_of_binary(scores, bounds)
    if ends is None or (count is not None and count <= MOST_FOR_BOOTSTRAP):
        return replace(_mean(scores, bounds or ends, clusters, confidence, "scores"), p_worse=1.0)
    shares = (scores - ends[0]) / (ends[1] - ends[0])
    if clusters is None:
        low, high = wilson(round(float(shares.sum())), n, confidence)
    else:
        low, high = clustered_wilson(shares, clusters, confidence)
    scale = ends[1] - ends[0]
    low, high = ends[0] + scale * low, ends[0] + scale * high
    return IntervalEstimate(float(scores.mean()), low, high, n, WILSON, confidence=confidence, clusters=count)


def _difference(scores: PairedScores, confidence: float, keep: float) -> IntervalEstimate:
    before, after = scores.before, scores.after
    clusters, count = _numbered(scores.clusters, len(before))
    _check_units(len(before), count)
    ends = _ends_of_binary(np.concatenate([before, after]), scores.bounds) if keep == 1 else None
    if ends is not None and (count is None or np.array_equal(before, after)):
        estimate = _tango(before, after, confidence, count)
        return _scaled(estimate, ends[1] - ends[0])
    bounds = scores.bounds or _ends_of_binary(np.concatenate([before, after]), None)
    if bounds is not None:
        bounds = bounds[0] - keep * bounds[1], bounds[1] - keep * bounds[0]
    differences = after - keep * before
    size = max(float(np.abs(before).max()), float(np.abs(after).max()))
    # Rounding is no difference: 0.3 - 0.1 is not 0.2.
    if np.ptp(differences) <= ROUNDING * size:
        differences = np.full(len(before), differences.mean() if abs(differences.mean()) > ROUNDING * size else 0.0)
    return _mean(differences, bounds, clusters, confidence, "differences")


def _tango(
    before: NDArray[np.float64], after: NDArray[np.float64], confidence: float, clusters: int | None
) -> IntervalEstimate:
    """Of 0/1 scores; where nothing flipped in clusters, of as many samples as there are clusters."""
    n = len(before) if clusters is None else clusters
    lost, won = int((after < before).sum()), int((after > before).sum())
    low, high = tango_interval(n, lost, won, confidence)
    p = tango_tail(n, lost, won)
    return IntervalEstimate((won - lost) / n, low, high, len(before), TANGO, False, p, confidence, clusters)


def _scaled(found: IntervalEstimate, scale: float) -> IntervalEstimate:
    return replace(found, value=found.value * scale, low=found.low * scale, high=found.high * scale)


def _mean(
    values: NDArray[np.float64],
    bounds: tuple[float, float] | None,
    clusters: NDArray[np.intp] | None,
    confidence: float,
    what: str,
) -> IntervalEstimate:
    """The mean of values that may be of any kind, by what is known of their bounds and clusters."""
    if clusters is None and bounds is not None:
        return _betting(values, bounds, confidence)
    size = float(np.abs(values).max())
    if size and not 1 / LARGEST < size < LARGEST:
        raise NoEstimateError(f"{what} as large as {size:g} cannot be reckoned with")
    if clusters is not None:
        return _clustered_mean(values, bounds, clusters, confidence, what)
    if np.ptp(values) == 0:
        told = f"all {len(values):,} {what} are {values[0]:g}, and the metric declares no bounds"
        raise AlikeError(told, float(values[0]), len(values))
    return t_mean(values, confidence)


def _clustered_mean(
    values: NDArray[np.float64],
    bounds: tuple[float, float] | None,
    clusters: NDArray[np.intp],
    confidence: float,
    what: str,
) -> IntervalEstimate:
    sums = residual_sums(values, clusters)
    count = len(sums)
    if np.abs(sums).max() > ROUNDING * len(values) * np.abs(values).max():
        found = (clustered_t if count > MOST_FOR_BOOTSTRAP else wild_bootstrap)(values, clusters, confidence)
        low, high = bounds or (found.low, found.high)
        if math.isinf(high - low):
            raise NoEstimateError(f"{count} clusters are too few for a confidence of {confidence:g}")
        return replace(found, low=max(found.low, low), high=min(found.high, high))
    if bounds is None:
        told = f"the {what} of all {count} clusters are alike, and the metric declares no bounds"
        raise AlikeError(told, float(values.mean()), len(values), count)
    # As many units as there are clusters, all alike: what is not seen in any of them may still be in the next.
    alike = _betting(np.full(count, values.mean()), bounds, confidence)
    return replace(alike, n=len(values), clusters=count)


def _betting(values: NDArray[np.float64], bounds: tuple[float, float], confidence: float) -> IntervalEstimate:
    value = float(values.mean())
    low, high = betting_interval(values, *bounds, confidence)
    p = betting_tail(values, *bounds)
    n = len(values)
    return IntervalEstimate(value, min(low, value), max(high, value), n, BETTING, False, p, confidence)


def _ends_of_binary(scores: NDArray[np.float64], bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """The two values that all scores have: their bounds, or 0 and 1 (or -1 and 0) of scores without."""
    for ends in [bounds] if bounds is not None else [(0.0, 1.0), (-1.0, 0.0)]:
        if bool(((scores == ends[0]) | (scores == ends[1])).all()):
            return ends
    return None


def _numbered(clusters: NDArray[np.intp] | None, n: int) -> tuple[NDArray[np.intp] | None, int | None]:
    """The clusters numbered without gaps, and how many; None where no cluster has two samples: they are samples."""
    if clusters is None:
        return None, None
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} numbers of clusters for {n} scores")
    names, places = np.unique(clusters, return_inverse=True)
    return (places, len(names)) if len(names) < n else (None, None)


def _check(scores: PairedScores, keep: float) -> None:
    if len(scores.before) != len(scores.after):
        raise ValueError(f"{len(scores.before)} scores before and {len(scores.after)} after")
    if not 0 < keep < np.inf:
        raise ValueError(f"keep must be above 0, not {keep}")
    _check_scores("before", scores.before, scores.bounds)
    _check_scores("after", scores.after, scores.bounds)


def _check_scores(name: str, scores: NDArray[np.float64], bounds: tuple[float, float] | None) -> None:
    bad = ~np.isfinite(scores)
    if bad.any():
        place = int(bad.argmax())
        raise ValueError(f"{name}[{place}] is {scores[place]}: scores must be finite numbers")
    if bounds is not None:
        # Means of generations may be beyond by their rounding.
        slack = 1e-9 * (bounds[1] - bounds[0])
        bad = (scores < bounds[0] - slack) | (scores > bounds[1] + slack)
        if bad.any():
            place = int(bad.argmax())
            raise ValueError(
                f"{name}[{place}] is {scores[place]}: not within the bounds {bounds[0]:g} to {bounds[1]:g}"
            )


def _check_units(n: int, clusters: int | None) -> None:
    if n < 2:
        raise NoEstimateError(f"{n} sample{'s' * (n != 1)}; 2 are needed")
    if clusters is not None and clusters < LEAST_CLUSTERS:
        raise NoEstimateError(f"{clusters} cluster{'s' * (clusters != 1)}; {LEAST_CLUSTERS} are needed")
