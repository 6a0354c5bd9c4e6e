"""Rules of a metric that the user wrote."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.intervals import wilson
from pytest_evalrun.metrics.protocol import MetricValue
from pytest_evalrun.metrics.user import user_metric


def distance(prediction, reference, scale=1):
    return abs(prediction - reference) * scale


distance.better = "lower"


def same(prediction, reference):
    return prediction == reference


class Scored:
    """A score a sample."""

    def __init__(self, plus=0):
        self.plus = plus

    def score(self, prediction, reference):
        return None if reference is None else np.float32(prediction - reference + self.plus)


class Median:
    """A value over all samples."""

    better = "lower"

    def compute(self, predictions, references):
        return np.median(np.abs(np.subtract(predictions, references)))


class Both(Median):
    """A score a sample beside a value over all."""

    def score(self, prediction, reference):
        return abs(prediction - reference)


class Full:
    """A metric that does all itself."""

    better = "higher"

    def update(self, predictions, references):
        return [None] * len(predictions)

    def result(self):
        return MetricValue(1.0, 1, 1.0, 1.0, "higher")


def made(found, **params):
    return user_metric(found, "./m.py:Name", params)


def test_function_with_parameters():
    """A function scores a sample with its parameters; the metric is the mean, ``better`` its attribute."""
    metric = made(distance, scale=2)
    assert metric.update([1, 2], [0, 0]) == [2.0, 4.0]
    result = metric.result()
    assert (result.value, result.n, result.better) == (3.0, 2, "lower")
    assert result.low <= 3.0 <= result.high


def test_truth_values_are_a_proportion():
    """A function that says right or wrong gets Wilson's interval, and higher is better unless it says otherwise."""
    metric = made(same)
    assert metric.update(["a", "b", "c"], ["a", "b", "x"]) == [1.0, 1.0, 0.0]
    result = metric.result()
    assert (result.low, result.high, result.better) == (*wilson(2, 3), "higher")


def test_class_with_score():
    """A class is made with its parameters; a sample without a score counts in nothing."""
    metric = made(Scored, plus=1)
    assert metric.update([1, 2, 3], [1, 1, None]) == [1.0, 2.0, None]
    assert (metric.result().value, metric.result().n) == (1.5, 2)


def test_class_with_compute():
    """A value over all samples comes with a bootstrap interval over samples, whatever the chunks were."""
    whole, pieces = made(Median), made(Median)
    data = [float(i % 13) for i in range(65)]
    assert whole.update(data, [0.0] * 65) == [None] * 65
    for low in range(0, 65, 7):
        pieces.update(data[low : low + 7], [0.0] * len(data[low : low + 7]))
    result = whole.result()
    assert result == pieces.result()
    assert (result.value, result.n, result.better) == (6.0, 65, "lower")
    assert result.low < 6.0 < result.high


def test_class_with_both():
    """With both, score says what a sample is worth and compute what the metric is."""
    metric = made(Both)
    assert metric.update([1, 2, 9], [0, 0, 0]) == [1.0, 2.0, 9.0]
    assert metric.result().value == 2.0


def test_compute_may_fail_on_a_resample():
    """A resample may lack a class; those draws are left out of the interval."""

    class Fussy:
        def compute(self, predictions, references):
            if len(set(references)) < 2:
                raise ValueError("only one class")
            return 0.5

    metric = made(Fussy)
    metric.update([0, 1], [0, 1])
    assert (metric.result().low, metric.result().high) == (0.5, 0.5)


def test_full_metric_is_taken_as_it_is():
    """A class with update and result is a metric; nothing is wrapped around it."""
    assert isinstance(made(Full), Full)


@pytest.mark.parametrize(
    ("found", "params", "message"),
    [
        pytest.param(distance, {"size": 1}, r"'size'; it accepts \(prediction, reference, scale=1\)", id="function"),
        pytest.param(Scored, {"size": 1}, r"'size'; it accepts \(plus=0\), found parameters {'size': 1}", id="class"),
        pytest.param(lambda prediction: 1, {}, "too many positional arguments", id="one-argument"),
        pytest.param(type("Odd", (), {"better": "up"}), {}, "neither a function .* it has: better", id="no-method"),
        pytest.param(type("Up", (Scored,), {"better": "up"}), {}, "better is 'up'; accepted: 'higher'", id="better"),
        pytest.param(3.5, {}, "neither a function", id="number"),
        pytest.param(type("B", (Scored,), {"bounds": (1, 0)}), {}, r"bounds is \(1, 0\); accepted: two", id="turned"),
        pytest.param(type("B", (Full,), {"bounds": 1}), {}, "bounds is 1; accepted: two numbers", id="one-bound"),
        pytest.param(type("B", (Full,), {"bounds": (0, float("inf"))}), {}, "bounds is", id="endless"),
        pytest.param(type("B", (Full,), {"bounds": (0, "1")}), {}, "bounds is", id="text-bound"),
    ],
)
def test_the_users_mistakes(found, params, message):
    """What is no metric, or takes other parameters, is told from an error inside the user's code."""
    with pytest.raises(ConfigError, match=f"metric ./m.py:Name: .*{message}"):
        made(found, **params)


def test_scores_are_held_to_the_bounds_that_are_declared():
    """An attribute of a function or class; what is rounded beyond them is within, and what lies outside is refused."""

    def likeness(prediction, reference):
        return prediction - reference

    likeness.bounds = [-1, 1]
    metric = made(likeness)
    assert metric.bounds == (-1.0, 1.0)
    assert metric.update([1.0000001, -1, 0.5], [0, 0, 0]) == [1.0, -1.0, 0.5]
    assert metric.result().value == pytest.approx(0.5 / 3, abs=1e-12)
    with pytest.raises(PairError, match=r"m.py:Name: the score 1.5 is outside of the bounds that it declares, -1 to 1"):
        metric.update([1.5], [0])
    assert (made(distance).bounds, made(type("Half", (Scored,), {"bounds": (0, 0.5)})).bounds) == (None, (0.0, 0.5))


@pytest.mark.parametrize("score", ["0.5", float("nan"), [1], None], ids=repr)
def test_scores_must_be_numbers(score):
    """A score that is no finite number ends the pair, naming what was returned; None alone means no score."""
    metric = made(lambda prediction, reference: score)
    if score is None:
        assert metric.update([1], [1]) == [None]
        with pytest.raises(PairError, match="no sample to score"):
            metric.result()
    else:
        with pytest.raises(PairError, match=r"metric ./m.py:Name: score returned .*; it needs a finite number"):
            metric.update([1], [1])


def test_an_error_inside_the_users_code_is_shown_as_it_is():
    """Their traceback is the best message: nothing is wrapped around it."""

    def broken(prediction, reference):
        raise KeyError("answer")

    with pytest.raises(KeyError, match="answer"):
        made(broken).update([1], [1])


def test_a_callable_without_a_signature():
    """Some built-in callables do not tell their parameters; they are tried instead."""
    assert made(max).update([1, 5], [3, 4]) == [3.0, 5.0]
