"""Rules of Tango's interval and of the p-value beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from pytest_evalrun.stats.tango import null_variance, score, tango_interval, tango_tail

CONFIDENCES = st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999])


@st.composite
def tables(draw, most=10**7):
    """n, lost and won of any comparison."""
    n = draw(st.integers(1, most))
    lost = draw(st.integers(0, n))
    return n, lost, draw(st.integers(0, n - lost))


@pytest.mark.parametrize(
    ("n", "lost", "won", "confidence", "published"),
    [
        # Fagerland, Lydersen and Laake 2017, Statistical Analysis of Contingency Tables, 8.5, and their R package.
        pytest.param(21, 7, 1, 0.95, (-0.517, -0.026), id="Bentur 2009"),
        pytest.param(161, 16, 6, 0.95, (-0.1240, -0.0054), id="Cavo 2012"),
        pytest.param(618, 25, 28, 0.90, (-0.0148, 0.0247), id="PropCIs"),
    ],
)
def test_interval_is_the_published_one(n, lost, won, confidence, published):
    """To the digits that others print, who do without our n - 1: it is their interval of as much less confidence."""
    z = stats.norm.ppf((1 + confidence) / 2) * math.sqrt((n - 1) / n)
    found = tango_interval(n, lost, won, 2 * stats.norm.cdf(z) - 1)
    assert found == pytest.approx(published, abs=6e-4 if n == 21 else 6e-5)


@given(tables(), CONFIDENCES)
@example((1, 0, 0), 0.95)
@example((1, 1, 0), 0.95)
@example((10**7, 10**7, 0), 0.999)
@example((10**7, 0, 0), 0.8)
@example((10**7, 0, 1), 0.95)
@example((10**7, 5 * 10**6, 5 * 10**6), 0.95)
def test_interval_holds_the_difference_and_has_a_width(table, confidence):
    """It lies within [-1, 1] and around the difference, and is never a point, not even where nothing flipped."""
    n, lost, won = table
    low, high = tango_interval(n, lost, won, confidence)
    assert -1 <= low <= (won - lost) / n <= high <= 1
    assert high - low > 1 / (2 * n)


@given(tables(), CONFIDENCES)
def test_interval_of_the_opposite_is_mirrored(table, confidence):
    """Whoever is called before and after: lost and won change roles, and the ends their signs."""
    n, lost, won = table
    low, high = tango_interval(n, lost, won, confidence)
    assert tango_interval(n, won, lost, confidence) == (-high, -low)


@given(tables(), CONFIDENCES)
@example((10**7, 1, 0), 0.95)
@example((10**7, 3 * 10**6, 10**6), 0.95)
def test_ends_are_where_the_score_is_the_quantile(table, confidence):
    """At an end short of -1 and 1, and nowhere else, the test is just undecided: to 1e-10, however large n is."""
    n, lost, won = table
    z = stats.norm.ppf((1 + confidence) / 2)
    low, high = tango_interval(n, lost, won, confidence)
    for end, sign in ((low, 1), (high, -1)):
        step = 1e-10 if n > 1_000 else 1e-9
        if abs(end) < 1 - 2 * step:
            assert sign * score(n, lost, won, end - sign * step) > z > sign * score(n, lost, won, end + sign * step)


@given(st.integers(1, 10**7), CONFIDENCES)
def test_nothing_flipped_has_the_interval_of_its_formula(n, confidence):
    """z^2 / (n - 1 + z^2) to each side: what so many samples cannot have missed; one sample says nothing."""
    z2 = stats.norm.ppf((1 + confidence) / 2) ** 2
    assert tango_interval(n, 0, 0, confidence) == pytest.approx((-z2 / (n - 1 + z2), z2 / (n - 1 + z2)), rel=1e-12)


@given(tables(10**6), CONFIDENCES)
def test_a_sample_lost_moves_the_interval_down(table, confidence):
    """The interval falls with each sample that is lost instead of not flipping, or instead of won."""
    n, lost, won = table
    assume(lost + won < n)
    low, high = tango_interval(n, lost, won, confidence)
    for more in ((lost + 1, won), *([(lost + 1, won - 1)] if won else [])):
        lower, less_high = tango_interval(n, *more, confidence)
        assert lower < low or low == -1
        assert less_high < high or (high == 1 and won == n - 1)


@given(tables(10**6), CONFIDENCES, st.integers(2, 10))
def test_more_samples_say_more(table, confidence, times):
    """Where as large a share flips, more samples make the interval narrower, and more confidence makes it wider."""
    n, lost, won = table
    assume(n > 1)
    low, high = tango_interval(n, lost, won, confidence)
    narrow = tango_interval(times * n, times * lost, times * won, confidence)
    wide = tango_interval(n, lost, won, (1 + confidence) / 2)
    assert narrow[1] - narrow[0] < high - low < wide[1] - wide[0]


@given(tables(200), st.floats(-0.99, 0.99))
def test_null_variance_is_of_the_likeliest_rest(table, difference):
    """The restricted estimate is the one that no numerical search of the likelihood betters."""
    n, lost, won = table

    def unlikely(share):
        chances = share, share + difference, 1 - 2 * share - difference
        return -sum(
            count * math.log(max(part, 1e-300))
            for count, part in zip((lost, won, n - lost - won), chances, strict=True)
        )

    ends = max(0.0, -difference), (1 - difference) / 2
    best = optimize.minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-12})
    share = (null_variance(n, lost, won, difference) - difference * (1 - difference)) / 2
    assert ends[0] - 1e-12 <= share <= ends[1] + 1e-12
    assert unlikely(share) <= best.fun + 1e-6


@pytest.mark.parametrize("n", [5, 12, 30])
@pytest.mark.parametrize("difference", [-0.9, -0.3, -0.05, -0.001, 0.0, 0.02, 0.5])
def test_score_falls_with_each_loss(n, difference):
    """For all outcomes: one sample more that is lost, or fewer that are won, is no better; so one bound decides."""
    scores = {(lost, won): score(n, lost, won, difference) for lost in range(n + 1) for won in range(n + 1 - lost)}
    for (lost, won), value in scores.items():
        assert value >= scores.get((lost + 1, won), -math.inf)
        assert value >= scores.get((lost, won - 1), -math.inf)


@pytest.mark.parametrize("n", [10, 30, 60])
def test_interval_holds_the_truth_about_as_often_as_it_says(n):
    """Over all outcomes, weighed: about 95 of 100 whatever the truth is, and 95.6 on average."""
    outcomes = [(lost, won) for lost in range(n + 1) for won in range(n + 1 - lost)]
    ends = np.array([tango_interval(n, *outcome) for outcome in outcomes])
    held = []
    for lost, won in [(0.02, 0.02), (0.05, 0.01), (0.1, 0.1), (0.2, 0.05), (0.05, 0.3), (0.4, 0.4), (0, 0.1)]:
        rest = n - np.sum(outcomes, axis=1)
        chances = stats.multinomial.pmf(np.column_stack([outcomes, rest]), n, [lost, won, 1 - lost - won])
        truth = won - lost
        held.append(chances[(ends[:, 0] <= truth) & (truth <= ends[:, 1])].sum())
    assert min(held) > 0.93
    assert np.mean(held) > 0.95


@given(tables(10**6))
@example((10**7, 5 * 10**6 + 3_000, 5 * 10**6 - 3_000))
def test_tail_at_no_difference_is_the_exact_sign_test(table):
    """One-sided: the chance of so many lost among the flips, or more, if each were as likely to be won."""
    n, lost, won = table
    expected = stats.binom.sf(lost - 1, lost + won, 0.5)
    assert tango_tail(n, lost, won) == pytest.approx(expected, rel=1e-6, abs=1e-200)
    if lost > won:
        exact = mcnemar([[n - lost - won, lost], [won, 0]], exact=True).pvalue
        assert min(1, 2 * tango_tail(n, lost, won)) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("flips", [1, 5, 20, 100])
def test_alarms_of_what_did_not_change_keep_their_rate(flips):
    """At no difference the p-value is below a level no more often than the level says: for all numbers of flips."""
    chances = stats.binom.pmf(range(flips + 1), flips, 0.5)
    p = np.array([tango_tail(1_000, lost, flips - lost) for lost in range(flips + 1)])
    for level in (0.001, 0.01, 0.025, 0.05, 0.5):
        assert chances[p <= level].sum() <= level


@given(tables(), st.floats(-0.5, 0.5).filter(bool))
def test_tail_elsewhere_agrees_with_the_interval(table, difference):
    """It is below .025 where the interval of 95 % is below the difference, and above .975 where it is above."""
    n, lost, won = table
    low, high = tango_interval(n, lost, won)
    tail = tango_tail(n, lost, won, difference)
    assume(min(abs(low - difference), abs(high - difference)) > 1e-9)
    assert (tail < 0.025) == (high < difference)
    assert (tail > 0.975) == (low > difference)


@pytest.mark.parametrize(("n", "lost", "won"), [(0, 0, 0), (10, 6, 5), (10, -1, 0), (10, 0, -1)])
def test_impossible_counts_are_refused(n, lost, won):
    """Counts that no comparison has are a mistake of the caller."""
    with pytest.raises(ValueError, match=f"{lost} lost and {won} won of {n}"):
        tango_interval(n, lost, won)
