"""Rules of Student's t and of means in clusters."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalrun.stats import clustered
from pytest_evalrun.stats.clustered import (
    WildClusterTest,
    clustered_t,
    student_quantile,
    student_tail,
    t_mean,
    wild_bootstrap,
)


@st.composite
def in_clusters(draw, least=6, most=12):
    """Values that vary, in clusters of different sizes."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return sample(rng, draw(st.integers(least, most)), draw(st.floats(0.1, 10)))


def sample(rng, count, spread=1.0):
    places = np.repeat(np.arange(count), rng.integers(1, 20, count))
    return rng.normal(size=len(places)) + spread * rng.normal(size=count)[places], places


@given(st.floats(1e-12, 1 - 1e-12), st.integers(1, 10**6))
def test_quantile_is_that_of_scipy(share, freedom):
    """At any share and freedom, also far out."""
    assert student_quantile(share, freedom) == pytest.approx(scipy.stats.t.ppf(share, freedom), rel=1e-9, abs=1e-9)


@given(st.floats(-50, 50), st.floats(0.5, 10**6))
def test_tail_is_that_of_scipy(value, freedom):
    """In both tails, and where the freedom is large."""
    assert student_tail(value, freedom) == pytest.approx(scipy.stats.t.cdf(value, freedom), rel=1e-9)


def test_extremes_of_t():
    """Nothing is beyond infinity; what is no share has no quantile."""
    assert student_tail(math.inf, 5) == 1
    assert student_tail(-math.inf, 5) == 0
    for share in (0, 1, math.nan):
        with pytest.raises(ValueError, match="share"):
            student_quantile(share, 5)
    with pytest.raises(ValueError, match="degrees of freedom"):
        student_tail(1, 0)


def test_mean_by_t_is_that_of_scipy():
    """Interval and one-sided p of independent values."""
    values = np.random.default_rng(1).normal(0.1, 1, 25)
    found, theirs = t_mean(values, 0.9), scipy.stats.ttest_1samp(values, 0, alternative="less")
    ends = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-9)
    assert found.p_worse == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (found.value, found.n, found.approximate) == (values.mean(), 25, True)


@given(in_clusters(least=2, most=40))
def test_clustered_t_is_that_of_statsmodels(data):
    """OLS on a constant with errors robust to clusters, tested by t with C - 1 degrees of freedom."""
    values, places = data
    fit = statsmodels.api.OLS(values, np.ones_like(values)).fit(
        cov_type="cluster", cov_kwds={"groups": places}, use_t=True
    )
    found = clustered_t(values, places)
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-8, abs=1e-10)
    two_sided = 2 * min(found.p_worse, 1 - found.p_worse)
    assert two_sided == pytest.approx(fit.pvalues[0], rel=1e-6, abs=1e-12)
    assert (found.clusters, found.n) == (places.max() + 1, len(values))


def test_clusters_of_one_are_samples():
    """Where each value is a cluster of its own the interval is that of Student's t."""
    values = np.random.default_rng(2).normal(size=30)
    found, plain = clustered_t(values, np.arange(30)), t_mean(values)
    assert (found.low, found.high, found.p_worse) == pytest.approx((plain.low, plain.high, plain.p_worse), rel=1e-9)


def test_wild_test_is_the_regression_of_each_draw():
    """Of 6 clusters all 46,656 draws count: residuals from the supposed mean weighed, regressed and studentised."""
    values, places = sample(np.random.default_rng(3), 6)
    supposed, count, n = -0.4, 6, len(values)

    def t_of(data):
        sums = np.stack([np.bincount(places, row - row.mean()) for row in data])
        return (data.mean(axis=1) - supposed) / np.sqrt(count / (count - 1) * (sums**2).sum(axis=1)) * n

    webb = [sign * math.sqrt(size) for sign in (-1, 1) for size in (0.5, 1, 1.5)]
    chosen = np.random.default_rng(4).permutation(list(itertools.product(webb, repeat=6)))[:2_000]
    sampled = np.mean(np.abs(t_of(supposed + chosen[:, places] * (values - supposed))) >= abs(t_of(values[None])[0]))
    share = WildClusterTest(values, places).share_beyond(supposed)
    assert share == pytest.approx(sampled, abs=4 * math.sqrt(share * (1 - share) / 2_000))
    # Exact: a whole number of draws, each with its opposite.
    assert share * 6**6 / 2 == pytest.approx(round(share * 6**6 / 2), abs=1e-6)


@pytest.mark.parametrize("count", [6, 9, 20])
def test_wild_interval_is_what_is_not_rejected(count):
    """Just within its ends a mean is not rejected at 5 %, just beyond them it is."""
    values, places = sample(np.random.default_rng(count), count)
    found, test = wild_bootstrap(values, places), WildClusterTest(values, places)
    inch = 1e-6 * (found.high - found.low)
    assert test.share_beyond(found.low - inch) < 0.05 <= test.share_beyond(found.low + inch)
    assert test.share_beyond(found.high + inch) < 0.05 <= test.share_beyond(found.high - inch)
    assert found.low < found.value < found.high
    assert found.method == f"wild cluster bootstrap, {count} clusters"


@settings(max_examples=20)
@given(in_clusters(), st.floats(-5, 5), st.floats(0.01, 100))
def test_wild_interval_goes_along_with_shift_and_scale(data, shift, scale):
    """It is the same in another unit, and from another zero; from the other side its ends are swapped."""
    values, places = data
    found = wild_bootstrap(values, places)
    moved = wild_bootstrap(shift + scale * values, places)
    near = 1e-6 * scale * (found.high - found.low)
    assert (moved.low, moved.high) == pytest.approx((shift + scale * found.low, shift + scale * found.high), abs=near)
    turned = wild_bootstrap(-values, places)
    assert (-turned.high, -turned.low) == pytest.approx((found.low, found.high), abs=1e-6 * (found.high - found.low))
    assert turned.p_worse == pytest.approx(1 - found.p_worse)


@settings(max_examples=30)
@given(in_clusters(), st.randoms(use_true_random=False))
def test_order_of_samples_says_nothing(data, random):
    """Samples of a dataset in another order have the same intervals: only who is in which cluster counts."""
    values, places = data
    order = np.asarray(random.sample(range(len(values)), len(values)))
    for method in (clustered_t, wild_bootstrap):
        one, other = method(values, places), method(values[order], places[order])
        near = 1e-8 * (one.high - one.low)
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=near)


def test_rate_of_the_wild_bootstrap_of_eight_unequal_clusters(monkeypatch):
    """Where t misses the true mean in 7 to 8 of 100, the bootstrap does in little more than 5."""
    monkeypatch.setattr(clustered, "DRAWS", 999)
    rng = np.random.default_rng(8)
    wild = t = 0
    for _ in range(2_000):
        values, places = sample(rng, 8)
        wild += WildClusterTest(values, places).share_beyond(0.0) < 0.05
        t += min(p := clustered_t(values, places).p_worse, 1 - p) < 0.025
    assert wild / 2_000 <= 0.065
    assert wild < 0.85 * t


def test_one_cluster_that_differs_is_no_proof():
    """Of 7 clusters of which one lost everything nobody can say that it got worse, nor that it did not."""
    places = np.repeat(np.arange(7), 10)
    found = wild_bootstrap(np.where(places == 0, -1.0, 0.0), places)
    assert found.p_worse > 0.1
    assert found.low < -1 / 7 < 0 < found.high
