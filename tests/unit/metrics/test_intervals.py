"""Rules of the 95 % intervals."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun import metrics
from pytest_evalrun.metrics.intervals import (
    CHUNK_CELLS,
    MAX_CELLS,
    MAX_DRAWS,
    bootstrap,
    bootstrap_mean,
    bootstrap_sums,
    chunks,
    interval_of_mean,
    percentiles,
    share_interval,
    wilson,
)
from pytest_evalrun.metrics.user import user_metric
from pytest_evalrun.suite.settings import MetricSpec


@given(st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion(case):
    """Wilson's interval lies within [0, 1] and around the proportion, for every count."""
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1


def test_wilson_agrees_with_the_literature():
    """The interval is the published one: Newcombe 1998, 81 of 263 and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_bootstrap_is_the_same_each_time():
    """Two intervals of the same scores are equal to the last bit: the seed is fixed."""
    scores = np.random.default_rng(1).normal(size=50)
    value = float(scores.mean())
    assert bootstrap_mean(scores, value) == bootstrap_mean(array("d", scores), value)


def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    """For many well-behaved samples the percentile interval is the textbook one."""
    scores = np.random.default_rng(2).normal(size=4_000)
    value, half = float(scores.mean()), 1.96 * float(scores.std()) / 4_000**0.5
    assert bootstrap_mean(scores, value) == pytest.approx((value - half, value + half), abs=half / 8)


def test_large_datasets_resample_fewer_and_scale():
    """Beyond 10,000 samples a draw stays at 10,000 and the interval is still that of all samples."""
    scores = np.random.default_rng(3).normal(size=40_000)
    sizes = set()

    def mean_of(rows):
        sizes.add(rows.shape[1])
        return scores[rows].mean(axis=1)

    low, high = bootstrap(float(scores.mean()), len(scores), mean_of)
    assert sizes == {MAX_CELLS // MAX_DRAWS}
    assert high - low == pytest.approx(2 * 1.96 / 40_000**0.5, rel=0.1)


def test_one_sample_has_the_value_as_interval():
    """Nothing is known of the spread of a single sample: both ends are the value."""
    assert bootstrap_mean([3.5], 3.5) == (3.5, 3.5)


def test_undefined_draws_are_left_out():
    """NaN marks a resample without the statistic; with none left, the interval is the value."""
    assert percentiles(1.0, np.array([np.nan, 2.0, np.inf])) == (2.0, 2.0)
    assert percentiles(1.0, np.array([np.nan])) == (1.0, 1.0)


@given(st.integers(1, 5_000), st.integers(1, 3 * CHUNK_CELLS))
def test_chunks_cover_all_draws_within_memory(draws, width):
    """Every draw is made once, and no array has more than a million cells unless one row has."""
    sizes = list(chunks(draws, width))
    assert sum(sizes) == draws
    assert max(sizes) * width <= max(CHUNK_CELLS, width)


@pytest.mark.parametrize(
    ("scores", "is_wilson"),
    [
        pytest.param([0.0, 1.0, 1.0], True, id="zeros-and-ones"),
        pytest.param([0.0, 0.5, 1.0], False, id="half-right"),
        pytest.param([0.0, 2.0], False, id="two"),
    ],
)
def test_scores_of_zero_and_one_are_a_proportion(scores, is_wilson):
    """A mean of zeros and ones gets Wilson's interval, any other mean the bootstrap's."""
    mean = sum(scores) / len(scores)
    assert (interval_of_mean(scores, mean) == wilson(int(sum(scores)), len(scores))) is is_wilson


def rows_in_clusters(rng, clusters, most, share):
    """Each cluster has a share of its own, and 1 to ``most`` rows that are right by it."""
    of_cluster = rng.beta(share * 2, (1 - share) * 2, clusters)
    names = np.repeat(np.arange(clusters), rng.integers(1, most + 1, clusters))
    return array("q", names.tolist()), (rng.random(len(names)) < of_cluster[names]).astype(float)


MEANS = {
    "share": lambda scores, clusters: share_interval(int(scores.sum()), scores, clusters),
    "mean": lambda scores, clusters: bootstrap_mean(scores, float(scores.mean()), clusters),
}


@pytest.mark.parametrize("interval", MEANS.values(), ids=MEANS)
@pytest.mark.parametrize("share", [0.5, 0.9], ids="share={}".format)
def test_repeats_of_a_sample_are_not_samples(interval, share):
    """With unequal clusters 95 % intervals hold the truth about as often as they say; rows alone would be too sure."""
    rng = np.random.default_rng(7)
    held = alone = 0
    for _ in range(300):
        clusters, scores = rows_in_clusters(rng, 60, 8, share)
        low, high = interval(scores, clusters)
        held += low <= share <= high
        low, high = interval(scores, None)
        alone += low <= share <= high
    assert held >= 0.9 * 300
    assert alone < 0.87 * 300


@pytest.mark.parametrize("interval", MEANS.values(), ids=MEANS)
@given(scores=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=20), first=st.integers(0, 99))
def test_clusters_of_one_are_samples(interval, scores, first):
    """Where no sample has two rows, the interval is the plain one to the last bit."""
    data = np.array(scores)
    assert interval(data, array("q", range(first, first + len(scores)))) == interval(data, None)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40),
    st.sampled_from(sorted(MEANS)),
)
def test_intervals_of_clusters_hold_the_share(rows, kind):
    """Within 0 and 1, and around the share (but for the percentiles of a bootstrap)."""
    clusters, scores = array("q", [name for name, _ in rows]), np.array([score for _, score in rows])
    low, high = MEANS[kind](scores, clusters)
    assert -1e-9 <= low <= high <= 1 + 1e-9
    assert kind == "mean" or low - 1e-9 <= scores.mean() <= high + 1e-9


def test_repeats_that_all_agree_say_no_more_than_their_samples():
    """Ten equal answers to each of 20 questions are 20 answers."""
    scores = np.repeat([0.0, 1.0], 100)
    low, high = share_interval(100, scores, array("q", np.repeat(range(20), 10)))
    assert (low, high) == pytest.approx(wilson(10, 20), abs=0.01)
    assert share_interval(200, np.ones(200), array("q", np.repeat(range(20), 10))) == wilson(20, 20)


def test_sums_of_draws_are_those_of_their_rows():
    """However draws are added up, by how often a row was drawn or row by row, the interval is that of resamples."""
    data = np.random.default_rng(4).normal(size=(300, 1))
    sums = np.hstack([data, np.ones_like(data)])
    value = float(data.mean())
    assert bootstrap_sums(value, sums, lambda s: s[:, 0] / s[:, 1]) == pytest.approx(bootstrap_mean(data[:, 0], value))


CLUSTERED = {
    "top1": lambda rng: [rng.choice(["a", "b"]), "a"],
    "confusion": lambda rng: [rng.choice(["a", "b"]), "a"],
    "macro_f1": lambda rng: [rng.choice(["a", "b"]), rng.choice(["a", "b"])],
    "mae": lambda rng: [float(rng.normal()), 0.0],
    "rmse": lambda rng: [float(rng.normal()), 0.0],
    "r2": lambda rng: [0.0, float(rng.normal())],
    "f1": lambda rng: [rng.choice(["a cat", "dog", "cat dog"]), "cat"],
}


@pytest.mark.parametrize("name", CLUSTERED)
def test_every_metric_knows_repeats(name):
    """The same rows five times over, as repeats of their samples: the interval is about that of the samples."""
    rng = np.random.default_rng(5)
    rows = [[str(v) if isinstance(v, str) else v for v in CLUSTERED[name](rng)] for _ in range(200)]
    once, often, naive = (metrics.create_metric(MetricSpec(name, name), "/") for _ in range(3))
    often.clusters = array("q", np.repeat(range(200), 5))
    once.update(*map(list, zip(*rows, strict=True)))
    repeated = [row for row in rows for _ in range(5)]
    for metric in (often, naive):
        metric.update(*map(list, zip(*repeated, strict=True)))
    wide, repeats, narrow = (each.result() for each in (once, often, naive))
    assert repeats.value == pytest.approx(wide.value)
    assert repeats.n == 1_000
    assert (repeats.high - repeats.low) == pytest.approx(wide.high - wide.low, rel=0.15)
    assert (narrow.high - narrow.low) < 0.6 * (wide.high - wide.low)


def test_computed_metrics_of_a_user_know_repeats():
    """All rows of a sample are drawn together, so that compute() sees no half samples."""

    class Paired:
        better = "higher"

        def compute(self, predictions, references):
            assert len(predictions) % 2 == 0
            return sum(predictions) / len(predictions)

    metric = user_metric(Paired(), "paired", {})
    metric.clusters = array("q", np.repeat(range(30), 2))
    scores = np.repeat(np.random.default_rng(6).normal(size=30), 2)
    metric.update(scores.tolist(), [None] * 60)
    result = metric.result()
    plain = bootstrap_mean(scores[::2], float(scores.mean()))
    assert (result.low, result.high) == pytest.approx(plain)
