"""Rules of the paired bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from pytest_evalrun.stats import resampling
from pytest_evalrun.stats.difference import AlikeError, NoEstimateError
from pytest_evalrun.stats.resampling import CHUNK_CELLS, DRAWS, MOST_DRAWN, paired_bootstrap


def mean_of(values):
    """The value of each draw of a metric that is a mean."""
    return lambda counts: counts.astype(float) @ values / counts.sum(axis=1)


def worse(n, seed=1, by=0.05):
    rng = np.random.default_rng(seed)
    before = rng.random(n)
    return before, before - by + rng.normal(0, 0.2, n)


def test_interval_of_a_mean_is_that_of_scipy_widened():
    """Percentiles of draws of pairs, their distances from the value as much longer as t is than the normal."""
    before, after = worse(40)
    found = paired_bootstrap(40, mean_of(before), mean_of(after))
    theirs = scipy.stats.bootstrap(
        (after - before,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    value = float((after - before).mean())
    wider = scipy.stats.t.ppf(0.975, 39) / scipy.stats.norm.ppf(0.975) * math.sqrt(40 / 39)
    expected = [value + wider * (end - value) for end in (theirs.low, theirs.high)]
    assert [found.low, found.high] == pytest.approx(expected, abs=0.07 * (found.high - found.low))
    assert found.value == pytest.approx(value)
    assert (found.n, found.approximate, found.method) == (40, True, "paired bootstrap (approximate)")


def test_both_sides_see_the_same_draws():
    """A unit drawn twice before is drawn twice after: what both have in common cancels out."""
    seen = {"before": [], "after": []}

    def remembering(side, values):
        def value(counts):
            seen[side].append(counts.copy())
            return mean_of(values)(counts)

        return value

    before, after = worse(30)
    found = paired_bootstrap(30, remembering("before", before), remembering("after", after))
    assert all(np.array_equal(one, other) for one, other in zip(seen["before"], seen["after"], strict=True))
    drawn = np.concatenate(seen["before"][1:])
    assert drawn.shape == (DRAWS, 30)
    assert (drawn.sum(axis=1) == 30).all()
    assert found.high - found.low < 0.2


def test_clusters_are_drawn_whole():
    """Samples of one cluster are drawn as often as each other, and say less than as many others would."""
    rng = np.random.default_rng(2)
    places = np.repeat(np.arange(8), 10)
    before = rng.random(80)
    after = before - 0.05 + rng.normal(0, 0.2, 8)[places]

    def value(counts):
        assert (counts.reshape(len(counts), 8, 10) == counts.reshape(len(counts), 8, 10)[:, :, :1]).all()
        return mean_of(after)(counts)

    found = paired_bootstrap(80, mean_of(before), value, places)
    plain = paired_bootstrap(80, mean_of(before), mean_of(after))
    assert found.high - found.low > 1.5 * (plain.high - plain.low)
    assert (found.n, found.clusters, plain.clusters) == (80, 8, None)


def test_clusters_of_one_sample_are_samples():
    """Drawing clusters of one is drawing samples."""
    before, after = worse(50)
    plain = paired_bootstrap(50, mean_of(before), mean_of(after))
    assert paired_bootstrap(50, mean_of(before), mean_of(after), np.arange(50)[::-1] * 3) == plain


def test_large_datasets_draw_fewer_and_scale():
    """Beyond 10,000 samples so many are drawn, 8 MB of counts at once, and it is the interval of all."""
    n = 20_000
    before, after = worse(n)

    def value(counts):
        assert counts.size <= CHUNK_CELLS
        assert len(counts) == 1 or (counts.sum(axis=1) == MOST_DRAWN).all()
        return mean_of(after)(counts)

    found = paired_bootstrap(n, mean_of(before), value)
    half = 1.96 * float((after - before).std()) / math.sqrt(n)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=half / 8)


def test_p_is_the_share_of_draws_that_are_not_worse():
    """Small where most draws are worse, never 0; of the difference itself, whatever share of the value is kept."""
    before, after = worse(200)
    found = paired_bootstrap(200, mean_of(before), mean_of(after))
    t = scipy.stats.ttest_rel(after, before, alternative="less").pvalue
    assert found.p_worse == pytest.approx(t, abs=0.01)
    assert paired_bootstrap(200, mean_of(before), mean_of(after), keep=0.5).p_worse == found.p_worse
    assert paired_bootstrap(200, mean_of(after), mean_of(before)).p_worse == pytest.approx(1 - t, abs=0.01)
    assert paired_bootstrap(200, mean_of(before), mean_of(before - 1)).p_worse == 1 / (DRAWS + 1)


def test_a_relative_margin_is_of_the_value_that_is_left():
    """The same draws, of the share that is to be kept."""
    before, after = worse(100)
    found = paired_bootstrap(100, mean_of(before), mean_of(after), keep=0.95)
    assert found.value == pytest.approx(after.mean() - 0.95 * before.mean())
    assert found.low < found.value < found.high


def test_it_is_the_same_each_time():
    """Draws have a fixed seed."""
    before, after = worse(100)
    assert paired_bootstrap(100, mean_of(before), mean_of(after)) == paired_bootstrap(
        100, mean_of(before), mean_of(after)
    )


def test_draws_without_a_value_are_left_out():
    """As of a ratio in whose draws nobody is counted; where most are such, or the value itself, nothing is known."""
    before, after = worse(30)

    def rare(needed):
        def value(counts):
            return np.where(counts[:, :needed].min(axis=1) > 0, mean_of(after)(counts), np.nan)

        return value

    found = paired_bootstrap(30, mean_of(before), rare(1))
    assert found.low < found.value < found.high
    with pytest.raises(NoEstimateError, match=r"not defined in 1,\d\d\d of 2,000 draws"):
        paired_bootstrap(30, mean_of(before), rare(3))
    with pytest.raises(NoEstimateError, match="not defined after"):
        paired_bootstrap(30, mean_of(before), lambda counts: np.full(len(counts), np.nan))
    with pytest.raises(NoEstimateError, match="not defined before"):
        paired_bootstrap(30, lambda counts: np.full(len(counts), np.nan), mean_of(after))


def test_what_says_nothing_has_no_estimate():
    """One sample, five clusters, or no difference in any draw: never an interval of no width."""
    before, after = worse(30)
    with pytest.raises(NoEstimateError, match="1 sample; 2 are needed"):
        paired_bootstrap(1, mean_of(before[:1]), mean_of(after[:1]))
    with pytest.raises(NoEstimateError, match="5 clusters; 6 are needed"):
        paired_bootstrap(30, mean_of(before), mean_of(after), np.arange(30) % 5)
    with pytest.raises(AlikeError, match="2,000 draws of 30 samples are all alike") as raised:
        paired_bootstrap(30, mean_of(before), mean_of(before))
    assert (raised.value.value, raised.value.n, raised.value.clusters) == (0, 30, None)
    with pytest.raises(ValueError, match="29 numbers of clusters for 30 samples"):
        paired_bootstrap(30, mean_of(before), mean_of(after), np.arange(29))


def test_rate_where_what_matters_was_seen(monkeypatch):
    """F1 of 300 samples before and after: the true difference is outside in 5 to 8 of 100."""
    monkeypatch.setattr(resampling, "DRAWS", 400)
    rng = np.random.default_rng(5)
    outside = 0
    for _ in range(150):
        truth = rng.random(300) < 0.3
        before = np.where(rng.random(300) < 0.1, ~truth, truth)
        after = np.where(rng.random(300) < 0.1, ~truth, truth)
        found = paired_bootstrap(300, f1_of(truth, before), f1_of(truth, after))
        outside += not found.low <= 0 <= found.high
    assert outside <= 16


def f1_of(truth, said):
    hits = np.stack([truth & said, truth, said], axis=1).astype(float)

    def value(counts):
        both, true, positive = (counts.astype(float) @ hits).T
        return 2 * both / (true + positive)

    return value
