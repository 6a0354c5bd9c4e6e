"""Rules of the betting interval."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.stats.betting import BOLDEST, LEVEL, SEED, betting_interval, betting_tail

within = st.lists(st.floats(-1, 1), min_size=1, max_size=40).map(np.asarray)


def losses(rng, n):
    """Few samples lose, by much or little; of the others a few win a little: most are as before."""
    kind = rng.random(n)
    return np.where(kind < 0.08, -rng.beta(0.5, 0.5, n), np.where(kind < 0.15, 0.3 * rng.random(n), 0.0))


TRUE_LOSS = -0.08 * 0.5 + 0.07 * 0.15


@given(within)
def test_interval_holds_the_mean_and_has_a_width(values):
    """It lies within the bounds and around the mean, and is never a point, not even where all values are one bound."""
    low, high = betting_interval(values, -1, 1)
    assert -1 <= low <= values.mean() + 1e-12
    assert values.mean() - 1e-12 <= high <= 1
    assert low < high


@given(within)
def test_interval_turns_with_the_values(values):
    """What is better on one side is worse seen from the other: the interval of -x is that of x, turned."""
    low, high = betting_interval(values, -1, 1)
    assert betting_interval(-values, -1, 1) == pytest.approx((-high, -low), abs=1e-8)


@given(within, st.floats(0.01, 100), st.floats(-10, 10))
def test_interval_goes_along_with_scale_and_shift(values, scale, shift):
    """Per cent, or errors instead of hits, give the same interval in their unit."""
    low, high = betting_interval(values, -1, 1)
    moved = betting_interval(scale * values + shift, -scale + shift, scale + shift)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-7 * (scale + abs(shift)))


@given(within, st.floats(-1, 1))
def test_tail_and_interval_agree(values, mean):
    """The tail is below 0.025 where the interval of 95 % is below the mean, and nowhere else."""
    _, high = betting_interval(values, -1, 1)
    tail = betting_tail(values, -1, 1, mean)
    assert 0 < tail <= 1
    if abs(mean - high) > 1e-6:
        assert (tail < LEVEL / 2) == (mean > high)


def test_capital_is_that_of_the_paper():
    """The greatest product of 1 + stake x (value - mean), by the stakes of the paper, reckoned in a plain loop."""
    values = losses(np.random.default_rng(4), 60)
    shares = np.random.default_rng(SEED).permutation((values + 1) / 2)
    capital, most, seen = 1.0, 1.0, [0.5]
    squares = 0.25
    for share in shares:
        stake = math.sqrt(2 * math.log(2 / LEVEL) / (len(shares) * squares / len(seen)))
        capital *= 1 - min(stake, BOLDEST / (1 - 0.52)) * (share - 0.52)
        most = max(most, capital)
        seen.append(share)
        squares += (share - np.mean(seen)) ** 2
    assert betting_tail(values, -1, 1, 0.04) == pytest.approx(1 / most, rel=1e-9)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6])
def test_rate_holds_in_every_outcome_of_ten(share):
    """Over all 1,024 outcomes of 10 samples that lose 1 with some chance, the true mean is missed within its rate."""
    missed = 0.0
    for outcome in itertools.product((0.0, -1.0), repeat=10):
        lost = -sum(outcome)
        if betting_tail(-np.asarray(outcome), -1, 1, share) < LEVEL / 2:
            missed += share**lost * (1 - share) ** (10 - lost)
        if betting_tail(np.asarray(outcome), -1, 1, -share) < LEVEL / 2:
            missed += share**lost * (1 - share) ** (10 - lost)
    assert missed <= LEVEL


@pytest.mark.parametrize("order", [np.asarray, np.sort], ids=["as drawn", "sorted"])
@pytest.mark.parametrize("n", [10, 30, 100, 300])
def test_rate_holds_for_rare_and_large_losses(n, order):
    """Where t passes a worse candidate far too often, each side misses the true mean in 1 of 40 at most."""
    rng = np.random.default_rng(n)
    draws = [order(losses(rng, n)) for _ in range(2_000)]
    above = sum(betting_tail(-values, -1, 1, -TRUE_LOSS) < LEVEL / 2 for values in draws)
    below = sum(betting_tail(values, -1, 1, TRUE_LOSS) < LEVEL / 2 for values in draws)
    assert above <= 50
    assert below <= 50


def test_interval_narrows_with_what_is_seen():
    """Of 1,000 samples without a change it is near 4 / 1,000 to each side; of many 1.4 x the normal interval."""
    low, high = betting_interval(np.zeros(1_000), -1, 1)
    assert (low, high) == pytest.approx((-0.0042, 0.0042), abs=1e-4)
    values = np.random.default_rng(2).uniform(-1, 1, 20_000)
    low, high = betting_interval(values, -1, 1)
    assert high - low < 1.45 * 2 * 1.96 * values.std() / math.sqrt(20_000)


def test_more_confidence_is_wider():
    values = losses(np.random.default_rng(3), 200)
    low, high = betting_interval(values, -1, 1, 0.99)
    assert low < betting_interval(values, -1, 1)[0] < betting_interval(values, -1, 1, 0.8)[0]
    assert high > betting_interval(values, -1, 1)[1] > betting_interval(values, -1, 1, 0.8)[1]


def test_it_is_the_same_each_time():
    """The order of the bets is drawn with a fixed seed."""
    values = losses(np.random.default_rng(5), 500)
    assert betting_interval(values, -1, 1) == betting_interval(values.copy(), -1, 1)


@pytest.mark.parametrize(
    ("values", "bounds", "said"),
    [
        ([], (0, 1), "no values"),
        ([0.5, 1.5], (0, 1), "not within"),
        ([0.5, math.nan], (0, 1), "not within"),
        ([0.5], (1, 1), "the first less than the second"),
        ([0.5], (0, math.inf), "must be finite"),
    ],
)
def test_what_cannot_be_bet_on_is_refused(values, bounds, said):
    with pytest.raises(ValueError, match=said):
        betting_interval(np.asarray(values), *bounds)
