"""Rules of what is said before a run."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from pytest_evalrun.stats import power
from pytest_evalrun.stats.betting import betting_interval
from pytest_evalrun.stats.clustered import clustered_t
from pytest_evalrun.stats.power import (
    EXACT_FLIPS,
    chance_of_pass,
    least_n,
    least_n_bounded,
    least_n_unseen,
    n_for_pass,
    visible_drop,
)
from pytest_evalrun.stats.tango import tango_interval

MARGINS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)


@lru_cache(maxsize=64)
def all_intervals(n, confidence):
    """Lost and won of each outcome of n samples, and the ends of its interval."""
    outcomes = np.array([(lost, won) for lost in range(n + 1) for won in range(n + 1 - lost)])
    return outcomes, np.array([tango_interval(n, int(lost), int(won), confidence) for lost, won in outcomes])


def weighed(n, confidence, discordance, drop, holds):
    """The chance that ``holds`` of low and high is true: each outcome, weighed by its chance."""
    outcomes, ends = all_intervals(n, confidence)
    flips = max(discordance, abs(drop))
    shares = [(flips + drop) / 2, (flips - drop) / 2, 1 - flips]
    chances = stats.multinomial.pmf(np.column_stack([outcomes, n - outcomes.sum(axis=1)]), n, shares)
    return chances[holds(ends[:, 0], ends[:, 1])].sum()


@pytest.mark.parametrize(
    ("confidence", "least"),
    [(0.95, [766, 382, 254, 190, 126, 74, 36]), (0.9, [540, 269, 179, 134, 89, 53, 26])],
)
def test_least_n_is_that_of_no_flips(confidence, least):
    """The smallest n at which PASS is possible is ceil(z^2 (1 - m) / m) + 1; one-sided 95 % is a confidence of .90."""
    assert [least_n(margin, confidence) for margin in MARGINS] == least


@given(st.floats(1e-7, 1.5), st.floats(0.5, 0.999))
@example(0.5, 0.95)
@example(1.0, 0.95)
def test_least_n_is_where_the_interval_passes_first(margin, confidence):
    """With no flips its low end is within the margin at this n, and not with one sample fewer."""
    n = least_n(margin, confidence)
    assert tango_interval(n, 0, 0, confidence)[0] >= -margin
    assert n == 1 or tango_interval(n - 1, 0, 0, confidence)[0] < -margin


@given(st.floats(0.003, 1.2), st.sampled_from([0.5, 1.0, 100.0]), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_least_n_bounded_is_where_the_betting_interval_passes_first(share, span, confidence):
    """Likewise of bounded differences that are all 0, and it is the scale that counts, not the unit."""
    n = least_n_bounded(share * span, span, confidence)
    assert betting_interval(np.zeros(n), -span, span, confidence)[0] >= -share * span
    assert n == 1 or betting_interval(np.zeros(n - 1), -span, span, confidence)[0] < -share * span


@given(st.floats(1e-6, 0.999), st.sampled_from([0.01, 1.0, 100.0]), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@example(0.5, 1.0, 0.5)
def test_least_n_unseen_is_where_losses_of_the_margin_would_be_seen(share, worst, confidence):
    """Losses so rare that they make up the margin are all unseen with the chance of an end, and not one sample fewer.

    From there on a single one that nobody saw cannot exceed the margin, either.
    """
    n = least_n_unseen(share * worst, worst, confidence)
    assert (1 - share) ** n <= (1 - confidence) / 2 * (1 + 1e-9)
    assert n == 1 or (1 - share) ** (n - 1) > (1 - confidence) / 2 * (1 - 1e-9)
    assert confidence < 0.8 or worst / n <= share * worst * (1 + 1e-9) or n == 1


@pytest.mark.parametrize(
    ("margin", "worst", "n"), [(0.01, 1, 368), (0.02, 1, 183), (0.1, 0.3, 10), (1, 1, 1), (2, 1, 1), (0.5, 0, 1)]
)
def test_least_n_unseen_is_3_7_losses_a_margin(margin, worst, n):
    """As docs/gates.md has it; where nothing more can be lost than the margin, any n will do."""
    assert least_n_unseen(margin, worst) == n


def test_what_goes_by_the_spread_that_was_seen_is_not_wrong_as_often():
    """Whole clusters lost, so many that they are the margin: PASS in an eighth of all cases, where it was a quarter."""
    rng, margin = np.random.default_rng(11), 0.05
    rates = []
    for count in (least_n_unseen(margin, 1), 21):  # the first with t, and more than 1 / margin
        clusters, passed = np.repeat(np.arange(count), 10), 0
        for _ in range(1_000):
            lost = rng.random(count) < margin
            values = np.where(lost[clusters], -1.0, (rng.random(10 * count) < 0.01).astype(float))
            passed += bool(values.any()) and clustered_t(values, clusters).low >= -margin
        rates.append(passed / 1_000)
    assert rates[0] < 0.15 < 0.2 < rates[1]


@pytest.mark.parametrize("margin", [0, -0.01])
def test_no_n_proves_that_nothing_is_lost(margin):
    """Of a margin of 0 or less PASS takes more than no flips."""
    assert least_n(margin) is least_n_bounded(margin, 1) is least_n_unseen(margin, 1) is n_for_pass(margin, 0.1) is None


@pytest.mark.parametrize(
    ("margin", "gain", "chances"),
    [
        (0.05, 0, {10: 0, 30: 0, 100: 0.006, 300: 0.016}),
        (0.05, 0.05, {10: 0.001, 30: 0.013, 100: 0.022, 300: 0.024}),
        (0.02, 0, {30: 0, 100: 0, 300: 0.017}),
        (0.02, 0.02, {10: 0, 30: 0.001, 100: 0.024}),
        (0.015, 0, {10: 0, 30: 0, 100: 0}),
    ],
)
def test_pass_of_what_is_as_bad_as_the_margin_is_rare(margin, gain, chances):
    """Where the true drop equals the margin, PASS has a chance of at most .025, to the published digits."""
    found = {n: chance_of_pass(n, margin, margin + 2 * gain, margin) for n in chances}
    assert found == pytest.approx(chances, abs=6e-4)


@pytest.mark.parametrize("n", [10, 15, 20, 30, 40, 50, 75, 100, 150, 180, 300, 500, 1_000, 2_000])
@pytest.mark.parametrize("gain", [0, 0.002, 0.01, 0.02, 0.05, 0.1])
def test_wrong_pass_keeps_its_rate(n, gain):
    """As many won as models differ by, and losses of the margin more: at most 1.15 of .025 PASS, at any margin."""
    for margin in MARGINS:
        assert chance_of_pass(n, margin, margin + 2 * gain, margin) <= 1.15 * 0.025


@given(
    st.integers(1, 40),
    st.one_of(st.sampled_from([0.0, *MARGINS]), st.floats(0, 1)),
    st.floats(0, 1),
    st.floats(-1, 1),
    st.sampled_from([0.8, 0.95]),
)
@example(40, 0.1, 0.0, 0.0, 0.95)
@example(30, 0.05, 1.0, 1.0, 0.95)
@example(30, 0.05, 1.0, -1.0, 0.95)
@example(30, 0.05, 0.2, 0.2, 0.95)
def test_chances_are_those_of_all_outcomes(n, margin, discordance, drop, confidence):
    """PASS and FAIL have the chances that follow from the interval of each outcome, weighed."""
    _, ends = all_intervals(n, confidence)
    assume(np.abs(ends + margin).min() > 1e-9)  # where rounding decides, it may do so otherwise
    expected = weighed(n, confidence, discordance, drop, lambda low, high: low >= -margin)
    assert chance_of_pass(n, margin, discordance, drop, confidence) == pytest.approx(expected, abs=1e-9)
    expected = weighed(n, confidence, discordance, drop, lambda low, high: high < -margin)
    found = power.chance_of_fail(n, margin, discordance, drop, confidence)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("discordance", [0.002, 0.02, 0.1, 0.4])
@pytest.mark.parametrize("margin", [0.002, 0.01, 0.03])
def test_normal_chances_follow_the_exact_ones(monkeypatch, discordance, margin):
    """Where sums over all outcomes end, normal chances begin within .003 of them."""
    n = math.floor(EXACT_FLIPS / discordance)
    for drop in (-margin, 0.0, margin / 2, margin):
        if abs(drop) <= discordance:
            exact = chance_of_pass.__wrapped__(n, margin, discordance, drop)
            with monkeypatch.context() as patch:
                patch.setattr(power, "EXACT_FLIPS", 0)
                assert chance_of_pass.__wrapped__(n, margin, discordance, drop) == pytest.approx(exact, abs=0.003)


@given(st.integers(1, 10**7), st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
def test_chance_is_a_chance_and_falls_with_the_drop(n, margin, discordance, drop):
    """Between 0 and 1 for every n, and less for more drop where as many flip."""
    chances = [chance_of_pass(n, margin, max(discordance, abs(drop)), part * abs(drop)) for part in (-1, 0, 0.5, 1)]
    assert all(0 <= chance <= 1 for chance in chances)
    assert all(more >= less - 1e-9 for more, less in pairwise(chances))


@given(st.integers(1, 10**7), st.sampled_from(MARGINS))
def test_pass_without_flips_takes_the_least_n(n, margin):
    """Where nothing flips PASS is certain from the least n on; before, only what lost less than it won may pass."""
    possible = n >= least_n(margin)
    assert chance_of_pass(n, margin, 0.0) == float(possible)
    assert possible or chance_of_pass(n, margin, 0.01, 0.01) == 0


@pytest.mark.parametrize(
    ("discordance", "margin", "confidence", "by_formula"),
    [
        # (1.645 + .842)^2 psi / m^2, of Wald's test; Tango's needs a little more, to PASS where nothing flips.
        (0.05, 0.01, 0.9, 3_092),
        (0.05, 0.02, 0.9, 773),
        (0.08, 0.02, 0.9, 1_237),
        (0.1, 0.01, 0.9, 6_184),
        (0.1, 0.02, 0.9, 1_546),
        (0.1, 0.05, 0.9, 248),
        # The same with 1.960: two-sided 95 %, what gates have by themselves.
        (0.05, 0.01, 0.95, 3_925),
        (0.08, 0.02, 0.95, 1_570),
        (0.1, 0.02, 0.95, 1_963),
    ],
)
def test_n_for_80_percent_is_a_little_above_walds(discordance, margin, confidence, by_formula):
    """One-sided 95 %, as others print it, is a confidence of .90; the formula is good to a tenth."""
    n = n_for_pass(margin, discordance, confidence=confidence)
    assert by_formula <= n <= 1.1 * by_formula


@given(
    st.floats(0.004, 0.3),
    st.floats(0, 0.5),
    st.floats(0.05, 0.95),
    st.sampled_from([-0.5, 0.0, 0.5]),
    st.sampled_from([0.8, 0.95]),
)
@example(0.05, 0.0, 0.8, 0.0, 0.95)
def test_n_for_pass_is_where_the_chance_is_reached(margin, discordance, wanted, part, confidence):
    """At this n the chance of PASS is what was asked for, and with one sample fewer it is not."""
    n = n_for_pass(margin, discordance, wanted, part * margin, confidence)
    flips = max(discordance, abs(part * margin))
    assert chance_of_pass(n, margin, discordance, part * margin, confidence) >= wanted - 0.003
    if n > 1 and n * flips <= EXACT_FLIPS:
        assert chance_of_pass(n - 1, margin, discordance, part * margin, confidence) < wanted


@pytest.mark.parametrize("drop", [0.02, 0.03])
def test_no_n_passes_what_is_as_bad_as_the_margin(drop):
    """A true drop of the margin or more is not to PASS with any n."""
    assert n_for_pass(0.02, 0.1, drop=drop) is None


@given(
    st.integers(1, 10**6),
    st.floats(0, 1),
    st.floats(0.5, 0.95),
    st.sampled_from([0.8, 0.95]),
    st.sampled_from([0.0, 0.01, 0.1]),
)
@example(1, 0.1, 0.8, 0.95, 0.0)
@example(180, 0.08, 0.8, 0.95, 0.02)
def test_visible_drop_is_where_fail_has_the_power(n, discordance, wanted, confidence, margin):
    """A true drop of this size ends in FAIL with the chance asked for, one a thousandth less with less."""
    drop = visible_drop(n, discordance, wanted, confidence, margin)
    assert margin <= drop <= 1
    if drop < 1:
        assert power.chance_of_fail(n, margin, discordance, drop, confidence) >= wanted
        assert power.chance_of_fail(n, margin, discordance, 0.999 * drop, confidence) < wanted


@pytest.mark.parametrize(("n", "discordance"), [(180, 0.08), (1_000, 0.1)])
def test_a_planted_drop_is_seen_as_often_as_stated(n, discordance):
    """Of 20,000 comparisons of a model with one that is worse by the visible drop, four fifths FAIL."""
    drop = visible_drop(n, discordance)
    flips = max(discordance, drop)
    shares = [(flips + drop) / 2, (flips - drop) / 2, 1 - flips]
    drawn, times = np.unique(np.random.default_rng(7).multinomial(n, shares, 20_000)[:, :2], axis=0, return_counts=True)
    below = np.array([tango_interval(n, int(lost), int(won))[1] < 0 for lost, won in drawn])
    assert times[below].sum() / 20_000 == pytest.approx(0.8, abs=0.02)
