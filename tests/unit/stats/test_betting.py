"""Rules of the betting interval."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalrun.stats.betting import (
    ABOVE,
    BELOW,
    BOLDEST,
    LEAST_STAKE,
    ORDERS,
    SEED,
    Bets,
    aim_of,
    betting_interval,
    betting_tail,
)

GOAL = 40  # of 95 %: 1 of 40 on each side

within = st.lists(st.floats(-1, 1), min_size=1, max_size=40).map(np.asarray)


def losses(rng, n):
    """Few samples lose, by much or little; of the others a few win a little: most are as before."""
    kind = rng.random(n)
    return np.where(kind < 0.08, -rng.beta(0.5, 0.5, n), np.where(kind < 0.15, 0.3 * rng.random(n), 0.0))


TRUE_LOSS = -0.08 * 0.5 + 0.07 * 0.15


def missed(bets, mean, side):
    """Whether the interval is ABOVE a mean within [-1, 1], or BELOW it."""
    return bets.won((mean + 1) / 2, side, aim_of(GOAL)) >= math.log(GOAL)


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


@settings(max_examples=50)
@given(within, st.floats(0.01, 100), st.floats(-10, 10))
def test_interval_goes_along_with_scale_and_shift(values, scale, shift):
    """Per cent, or errors instead of hits, give the same interval in their unit."""
    low, high = betting_interval(values, -1, 1)
    moved = betting_interval(scale * values + shift, -scale + shift, scale + shift)
    near = 1e-3 * scale * (high - low)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=near)


def test_capital_is_that_of_a_hedge():
    """A loop in plain words: the stake is the normal density over the share that the capital is of what is wanted."""
    shares = np.round((losses(np.random.default_rng(4), 40) + 1) / 2, 1)
    aim, mean, normal = aim_of(GOAL), 0.47, NormalDist()
    rng = np.random.default_rng(SEED)
    ends = []
    for order in [rng.permutation(shares) for _ in range(ORDERS)]:
        capital, seen, squares = 1.0, [0.5], 0.25
        for number, share in enumerate(order):
            quantile = normal.inv_cdf(min(capital / aim.capital, 1 - 1e-9))
            left = math.sqrt(aim.softness**2 + 1 - number / 40)
            stake = max(normal.pdf(quantile) / normal.cdf(quantile) / left, LEAST_STAKE)
            stake /= math.sqrt(40 * squares / len(seen))
            capital *= 1 + min(stake, BOLDEST / mean) * (share - mean)
            seen.append(share)
            squares += (share - np.mean(seen)) ** 2
        ends.append(capital)
    assert Bets(shares).won(mean, ABOVE, aim) == pytest.approx(math.log(np.mean(ends)), abs=0.01)


@given(within)
def test_interval_is_what_the_bets_do_not_reject(values):
    """At its low end the bet above reaches its goal; 1 in 500 of the distance further in it does not."""
    low, _ = betting_interval(values, -1, 1)
    bets = Bets((values + 1) / 2)
    inner = low + (values.mean() - low) / 499
    if low > -1:
        assert missed(bets, low, ABOVE)
    assert not missed(bets, inner, ABOVE) or values.mean() - low < 1e-9


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
def test_rate_holds_in_every_outcome_of_nine(share):
    """Over all outcomes of 9 samples that lose 1 with some chance, each side misses the true mean within its rate."""
    above = below = tail = 0.0
    for outcome in itertools.product((0.5, 0.0), repeat=9):
        lost = outcome.count(0.0)
        chance = share**lost * (1 - share) ** (9 - lost)
        bets = Bets(np.asarray(outcome))
        above += chance * missed(bets, -share, ABOVE)
        below += chance * missed(bets, -share, BELOW)
        tail += chance * (betting_tail(2 * np.asarray(outcome) - 1, -1, 1, -share) < 0.05)
    assert above <= 0.025
    assert below <= 0.025
    assert tail <= 0.05


@pytest.mark.parametrize("order", [np.asarray, np.sort], ids=["as drawn", "sorted"])
@pytest.mark.parametrize("n", [30, 100, 300])
def test_rate_holds_for_rare_and_large_losses(n, order):
    """Where t passes a worse candidate far too often, each side misses the true mean in 1 of 40 at most."""
    rng = np.random.default_rng(n)
    draws = [Bets((order(losses(rng, n)) + 1) / 2) for _ in range(300)]
    assert sum(missed(bets, TRUE_LOSS, ABOVE) for bets in draws) <= 8
    assert sum(missed(bets, TRUE_LOSS, BELOW) for bets in draws) <= 8


def test_order_of_the_dataset_matters_little():
    """Sorted by the scores themselves, or the other way round, the ends move by less than a tenth of the width."""
    values = losses(np.random.default_rng(6), 300)
    low, high = betting_interval(values, -1, 1)
    for other in (np.sort(values), np.sort(values)[::-1]):
        assert betting_interval(other, -1, 1) == pytest.approx((low, high), abs=0.1 * (high - low))


@given(within)
def test_tail_is_small_where_values_are_below(values):
    """It is a share, 1 of what the bound itself excludes, and the lower the greater the mean that is claimed."""
    tails = [betting_tail(values, -1, 1, mean) for mean in (-1, -0.5, 0, 0.5, 1)]
    assert all(0 < tail <= 1 for tail in tails)
    assert tails[0] == 1
    assert betting_tail(np.full(100, -0.5), -1, 1) < 1e-6


def test_interval_narrows_with_what_is_seen():
    """Of 1,000 samples without a change it is near 4 / 1,000 to each side; of many 1.15 x the normal interval."""
    low, high = betting_interval(np.zeros(1_000), -1, 1)
    assert (low, high) == pytest.approx((-0.0043, 0.0043), abs=1e-4)
    values = np.random.default_rng(2).uniform(-1, 1, 20_000)
    low, high = betting_interval(values, -1, 1)
    assert high - low < 1.2 * 2 * 1.96 * values.std() / math.sqrt(20_000)


def test_more_confidence_is_wider():
    """Who wants to be surer is told less."""
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
    """No values, values outside of the bounds, bounds that are none."""
    with pytest.raises(ValueError, match=said):
        betting_interval(np.asarray(values), *bounds)
