"""Means of values in clusters: Student's t over cluster sums, and the wild cluster bootstrap.

``clusters`` numbers the cluster of each value from 0, without gaps. Clusters may be of different sizes: the mean is
that of all values. Not all of their sums may be the same. Both methods are approximate: they err more often where
losses are rare and large. Where clusters are few and unequal the bootstrap errs less often than t.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_evalrun.stats.estimate import IntervalEstimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_FOR_BOOTSTRAP = 20
LEAST_CLUSTERS = 6
DRAWS = 10_000
# All draws there are of 6 clusters, half of which are the other half with their signs turned.
ALL_DRAWS = 6**6
SEED = 20_000
# So many standard errors off, an interval has no end.
FARTHEST = 1_000


def student_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's t."""
    if not 0 < share < 1:
        raise ValueError(f"a quantile is of a share within 0 and 1, not of {share}")
    if share == 0.5:
        return 0.0
    if share > 0.5:
        return -student_quantile(1 - share, freedom)
    left, right = -1.0, 0.0
    while student_tail(left, freedom) > share:
        left, right = 2 * left, left
    while (middle := (left + right) / 2) not in (left, right):
        left, right = (left, middle) if student_tail(middle, freedom) > share else (middle, right)
    return middle


def student_tail(value: float, freedom: float) -> float:
    """The chance that Student's t is at most ``value``."""
    if freedom <= 0:
        raise ValueError(f"degrees of freedom are above 0, not {freedom}")
    if math.isinf(value):
        return float(value > 0)
    square, half = value * value, freedom / 2
    # Two tails together are the regularised incomplete beta function of freedom / (freedom + square) and its rest.
    x, rest = freedom / (freedom + square), square / (freedom + square)
    scale = math.exp(_beta_scale(half) - half * math.log1p(square / freedom)) * math.sqrt(rest)
    if x > (half + 1) / (half + 2.5):
        beyond = 1 - 2 * scale * _beta_fraction(rest, 0.5, half)
    else:
        beyond = scale * _beta_fraction(x, half, 0.5) / half
    return beyond / 2 if value < 0 else 1 - beyond / 2


def _beta_scale(a: float) -> float:
    """The logarithm of 1 / B(a, 1/2); of a large one by its series, for a difference of large numbers is not exact."""
    if a < 100:
        return math.lgamma(a + 0.5) - math.lgamma(a) - math.log(math.pi) / 2
    return (math.log(a) - math.log(math.pi)) / 2 - 1 / (8 * a) + 1 / (192 * a**3)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Its continued fraction (Abramowitz and Stegun 26.5.8) by the method of Lentz."""
    tiny = 1e-300
    ratio, below = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    found = below
    for step in range(1, 10_000):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for part in (even, odd):
            below = 1 / ((1 + part * below) or tiny)
            ratio = (1 + part / ratio) or tiny
            found *= ratio * below
        if abs(ratio * below - 1) < 1e-15:
            break
    return found


def t_mean(values: NDArray[np.float64], confidence: float = 0.95) -> IntervalEstimate:
    """The mean of independent values by Student's t: approximate. At least two values, not all alike."""
    n = len(values)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)
    return _by_t(mean, error, n, n - 1, "Student's t (approximate)", confidence)


def clustered_t(values: NDArray[np.float64], clusters: NDArray[np.intp], confidence: float = 0.95) -> IntervalEstimate:
    """The mean of values in clusters, by the sums of their residuals; C - 1 degrees of freedom.

    Source: Liang and Zeger 1986, with the correction C / (C - 1): what Inspect and statsmodels reckon.
    """
    sums = residual_sums(values, clusters)
    count = len(sums)
    error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(values)
    method = f"clustered t, {count} clusters"
    return _by_t(float(values.mean()), error, len(values), count - 1, method, confidence, count)


def residual_sums(values: NDArray[np.float64], clusters: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of each cluster the sum of what its values are off their common mean."""
    return np.bincount(clusters, values - values.mean()).astype(np.float64)


def _by_t(
    mean: float, error: float, n: int, freedom: int, method: str, confidence: float, clusters: int | None = None
) -> IntervalEstimate:
    half = student_quantile((1 + confidence) / 2, freedom) * error
    p = student_tail(mean / error, freedom)
    return IntervalEstimate(mean, mean - half, mean + half, n, method, True, p, confidence, clusters)


def wild_bootstrap(
    values: NDArray[np.float64], clusters: NDArray[np.intp], confidence: float = 0.95
) -> IntervalEstimate:
    """The same for few clusters: signs by Webb's six weights, the null imposed, the test inverted for the interval.

    The weights of a draw and their opposites give the same t with the other sign, so that one half is drawn and tails
    are halves of what is beyond on both sides. Sources: Cameron, Gelbach and Miller 2008; Webb 2014; MacKinnon 2023.
    """
    test = WildClusterTest(values, clusters)
    low, high = (test.end(side, 1 - confidence) for side in (-1, 1))
    beyond = test.share_beyond(0.0) / 2
    p = beyond if test.mean < 0 else 1 - beyond
    method = f"wild cluster bootstrap, {test.count} clusters"
    return IntervalEstimate(test.mean, low, high, len(values), method, True, p, confidence, test.count)


class WildClusterTest:
    """Whether values in clusters may have a mean: their t against that of residuals from it, weighed at random."""

    def __init__(self, values: NDArray[np.float64], clusters: NDArray[np.intp]) -> None:
        self.mean = float(values.mean())
        self.count = int(clusters.max()) + 1
        self._n = len(values)
        self._sizes = np.bincount(clusters).astype(np.float64)
        self._sums = residual_sums(values, clusters)
        self._weights = _webb_weights(self.count)
        self._squares = self._weights**2
        self._all = 2 * len(self._weights) == ALL_DRAWS

    def share_beyond(self, mean: float) -> float:
        """The share of draws with a t as far from 0 as that of the values, if their true mean were ``mean``."""
        residuals = self._sums + self._sizes * (self.mean - mean)
        shifts = self._weights @ residuals / self._n
        errors = self._squares @ residuals**2 - 2 * shifts * (self._weights @ (residuals * self._sizes))
        errors += shifts**2 * (self._sizes**2).sum()
        # t without its constants, squared, and not divided: where all weights are alike there is no error.
        beyond = shifts**2 * (self._sums**2).sum() >= (self.mean - mean) ** 2 * errors * (1 - 1e-9)
        return float(beyond.mean()) if self._all else float(1 + beyond.sum()) / (1 + len(beyond))

    def end(self, side: int, level: float) -> float:
        """The end of the interval on a side: where the share beyond falls below the level, on the outer side.

        Infinite where it never does: of few clusters there are not draws enough for any level.
        """
        first = math.sqrt(float((self._sums**2).sum())) / self._n
        inner, step = 0.0, first
        while self.share_beyond(self.mean + side * (inner + step)) >= level:
            inner, step = inner + step, 2 * step
            if inner > FARTHEST * first:
                return side * math.inf
        outer = inner + step
        for _ in range(40):
            middle = (inner + outer) / 2
            if self.share_beyond(self.mean + side * middle) >= level:
                inner = middle
            else:
                outer = middle
        return self.mean + side * outer


def _webb_weights(clusters: int) -> NDArray[np.float64]:
    """A row a draw, none of them another with all signs turned: all that there are, or so many by a fixed seed."""
    weights = np.sqrt([0.5, 1.0, 1.5, 0.5, 1.0, 1.5]) * [1, 1, 1, -1, -1, -1]
    if 6**clusters == ALL_DRAWS:
        # The first weight positive: half of all.
        shape = 3, *[6] * (clusters - 1)
        rows = np.stack(np.unravel_index(np.arange(math.prod(shape)), shape), axis=1)
    else:
        rows = np.random.default_rng(SEED).integers(0, 6, (DRAWS, clusters))
    return np.asarray(weights[rows])
