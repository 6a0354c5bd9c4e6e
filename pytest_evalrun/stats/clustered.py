"""Means of values in clusters: Student's t over cluster sums, and the wild cluster bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.stats.estimate import IntervalEstimate  # noqa: TC001

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_FOR_BOOTSTRAP = 20
LEAST_CLUSTERS = 6


def student_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's t."""
    raise NotImplementedError


def student_tail(value: float, freedom: float) -> float:
    """The chance that Student's t is at most ``value``."""
    raise NotImplementedError


def t_mean(values: NDArray[np.float64], confidence: float = 0.95) -> IntervalEstimate:
    """The mean of independent values by Student's t: approximate."""
    raise NotImplementedError


def clustered_t(values: NDArray[np.float64], clusters: NDArray[np.intp], confidence: float = 0.95) -> IntervalEstimate:
    """The mean of values in clusters, by the sums of their residuals; C - 1 degrees of freedom."""
    raise NotImplementedError


def wild_bootstrap(
    values: NDArray[np.float64], clusters: NDArray[np.intp], confidence: float = 0.95
) -> IntervalEstimate:
    """The same for few clusters: signs by Webb's six weights, the null imposed, the test inverted for the interval."""
    raise NotImplementedError
