"""The betting interval of a bounded mean (Waudby-Smith and Ramdas 2024, JRSS B 86, 1-27): valid at every n.

Somebody bets on each value in turn that it will be above a supposed mean; the stake is known before the value is. If
the true mean is no greater, no strategy makes money: that the capital ends at k or more has a chance of at most 1 / k
(Markov). The low end is where the one who bets reaches ``2 / (1 - confidence)``; the high end is the other side's.

Any strategy is valid; a good one gives a narrow interval. Ours wants a little more than what is needed, and no more:
its stakes hedge a bet on the last sum, by the capital and the rounds that are left, as Voracek and Orabona recompute
their target (2025, arXiv:2505.22422). Of many values it is 1.15 x the normal interval; with the paper's stakes, 1.4 x.
Capitals are averaged over orders of the values that are drawn with a fixed seed (means of e-values are e-values: Vovk
and Wang 2021, Annals of Statistics 49, 1736-1754), so that it does not matter what a dataset is sorted by.

The authors' library, ``confseq``, needs a C++ compiler, Boost, scipy, pandas and matplotlib, and has other stakes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

SEED = 20_000
ORDERS = 20
# Of large datasets fewer orders, which agree anyway: orders x values.
MOST_CELLS = 1_000_000
# The stake is the same within a block of values: so many blocks, or as many as there are values.
BLOCKS = 64
# No stake is above this share of what can be lost without ruin.
BOLDEST = 0.9
# Who has all that was wanted goes on with a small stake, so that what is far off is rejected beyond doubt.
LEAST_STAKE = 0.5
# Means are looked at that are 1, 1/4, 1/16 .. as far from that of the values as a bound is, then between two of them.
GRID = 10
HALVINGS = 14


@dataclass(frozen=True)
class Aim:
    """The capital that is wanted, and how soon in the last rounds one is content with less: its softness."""

    capital: float
    softness: float


# A p-value may have to be small, where many are looked at.
AIM_OF_TAIL = Aim(2_000, 0.5)


def betting_interval(
    values: NDArray[np.float64], low: float, high: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The two-sided interval of the mean of values within ``[low, high]``; the same each time.

    Around the mean, and never of no width.
    """
    goal = 2 / (1 - confidence)
    bets, span = Bets(_shares(values, low, high)), high - low
    ends = low + span * _low_end(bets, goal), high - span * _low_end(bets.turned(), goal)
    # Where neither side finds any mean too far off in its direction nothing is known.
    return ends if ends[0] < ends[1] else (low, high)


def betting_tail(values: NDArray[np.float64], low: float, high: float, mean: float = 0.0) -> float:
    """The one-sided p-value of "the true mean is at least ``mean``": small where it is less.

    Its stakes aim higher than those of the interval, so that the two need not agree to the last digit.
    """
    below = (high - mean) / (high - low)
    bets = Bets(_shares(values, low, high)).turned()
    return 1.0 if below >= 1 else math.exp(-max(0.0, bets.won(max(0.0, below), AIM_OF_TAIL)))


def aim_of(goal: float) -> Aim:
    """What to want where ``goal`` is needed: the narrowest intervals in simulations of skewed and flat values."""
    return Aim(1.5 * goal, 0.1)


class Bets:
    """All that is known before a mean is supposed: shares of the way between the bounds, in several orders."""

    def __init__(self, shares: Numbers) -> None:
        n = len(shares)
        rng = np.random.default_rng(SEED)
        count = 1 if np.ptp(shares) == 0 else max(2, min(ORDERS, MOST_CELLS // n))
        self._rows = np.stack([rng.permutation(shares) for _ in range(count)])
        self._edges = np.linspace(0, n, min(n, BLOCKS) + 1).round().astype(int)
        self._spreads = _spreads(self._rows, self._edges[:-1])
        self.mean = float(shares.mean())

    def turned(self) -> Bets:
        """The same seen from the other bound."""
        other = object.__new__(Bets)
        other._rows, other._edges, other._spreads = 1 - self._rows, self._edges, self._spreads
        other.mean = 1 - self.mean
        return other

    def won(self, mean: float, aim: Aim) -> float:
        """The logarithm of the capital of who bets that shares are above ``mean``."""
        return float(self.all_won(np.asarray([mean]), aim)[0])

    def all_won(self, means: Numbers, aim: Aim) -> Numbers:
        """The same for each of several means."""
        count, n = self._rows.shape
        supposed = means[:, None, None]
        boldest = np.divide(BOLDEST, supposed, out=np.full_like(supposed, np.inf), where=supposed > 0)
        capital = np.zeros((len(means), count, 1))
        for block, (start, end) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
            left = math.sqrt(aim.softness**2 + 1 - start / n)
            stakes = np.maximum(_hedge(capital - math.log(aim.capital)) / left, LEAST_STAKE)
            stakes /= self._spreads[:, block, None] * math.sqrt(n)
            gains = np.log1p(np.minimum(stakes, boldest) * (self._rows[:, start:end] - supposed))
            capital += gains.sum(axis=2, keepdims=True)
        most = capital.max(axis=1)
        return np.asarray((most + np.log(np.exp(capital - most[:, None]).mean(axis=1)))[:, 0])


def _shares(values: Numbers, low: float, high: float) -> Numbers:
    """Values as shares of the way from low to high."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds must be finite and the first less than the second, not [{low}, {high}]")
    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if not shares.size:
        raise ValueError("no values to bet on")
    # Sums of floats may be beyond by their rounding.
    if not (shares.min() >= -1e-9 and shares.max() <= 1 + 1e-9):
        raise ValueError(f"a value is not within the bounds [{low}, {high}]")
    return shares.clip(0, 1)


def _spreads(rows: Numbers, starts: NDArray[np.intp]) -> Numbers:
    """The standard deviation of all before each block, as if one more had been seen with the greatest there is."""
    counts = np.arange(2, rows.shape[1] + 2)
    means = (0.5 + np.cumsum(rows, axis=1)) / counts
    variances = (0.25 + np.cumsum((rows - means) ** 2, axis=1)) / counts
    return np.where(starts > 0, np.sqrt(variances[:, np.maximum(starts - 1, 0)]), 0.5)


def _hedge(lacking: Numbers) -> Numbers:
    """The stake, in standard deviations of what is left, of whose capital is exp(``lacking``) of what is wanted.

    If the capital is what a bet on the last sum is worth, the normal share of some quantile, its stake is the density
    there over the share.
    """
    return np.interp(lacking, *_hedges())


@lru_cache(maxsize=1)
def _hedges() -> tuple[Numbers, Numbers]:
    quantiles = np.linspace(-8, 6, 281)
    shares = np.asarray([math.erfc(-quantile / math.sqrt(2)) / 2 for quantile in quantiles])
    return np.log(shares), np.exp(-(quantiles**2) / 2) / math.sqrt(2 * math.pi) / shares


def _low_end(bets: Bets, goal: float) -> float:
    """The least mean at which the bet above does not reach its goal, on the outer side by less than 1 in 1,000.

    The capital falls in the supposed mean but for trifles; of several ends the outermost on a grid is taken.
    """
    aim, wanted = aim_of(goal), math.log(goal)
    grid = bets.mean * (1 - np.append(0.25 ** np.arange(GRID), 0))
    short = bets.all_won(grid, aim) < wanted
    if short[0] or not short.any():
        return 0.0 if short[0] else bets.mean
    first = int(np.argmax(short))
    left, right = float(grid[first - 1]), float(grid[first])
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        left, right = (left, middle) if bets.won(middle, aim) < wanted else (middle, right)
    return left
