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
MOST_CELLS = 400_000
# The stake is the same within a block of values: so many blocks, or as many as there are values.
BLOCKS = 40
# No stake is above this share of what can be lost without ruin.
BOLDEST = 0.9
# Who has all that was wanted goes on with a small stake, so that what is far off is rejected beyond doubt.
LEAST_STAKE = 0.5
ABOVE, BELOW = 1.0, -1.0
# Means are looked at that are 1, 1/4, 1/16 .. as far from that of the values as the bound is, then so many between two
# of them, in so many rounds: of many values a mean takes long, of few ones a round.
GRID = 0.25 ** np.arange(10)
MANY = 2_000
POINTS_AND_ROUNDS, THOSE_OF_MANY = (12, 3), (3, 6)


@dataclass(frozen=True)
class Aim:
    """The capital that is wanted, and how soon in the last rounds one is content with less: its softness."""

    capital: float
    softness: float


# A p-value may have to be small, where many are looked at.
AIM_OF_TAIL = Aim(2_000, 0.5)


def aim_of(goal: float) -> Aim:
    """What to want where ``goal`` is needed: the narrowest intervals in simulations of skewed and flat values."""
    return Aim(1.5 * goal, 0.1)


def betting_interval(
    values: NDArray[np.float64], low: float, high: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The two-sided interval of the mean of values within ``[low, high]``; the same each time.

    Around the mean, and never of no width. Its ends are less than 1 in 500 of their distance further out.
    """
    bets, span, goal = Bets(_shares(values, low, high)), high - low, 2 / (1 - confidence)
    below, above = _reach(bets, goal)
    # A bound is given as it was, not as it comes out of shares of the way.
    return (
        low if below == bets.mean else low + span * (bets.mean - below),
        high if above == 1 - bets.mean else low + span * (bets.mean + above),
    )


def betting_tail(values: NDArray[np.float64], low: float, high: float, mean: float = 0.0) -> float:
    """The one-sided p-value of "the true mean is at least ``mean``": small where it is less.

    Its stakes aim higher than those of the interval, so that the two need not agree to the last digit.
    """
    bets = Bets(_shares(values, low, high))
    share = min(1.0, (mean - low) / (high - low))
    return 1.0 if share <= 0 else math.exp(-max(0.0, bets.won(share, BELOW, AIM_OF_TAIL)))


class Bets:
    """All that is known before a mean is supposed: shares of the way between the bounds, in several orders."""

    def __init__(self, shares: Numbers) -> None:
        n = len(shares)
        rng = np.random.default_rng(SEED)
        count = 1 if np.ptp(shares) == 0 else max(2, min(ORDERS, MOST_CELLS // n))
        self.mean = min(float(shares.mean()), 1.0)
        self.n = n
        self._rows = np.stack([rng.permutation(shares) for _ in range(count)])
        self._edges = np.linspace(0, n, min(n, BLOCKS) + 1).round().astype(int)
        self._spreads = _spreads(self._rows, self._edges[:-1])

    def won(self, mean: float, side: float, aim: Aim) -> float:
        """The logarithm of the capital of who bets that shares are ABOVE ``mean``, or BELOW it."""
        return float(self.all_won(np.asarray([mean]), np.asarray([side]), aim)[0])

    def all_won(self, means: Numbers, sides: Numbers, aim: Aim) -> Numbers:
        """The same for several means, each with the side that is bet on."""
        count, n = len(self._rows), self.n
        supposed, signs = means[:, None, None], sides[:, None, None]
        lost = np.where(signs > 0, supposed, 1 - supposed)
        boldest = np.divide(BOLDEST, lost, out=np.full_like(lost, np.inf), where=lost > 0)
        capital = np.zeros((len(means), count, 1))
        for block, (start, end) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
            left = math.sqrt(aim.softness**2 + 1 - start / n)
            stakes = np.maximum(_hedge(capital - math.log(aim.capital)), LEAST_STAKE * left)
            stakes = np.minimum(stakes / (left * math.sqrt(n) * self._spreads[:, block, None]), boldest)
            gains = np.log1p(signs * stakes * (self._rows[:, start:end] - supposed))
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


def _reach(bets: Bets, goal: float) -> tuple[float, float]:
    """How far the interval reaches below the mean and above it: to where the other side's bet just reaches its goal.

    The further off a mean, the more is won, but for trifles; of several ends the outermost on the grid is taken.
    """
    aim, wanted = aim_of(goal), math.log(goal)
    sides = np.asarray([[ABOVE], [BELOW]])

    def narrowed(distances: Numbers) -> tuple[Numbers, Numbers]:
        """Of distances a side, the furthest first: the last before the first at which less is won, and that one."""
        means = bets.mean - sides * distances
        won = bets.all_won(means.ravel(), np.broadcast_to(sides, means.shape).ravel(), aim)
        short = won.reshape(means.shape) < wanted
        short[:, -1] = True
        first = short.argmax(axis=1)
        rows = np.arange(2)
        return distances[rows, np.maximum(first - 1, 0)], distances[rows, first]

    most = np.asarray([[bets.mean], [1 - bets.mean]])
    far, near = narrowed(most * np.append(GRID, 0))
    points, rounds = THOSE_OF_MANY if bets.n > MANY else POINTS_AND_ROUNDS
    for _ in range(rounds):
        far, near = narrowed(np.linspace(far, near, points + 2, axis=1))
    return float(far[0]), float(far[1])
