"""Means of values in clusters: Student's t over cluster sums, and the wild cluster bootstrap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_evalrun.stats.estimate import IntervalEstimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_FOR_BOOTSTRAP = 20
LEAST_CLUSTERS = 6


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
    square = value * value
    beyond = _beta_share(freedom / (freedom + square), square / (freedom + square), freedom / 2, 0.5) / 2
    return beyond if value < 0 else 1 - beyond


def _beta_share(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function of x, which is 1 - ``rest`` but for rounding."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    if x > (a + 1) / (a + b + 2):
        return 1 - math.exp(scale) * _beta_fraction(rest, b, a) / b
    return math.exp(scale) * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Its continued fraction by the method of Lentz (Abramowitz and Stegun 26.5.8)."""
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
    """The mean of values in clusters, by the sums of their residuals; C - 1 degrees of freedom."""
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
    """The same for few clusters: signs by Webb's six weights, the null imposed, the test inverted for the interval."""
    raise NotImplementedError
