"""Rules of the door to all methods: which fits what, and when none does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalrun.stats.betting import betting_interval, betting_tail
from pytest_evalrun.stats.clustered import clustered_t, t_mean, wild_bootstrap
from pytest_evalrun.stats.difference import (
    AlikeError,
    NoEstimateError,
    PairedScores,
    alike_within,
    mean_difference,
    mean_interval,
)
from pytest_evalrun.stats.proportions import clustered_wilson, wilson
from pytest_evalrun.stats.tango import tango_interval, tango_tail

UNIT = (0.0, 1.0)


def shares(n=60, seed=1):
    """Scores between 0 and 1, before and after."""
    rng = np.random.default_rng(seed)
    before = rng.random(n)
    return before, np.clip(before + rng.normal(0, 0.1, n), 0, 1)


def flips(n=60, lost=4, won=1):
    """0/1 scores of which the first few were lost, the last few won."""
    before = np.concatenate([np.ones(n // 2), np.zeros(n - n // 2)])
    after = before.copy()
    after[:lost], after[n - won :] = 0, 1
    return before, after


def ends(found):
    return found.low, found.high


# -- which method ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [UNIT, None])
def test_right_or_wrong_is_tangos(bounds):
    """0/1 scores, whether their metric declares it or not."""
    found = mean_difference(PairedScores(*flips(), bounds))
    assert ends(found) == tango_interval(60, 4, 1)
    assert (found.value, found.p_worse) == (-0.05, tango_tail(60, 4, 1))
    assert found.method.startswith("Tango's score interval")
    assert (found.n, found.approximate, found.clusters) == (60, False, None)


def test_right_or_wrong_of_errors_is_tangos_too():
    """Metrics of which less is better come negated: -1 is an error."""
    before, after = flips()
    for bounds in (None, (-1.0, 0.0)):
        assert ends(mean_difference(PairedScores(before - 1, after - 1, bounds))) == tango_interval(60, 4, 1)


def test_all_or_nothing_of_any_bounds_is_tangos_in_their_unit():
    """Points of 0 or 100 are right or wrong."""
    before, after = flips()
    found = mean_difference(PairedScores(100 * before, 100 * after, (0.0, 100.0)))
    assert ends(found) == pytest.approx([100 * end for end in tango_interval(60, 4, 1)])
    assert found.value == -5


def test_right_or_wrong_within_wider_bounds_is_betting():
    """Scores that happen to be 0 or 1 where 10 is possible are not taken for right or wrong."""
    assert mean_difference(PairedScores(*flips(), (0.0, 10.0))).method == "betting interval"


def test_bounded_scores_are_betting():
    """Of what lies between declared bounds: valid at every n, so that nothing is approximate."""
    before, after = shares()
    found = mean_difference(PairedScores(before, after, UNIT))
    assert ends(found) == betting_interval(after - before, -1, 1)
    assert found.p_worse == betting_tail(after - before, -1, 1)
    assert (found.method, found.approximate) == ("betting interval", False)
    assert found.value == pytest.approx(after.mean() - before.mean())


def test_unbounded_scores_are_students_t():
    """Where nobody knows how far a score can lie off it is approximate."""
    before, after = shares()
    found = mean_difference(PairedScores(before, after))
    assert found == t_mean(after - before)
    assert (found.method, found.approximate) == ("Student's t (approximate)", True)


def test_a_share_that_is_kept_is_betting_within_its_own_bounds():
    """after - 0.95 x before of 0/1 scores lies within -0.95 and 1; the p-value stays that of the difference."""
    for before, after in (flips(), shares()):
        found = mean_difference(PairedScores(before, after, UNIT), keep=0.95)
        assert ends(found) == betting_interval(after - 0.95 * before, -0.95, 1)
        assert found.value == pytest.approx(after.mean() - 0.95 * before.mean())
        assert found.p_worse == mean_difference(PairedScores(before, after, UNIT)).p_worse
    undeclared = mean_difference(PairedScores(*flips()), keep=0.95)
    assert ends(undeclared) == ends(mean_difference(PairedScores(*flips(), UNIT), keep=0.95))


def test_a_share_of_errors_turns_with_its_sign():
    """Of less is better, 1.05 x before - after is what after - 0.95 x before is of more is better."""
    before, after = shares()
    found = mean_difference(PairedScores(-before, -after, (-1.0, 0.0)), keep=1.05)
    assert ends(found) == betting_interval(1.05 * before - after, -1, 1.05)


@pytest.mark.parametrize(
    ("count", "method", "name"),
    [
        (6, wild_bootstrap, "wild cluster bootstrap, 6 clusters"),
        (20, wild_bootstrap, "wild cluster bootstrap, 20 clusters"),
        (21, clustered_t, "clustered t, 21 clusters"),
    ],
)
@pytest.mark.parametrize("bounds", [UNIT, None])
def test_clusters_are_told_by_how_many_there_are(count, method, name, bounds):
    """t above 20 of them, the wild bootstrap from 6 on, whatever the scores are."""
    places = np.arange(84) % count
    for before, after in (shares(84), flips(84)):
        found = mean_difference(PairedScores(before, after, bounds, places))
        assert ends(found) == ends(method(after - before, places))
        assert (found.method, found.clusters, found.n, found.approximate) == (name, count, 84, True)


def test_clusters_may_have_any_numbers():
    """Those of samples that are left out leave gaps."""
    places = np.arange(60) % 25
    one, other = (mean_difference(PairedScores(*shares(), UNIT, numbers)) for numbers in (places, 7 * places + 3))
    assert one == other


def test_clusters_of_one_sample_are_samples():
    """They are not counted as clusters, and the method is that of samples."""
    assert mean_difference(PairedScores(*shares(), UNIT, np.arange(60))) == mean_difference(
        PairedScores(*shares(), UNIT)
    )
    assert mean_difference(PairedScores(*flips(3, 1, 0), UNIT, np.arange(3))).clusters is None


def test_an_interval_in_clusters_stays_within_the_bounds():
    """t knows of none: what it says beyond them is left off."""
    before, after = np.ones(30), np.zeros(30)
    after[:3] = 1
    found = mean_difference(PairedScores(before, after, UNIT, np.arange(30) // 4))
    assert found.low >= -1
    assert mean_interval(np.where(np.arange(30) < 28, 0.99, 0.5), UNIT, np.arange(30) // 4).high <= 1


# -- where nothing differs ------------------------------------------------------------------------


def test_no_flip_has_a_width():
    """That none of 60 flipped says that few do: no more than Tango's interval, in clusters that of so many clusters."""
    before, _ = flips()
    assert ends(mean_difference(PairedScores(before, before, UNIT))) == tango_interval(60, 0, 0)
    found = mean_difference(PairedScores(before, before, UNIT, np.arange(60) % 10))
    assert ends(found) == tango_interval(10, 0, 0)
    assert (found.n, found.clusters, found.p_worse) == (60, 10, 1)


def test_no_difference_between_bounds_has_a_width():
    """That nothing differs is no proof that nothing can."""
    before, _ = shares()
    assert ends(mean_difference(PairedScores(before, before, UNIT))) == betting_interval(np.zeros(60), -1, 1)
    found = mean_difference(PairedScores(before, before, UNIT, np.arange(60) % 30))
    assert ends(found) == betting_interval(np.zeros(30), -1, 1)
    assert (found.n, found.clusters) == (60, 30)


def test_clusters_in_which_all_evens_out_have_a_width():
    """One lost and one won in each: t has no error there, which proves nothing."""
    before = np.tile([1.0, 0.0], 30)
    found = mean_difference(PairedScores(before, 1 - before, UNIT, np.arange(60) // 2))
    assert ends(found) == betting_interval(np.zeros(30), -1, 1)


def test_rounding_is_no_difference():
    """0.1 + 0.2 is not 0.3, but who says so has not seen that scores vary."""
    before = np.full(20, 0.3)
    after = np.where(np.arange(20) % 2 == 0, 0.3, 0.1 + 0.2)
    with pytest.raises(NoEstimateError, match="all 20 differences are 0, and the metric declares no bounds"):
        mean_difference(PairedScores(before, after))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (PairedScores(np.ones(1), np.ones(1), UNIT), "1 sample; 2 are needed"),
        (PairedScores(np.ones(0), np.ones(0), UNIT), "0 samples; 2 are needed"),
        (PairedScores(*flips(), UNIT, np.arange(60) % 5), "5 clusters; 6 are needed"),
        (PairedScores(*flips(), UNIT, np.zeros(60, dtype=np.intp)), "1 cluster; 6 are needed"),
        (PairedScores(np.full(9, 2.5), np.full(9, 2.5)), "all 9 differences are 0, and the metric declares no bounds"),
        (PairedScores(np.full(9, 2.5), np.full(9, 2.0)), "all 9 differences are -0.5, and the metric declares no"),
        (
            PairedScores(np.full(12, 2.5), np.full(12, 2.5), None, np.arange(12) % 6),
            "the differences of all 6 clusters are alike, and the metric declares no bounds",
        ),
        (PairedScores(np.full(9, 1e308), np.arange(9) * -1e307), "cannot be reckoned with"),
    ],
)
def test_what_says_nothing_has_no_estimate(scores, said):
    """Too few samples or clusters, or nothing by which to judge: the reason is the words of an INCONCLUSIVE."""
    with pytest.raises(NoEstimateError, match=said):
        mean_difference(scores)


@pytest.mark.parametrize(("clusters", "units"), [(None, 300), (np.arange(300) % 30, 30)])
def test_what_is_alike_has_an_interval_once_the_worst_is_known(clusters, units):
    """A loss more frequent than that would have been seen with a chance of 97.5 %."""
    scores = np.linspace(10, 30, 300)
    with pytest.raises(AlikeError) as raised:
        mean_difference(PairedScores(scores, scores - 0.5, None, clusters))
    found = alike_within(raised.value, 20.0)
    half = 20 * (1 - 0.025 ** (1 / units))
    assert ends(found) == pytest.approx((-0.5 - half, -0.5 + half))
    assert (found.n, found.clusters, found.approximate) == (300, None if units == 300 else 30, True)
    assert all(alike_within(raised.value, worst) is None for worst in (0, math.inf, math.nan))


def test_few_clusters_are_not_enough_for_any_confidence():
    """Of 6 clusters there are no more than 46,656 draws: without bounds nothing follows at 99.999 %."""
    places = np.arange(60) % 6
    found = mean_difference(PairedScores(*shares(), UNIT, places), 0.99999)
    assert ends(found) == (-1, 1)
    with pytest.raises(NoEstimateError, match=r"6 clusters are too few for a confidence of 0\.99999"):
        mean_difference(PairedScores(*shares(), None, places), 0.99999)


def test_p_of_a_kept_share_is_1_where_nothing_differs():
    """Unbounded scores that are all the same: of a share there is an interval, of the difference nothing to say."""
    before = np.arange(9.0)
    assert mean_difference(PairedScores(before, before), keep=0.9).p_worse == 1


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (PairedScores(np.ones(3), np.ones(4)), "3 scores before and 4 after"),
        (PairedScores(np.ones(3), np.array([1, math.nan, 1])), r"after\[1\] is nan: scores must be finite numbers"),
        (PairedScores(np.array([1, 1, math.inf]), np.ones(3)), r"before\[2\] is inf: scores must be finite numbers"),
        (PairedScores(np.ones(3), np.array([1, 1, 1.5]), UNIT), r"after\[2\] is 1.5: not within the bounds 0 to 1"),
        (PairedScores(np.ones(3), np.ones(3), UNIT, np.arange(2)), "2 numbers of clusters for 3 scores"),
    ],
)
def test_what_is_no_score_is_named(scores, said):
    """By its side and place, and with what is accepted."""
    with pytest.raises(ValueError, match=said):
        mean_difference(scores)


def test_only_a_positive_share_can_be_kept():
    """A finite one: of a margin of 100 % there is nothing left to compare with."""
    for keep in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="keep must be above 0"):
            mean_difference(PairedScores(*shares(), UNIT), keep=keep)


# -- laws of all methods --------------------------------------------------------------------------


@st.composite
def compared(draw):
    """Scores of any kind: 0/1, bounded or not, in few or many clusters or none, all the same or all different."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n = draw(st.integers(12, 60))
    before = rng.integers(0, 2, n).astype(float) if draw(st.booleans()) else rng.random(n)
    changed = rng.random(n) < draw(st.sampled_from([0.0, 0.1, 1.0]))
    after = np.where(changed, rng.permutation(before), before)
    clusters = draw(st.sampled_from([None, 6, 10, 25]))
    places = None if clusters is None else rng.permutation(np.arange(n) % clusters)
    return PairedScores(before, after, draw(st.sampled_from([UNIT, None])), places)


@settings(max_examples=60)
@given(compared(), st.sampled_from([1.0, 0.95]))
def test_every_interval_holds_its_value_and_has_a_width(scores, keep):
    """Whatever the scores are, whichever method fits them."""
    try:
        found = mean_difference(scores, keep=keep)
    except NoEstimateError:
        assert scores.bounds is None
        return
    assert found.low <= found.value <= found.high
    assert found.low < found.high
    assert 0 <= found.p_worse <= 1
    assert found.n == len(scores.before)


@settings(max_examples=60)
@given(compared())
def test_the_other_way_round_everything_turns(scores):
    """Before and after swapped: what was lost is won."""
    try:
        found = mean_difference(scores)
    except NoEstimateError:
        return
    turned = mean_difference(PairedScores(scores.after, scores.before, scores.bounds, scores.clusters))
    near = 0.01 * (found.high - found.low)
    assert (-turned.high, -turned.low) == pytest.approx(ends(found), abs=near)
    assert turned.method == found.method
    assert turned.value == pytest.approx(-found.value)


@given(st.integers(0, 10**6), st.floats(-100, 100), st.sampled_from([None, 6, 25]))
def test_unbounded_scores_have_no_zero(seed, shift, clusters):
    """Decibels or logarithms: the same to both sides changes nothing."""
    before, after = shares(50, seed)
    places = None if clusters is None else np.arange(50) % clusters
    found = mean_difference(PairedScores(before, after, None, places))
    moved = mean_difference(PairedScores(before + shift, after + shift, None, places))
    assert ends(moved) == pytest.approx(ends(found), abs=1e-6 * (found.high - found.low))


# -- one mean -------------------------------------------------------------------------------------


def test_one_mean_of_right_or_wrong_is_wilsons():
    """Of 0/1 scores, in the unit of their bounds; in more than 20 clusters its clustered form."""
    _, scores = flips()
    count = int(scores.sum())
    found = mean_interval(scores, UNIT)
    assert ends(found) == wilson(count, 60)
    assert (found.value, found.method, found.approximate) == (count / 60, "Wilson's score interval", False)
    assert ends(mean_interval(scores, None)) == wilson(count, 60)
    assert ends(mean_interval(scores - 1, None)) == pytest.approx([end - 1 for end in wilson(count, 60)])
    places = np.arange(60) % 30
    clustered = mean_interval(scores, UNIT, places)
    assert ends(clustered) == clustered_wilson(scores, places)
    assert clustered.clusters == 30


def test_one_mean_of_others_is_betting_or_t():
    """Of scores that are not 0 or 1 it is known by their bounds which."""
    scores, _ = shares()
    assert ends(mean_interval(scores, UNIT)) == betting_interval(scores, 0, 1)
    assert ends(mean_interval(scores, None)) == ends(t_mean(scores))
    assert ends(mean_interval(scores, None, np.arange(60) % 7)) == ends(wild_bootstrap(scores, np.arange(60) % 7))
    assert ends(mean_interval(scores, None, np.arange(60) % 30)) == ends(clustered_t(scores, np.arange(60) % 30))


def test_one_mean_always_has_a_width_or_none():
    """All right in few clusters: as many units as there are clusters. All the same without bounds: nothing is known."""
    found = mean_interval(np.ones(60), UNIT, np.arange(60) % 10)
    assert ends(found) == betting_interval(np.ones(10), 0, 1)
    assert found.high == 1
    with pytest.raises(NoEstimateError, match=r"all 9 scores are 2\.5, and the metric declares no bounds"):
        mean_interval(np.full(9, 2.5), None)
    with pytest.raises(NoEstimateError, match="1 sample; 2 are needed"):
        mean_interval(np.ones(1), UNIT)
    with pytest.raises(ValueError, match=r"scores\[0\] is nan"):
        mean_interval(np.full(3, math.nan), UNIT)


def test_what_all_lost_alike_is_no_chance():
    """Gains that nobody has seen would have to make up for it: the more units there are, the less likely."""
    few, many = (alike_within(AlikeError("", -0.5, n), 1.0) for n in (5, 50))
    assert few.p_worse == pytest.approx((2 / 3) ** 5)
    assert many.p_worse < 1e-8
    assert alike_within(AlikeError("", 0.0, 50), 1.0).p_worse == 1.0
