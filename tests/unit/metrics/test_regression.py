"""Rules of the metrics on numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import PairError
from pytest_evalrun.metrics.regression import R2, WORST, MeanAbsoluteError, RootMeanSquaredError

ALL = pytest.mark.parametrize("metric", [MeanAbsoluteError, RootMeanSquaredError, R2], ids=lambda made: made.name)


def scored(metric, predictions, references):
    made = metric()
    return made.update(predictions, references), made.result()


@pytest.mark.parametrize(
    ("metric", "value", "scores", "better"),
    [
        pytest.param(MeanAbsoluteError, 1.0, [1.0, 0.0, 2.0, 1.0], "lower", id="mae"),
        pytest.param(RootMeanSquaredError, 1.5**0.5, [1.0, 0.0, 2.0, 1.0], "lower", id="rmse"),
        pytest.param(R2, 1 - 6 / 5, [None] * 4, "higher", id="r2"),
    ],
)
def test_value(metric, value, scores, better):
    """The value is the textbook one, the per-sample score how far off a sample is; r2 has none of a single sample."""
    found, result = scored(metric, [2, 2, 5, 3.0], [1, 2, 3, 4])
    assert found == scores
    assert (result.value, result.n, result.better) == (pytest.approx(value), 4, better)
    assert result.low < result.value < result.high


LIBRARY = {MeanAbsoluteError: "mean_absolute_error", RootMeanSquaredError: "root_mean_squared_error", R2: "r2_score"}
NUMBERS = st.floats(-1e9, 1e9) | st.integers(-3, 3)


@ALL
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=60))
def test_values_are_the_librarys(metric, pairs):
    """To the last digit, so that a gate on an older result holds as it did; without variance it is 0 or 1."""
    predictions, references = zip(*pairs, strict=True)
    from sklearn import metrics  # half a second, which no collecting worker needs

    library = getattr(metrics, LIBRARY[metric])
    expected = float(library(np.array(references, float), np.array(predictions, float)))
    found = scored(metric, predictions, references)[1].value
    assert found == pytest.approx(max(expected, WORST), rel=1e-15, abs=0)


@ALL
@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        pytest.param("abc", 1, "the prediction is text 'abc'; it needs a finite number", id="text"),
        pytest.param("1_000", 1, "the prediction is text '1_000'", id="underscore"),
        pytest.param(1, "nan", "the reference is text 'nan'", id="nan-as-text"),
        pytest.param(1, "1e999", "the reference is text '1e999'", id="text-beyond-floats"),
        pytest.param("", 1, "the prediction is text ''", id="empty"),
        pytest.param([1.0], 1, r"the prediction is a list \[1.0\]", id="list"),
        pytest.param(True, 1, "the prediction is a truth value True", id="bool"),
        pytest.param(float("nan"), 1, "the prediction is nan", id="nan"),
        pytest.param(1, float("-inf"), "the reference is -inf", id="inf"),
        pytest.param(10**400, 1, "the prediction is 1000", id="beyond-floats"),
        pytest.param(1, None, "a sample has no reference; it needs a finite number", id="no-reference"),
    ],
)
def test_unfit(metric, prediction, reference, message):
    """What is not a finite number names the metric, what was found and what is needed."""
    with pytest.raises(PairError, match=f"metric {metric.name}: {message}"):
        metric().update([prediction], [reference])


@pytest.mark.parametrize("text", ["3", "3.0", " 3 ", "0.3e1", "003", "+3"], ids=repr)
def test_text_is_read_as_the_number_that_it_spells(text):
    """A cell of CSV is text until a metric needs a number, and may spell it in any way."""
    assert MeanAbsoluteError().update([text, 3], [4, text]) == [1.0, 0.0]


@pytest.mark.parametrize("metric", [MeanAbsoluteError, RootMeanSquaredError], ids=lambda made: made.name)
def test_one_sample(metric):
    """A single sample has the value as interval."""
    _, result = scored(metric, [1.5], [1.0])
    assert (result.value, result.low, result.high) == (0.5, 0.5, 0.5)


def test_r2_needs_two_samples():
    """One sample has no variance to explain."""
    with pytest.raises(PairError, match="metric r2: 1 sample scored; it needs at least 2"):
        scored(R2, [1.0], [1.0])


def test_r2_of_constant_references_is_finite():
    """Without variance r2 is 0, or 1 for perfect predictions, as the library has it: never NaN."""
    assert scored(R2, [1.0, 2.0], [3.0, 3.0])[1].value == 0.0
    perfect = scored(R2, [3.0, 3.0], [3.0, 3.0])[1]
    assert (perfect.value, perfect.low, perfect.high) == (1.0, 1.0, 1.0)


def test_r2_interval_leaves_out_draws_without_variance():
    """Two samples: half of the draws repeat one; none of them makes the interval explode."""
    result = scored(R2, [0.1, 0.9], [0.1, 1.1])[1]
    assert -1 < result.low <= result.value <= result.high <= 1


@ALL
def test_a_result_beyond_floats_is_an_error(metric):
    """Finite numbers whose error is not finite are refused: JSON has no infinity."""
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(PairError, match=f"metric {metric.name}: "):
        scored(metric, [1e308, -1e308], [-1e308, 1e308])


def test_a_failed_chunk_leaves_the_metric_usable():
    """Predictions and references stay side by side when a chunk is refused."""
    metric = MeanAbsoluteError()
    with pytest.raises(PairError):
        metric.update([1.0, 2.0], [1.0, None])
    metric.update([1.0], [2.0])
    assert metric.result().n == 1
