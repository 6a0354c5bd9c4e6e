"""The betting interval of a bounded mean (Waudby-Smith and Ramdas 2024, JRSS B 86, 1-27): valid at every n.

Somebody bets on each value in turn that it will be above a supposed mean, a stake known before the value is. If the
mean is no greater, no strategy makes money: that the capital ever grows to k has a chance of at most 1 / k (Ville).
The ends are the means at which a bet above, and one below, just do not reach ``2 / (1 - confidence)``: the paper's
hedged capital with predictable plug-in stakes. The capital falls in the supposed mean, as each stake does not rise in
it; so one root a side is all of the test's inversion.

Values are bet on in an order drawn with a fixed seed: those of a sorted dataset are exchangeable again. The authors'
library, ``confseq``, needs a C++ compiler, Boost, scipy, pandas and matplotlib: too much for one root a side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SEED = 20_000
# No stake is above this share of what can be lost without ruin. The paper has 1/2 and 3/4; where most values are alike,
# as differences of a model from a similar one are, more is won by more, and hardly anything lost elsewhere.
BOLDEST = 0.9
LEVEL = 0.05
STEPS = 100


def betting_interval(
    values: NDArray[np.float64], low: float, high: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The two-sided interval of the mean of values within ``[low, high]``; the same each time.

    Its ends are within 1e-9 of the width of the bounds, on the outer side. Around the mean, and never of no width.
    """
    shares, span = _shares(values, low, high), high - low
    goal = math.log(2 / (1 - confidence))
    stakes = _stakes(shares, goal)
    ends = low + span * _low_end(shares, stakes, goal), high - span * _low_end(1 - shares, stakes, goal)
    # Where both bets reach their goal at every mean the order drawn is an odd one, and nothing is known.
    return ends if ends[0] < ends[1] else (low, high)


def betting_tail(values: NDArray[np.float64], low: float, high: float, mean: float = 0.0) -> float:
    """The one-sided p-value of "the true mean is at least ``mean``": small where it is less.

    It is below 0.025 exactly where the interval of 95 % is below ``mean``.
    """
    shares = _shares(values, low, high)
    below = (high - mean) / (high - low)
    if below >= 1:
        return 1.0
    stakes = _stakes(shares, math.log(2 / LEVEL))
    return math.exp(-max(0.0, _best(1 - shares, stakes, max(0.0, below))))


def _shares(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Values as shares of the way from low to high, in the order of the bets."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds must be finite and the first less than the second, not [{low}, {high}]")
    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if not shares.size:
        raise ValueError("no values to bet on")
    # Sums of floats may be beyond by their rounding.
    if not (shares.min() >= -1e-9 and shares.max() <= 1 + 1e-9):
        raise ValueError(f"a value is not within the bounds [{low}, {high}]")
    return np.random.default_rng(SEED).permutation(shares.clip(0, 1))


def _stakes(shares: NDArray[np.float64], goal: float) -> NDArray[np.float64]:
    """What is staked on each share: by the variance of those before it, which starts as the greatest that there is.

    It is that of a fixed n: sqrt(2 goal / (n variance)). The same for a bet above as for one below.
    """
    n = len(shares)
    counts = np.arange(2, n + 2)
    means = (0.5 + np.cumsum(shares)) / counts
    variances = np.empty(n)
    variances[0] = 0.25
    variances[1:] = ((0.25 + np.cumsum((shares - means) ** 2)) / counts)[:-1]
    return np.asarray(np.sqrt(2 * goal / (n * variances)))


def _best(shares: NDArray[np.float64], stakes: NDArray[np.float64], mean: float) -> float:
    """The logarithm of the greatest capital on the way, of who bets that shares are above ``mean``."""
    kept = stakes if mean <= 0 else np.minimum(stakes, BOLDEST / mean)
    return float(np.cumsum(np.log1p(kept * (shares - mean))).max())


def _low_end(shares: NDArray[np.float64], stakes: NDArray[np.float64], goal: float) -> float:
    """The greatest mean at which the bet above reaches its goal, 0 where none does; never above the shares' own."""
    return _root(lambda mean: _best(shares, stakes, mean) - goal, float(shares.mean()))


def _root(falling: Callable[[float], float], right: float) -> float:
    """Where a falling function leaves what is not negative, between 0 and ``right``: by secants, bisected if slow."""
    left, of_left, of_right = 0.0, falling(0.0), falling(right)
    if of_left < 0:
        return left
    if of_right >= 0:
        return right
    for step in range(STEPS):
        if right - left <= 1e-9:
            break
        # A secant every other time: the function is steep on the left, and nearly flat on the right.
        share = of_left / (of_left - of_right) if step % 2 else 0.5
        middle = left + (right - left) * min(max(share, 0.001), 0.999)
        if (value := falling(middle)) >= 0:
            left, of_left = middle, value
        else:
            right, of_right = middle, value
    return left
