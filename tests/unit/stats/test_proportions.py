"""Rules of Wilson's interval, and of the distributions that this room has of its own."""

from __future__ import annotations

import subprocess
import sys
from array import array

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from pytest_evalrun.stats.proportions import (
    binomial_at_most,
    binomial_chance,
    clustered_stderr,
    clustered_wilson,
    normal_quantile,
    normal_share,
    two_sided,
    wilson,
)

COUNTS = st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CONFIDENCES = st.floats(0.5, 0.9999)


@given(COUNTS, CONFIDENCES)
@example((0, 1), 0.95)
@example((10**9, 10**9), 0.95)
def test_wilson_holds_the_proportion_and_has_a_width(case, confidence):
    """It lies within [0, 1] and around the proportion, and is never a point: not of 0 of n, and not of all."""
    successes, n = case
    low, high = wilson(successes, n, confidence)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@given(COUNTS, CONFIDENCES)
def test_wilson_is_that_of_statsmodels(case, confidence):
    """At any confidence."""
    successes, n = case
    expected = proportion_confint(successes, n, 1 - confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_wilson_agrees_with_the_literature():
    """The interval is the published one: Newcombe 1998, 81 of 263 and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), CONFIDENCES)
def test_wilson_of_more_says_more(case, confidence):
    """Narrower with more rows of the same share, wider with more confidence, mirrored for the failures."""
    successes, n = case
    low, high = wilson(successes, n, confidence)
    more, surer = wilson(2 * successes, 2 * n, confidence), wilson(successes, n, (1 + confidence) / 2)
    assert more[1] - more[0] < high - low < surer[1] - surer[0]
    assert wilson(n - successes, n, confidence) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def clusters_and_scores(draws):
    return array("q", [name for name, _ in draws]), np.array([float(right) for _, right in draws])


ROWS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40)


@given(ROWS, CONFIDENCES)
def test_clustered_wilson_holds_the_share_and_has_a_width(rows, confidence):
    """Whatever the clusters: within [0, 1], around the share, never a point, never narrower than rows alone."""
    clusters, scores = clusters_and_scores(rows)
    low, high = clustered_wilson(scores, clusters, confidence)
    alone = wilson(int(scores.sum()), len(scores), confidence)
    assert 0 <= low <= scores.mean() + 1e-12
    assert scores.mean() - 1e-12 <= high <= 1
    assert low < high
    assert high - low >= alone[1] - alone[0] - 1e-12


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 9))
def test_clusters_of_one_are_rows(right, first):
    """Where no two rows are of one cluster, or nobody says, the interval is the plain one to the last bit."""
    scores = [float(one) for one in right]
    plain = wilson(sum(right), len(right))
    assert clustered_wilson(scores, range(first, first + len(right))) == clustered_wilson(scores, None) == plain


@pytest.mark.parametrize("times", [2, 5])
@given(right=st.lists(st.booleans(), min_size=3, max_size=20))
def test_copies_of_a_row_say_nothing_more(times, right):
    """Each row given several times is as wide as once, but for the correction of few clusters, which widens it."""
    scores = np.repeat([float(one) for one in right], times)
    clusters = np.repeat(np.arange(len(right)), times)
    once, copied = wilson(sum(right), len(right)), clustered_wilson(scores, clusters)
    assert copied[1] - copied[0] >= once[1] - once[0] - 1e-12
    assert copied == pytest.approx(once, abs=0.1)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-9, 9)), min_size=2, max_size=30))
def test_clustered_stderr_is_the_published_one(rows):
    """Residuals of all pairs of rows of one cluster, multiplied and added (Miller 2024), times C / (C - 1)."""
    names, places = np.unique([name for name, _ in rows], return_inverse=True)
    values = np.array([value for _, value in rows])
    if len(names) > 1:
        rest = values - values.mean()
        pairs = np.outer(rest, rest)[places[:, None] == places[None, :]].sum()
        expected = (len(names) / (len(names) - 1) * pairs) ** 0.5 / len(values) if pairs > 1e-12 else 0
        assert clustered_stderr(values, places) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.floats(1e-12, 1 - 1e-12))
def test_normal_quantile_is_that_of_scipy(share):
    """To the digits that matter, and the share of a quantile is what it was asked of."""
    assert normal_quantile(share) == pytest.approx(stats.norm.ppf(share), rel=1e-9, abs=1e-12)
    assert normal_share(normal_quantile(share)) == pytest.approx(share, rel=1e-8)


@given(st.floats(-37, 37))
def test_normal_share_is_exact_in_both_tails(value):
    """A p-value of 1e-200 is no 0."""
    assert normal_share(value) == pytest.approx(stats.norm.cdf(value), rel=1e-9)


def test_95_percent_is_as_ever():
    """To the last bit: intervals of results that were made before stay."""
    assert normal_quantile(0.975) == two_sided(0.95) == 1.959963984540054


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1, 95, float("nan")])
def test_confidence_is_a_share(confidence):
    """Percent instead of a share is a mistake, not an interval."""
    with pytest.raises(ValueError, match="more than 0 and less than 1"):
        wilson(1, 2, confidence)


@given(
    st.integers(0, 3_000).flatmap(lambda n: st.tuples(st.integers(-1, n + 1), st.just(n))),
    st.floats(1e-290, 1) | st.just(0.0),
)
@example((499_000, 1_000_000), 0.5)
@example((5_002_000, 10_000_000), 0.5)
@example((0, 10), 1e-200)
def test_binomial_is_that_of_scipy(case, share):
    """Sums over all counts up to one, in either tail, of few and of millions."""
    count, n = case
    assert binomial_at_most(count, n, share) == pytest.approx(stats.binom.cdf(count, n, share), rel=1e-6, abs=1e-11)
    if 0 < share < 1:
        expected = stats.binom.pmf(count, n, share)
        assert binomial_chance(count, n, share) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_nothing_heavy_is_needed_for_a_share():
    """Each pair has intervals of shares: no numpy is imported for them, and no module that pytest lacks."""
    code = """
import sys
from pytest_evalrun.stats.proportions import wilson
from pytest_evalrun.stats.tango import tango_interval
wilson(1, 3), tango_interval(9, 1, 2)
print(sorted({"numpy", "statistics"} & {*sys.modules}))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
