"""Rules of the 95 % intervals."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.metrics.intervals import (
    CHUNK_CELLS,
    MAX_CELLS,
    MAX_DRAWS,
    bootstrap,
    bootstrap_mean,
    chunks,
    interval_of_mean,
    percentiles,
    wilson,
)


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
