"""Values that are no means, made of what each sample adds: what gates compare by drawing samples again."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_evalrun import metrics, registry
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.macrof1 import drawn_cells, drawn_labels
from pytest_evalrun.metrics.user import user_metric
from pytest_evalrun.suite.settings import MetricSpec

TEXTS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat"]), min_size=1, max_size=6).map(" ".join)
# The same class in several spellings, and classes that are told apart by their type alone.
LABELS = st.sampled_from([0, 1, "a", "b", "7", 7, "7.0", True, "true", "TRUE"])
QUARTERS = st.integers(-40, 40).map(lambda number: number / 4)
TASKS = st.sampled_from([{"status": "completed", "reward": reward} for reward in (0, 1)] + [{"status": "unknown"}])
VALUES = {
    "bleu": TEXTS,
    "chrf": TEXTS,
    "wer": TEXTS,
    "macro_f1": LABELS,
    "rmse": QUARTERS,
    "r2": QUARTERS,
    "cost_per_success": TASKS,
}


def create(name):
    return metrics.create_metric(MetricSpec(name, name), "/nowhere")


def fed(metric, pairs, costs=None):
    """The metric, fed one chunk further, and what it says each sample adds, as it is kept."""
    details = {} if costs is None else {"details": [{"cost": cost} for cost in costs]}
    metric.update([prediction for prediction, _ in pairs], [reference for _, reference in pairs], **details)
    return json.loads(json.dumps(metric.statistic()))


def value_of(metric):
    """The value; NaN where it has none that could be compared."""
    try:
        value = metric.result().value
    except PairError:
        return math.nan
    return math.nan if abs(value) > 1e300 else value


def resampled(rows, times):
    return [row for row, count in zip(rows, times, strict=True) for _ in range(count)]


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_value_of_draws_is_that_of_the_samples_that_were_drawn(name, data):
    """Each drawn once it is the result, whatever the chunks were; drawn otherwise, what a metric fed so would say."""
    pairs = data.draw(st.lists(st.tuples(VALUES[name], VALUES[name]), min_size=2, max_size=12))
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)).filter(any))
    costs = data.draw(st.lists(st.integers(0, 9), min_size=len(pairs), max_size=len(pairs)))
    costs = costs if name == "cost_per_success" else None
    cut = data.draw(st.integers(0, len(pairs)))
    metric = create(name)
    rows = fed(metric, pairs[:cut], costs and costs[:cut]) + fed(metric, pairs[cut:], costs and costs[cut:])
    again = create(name)
    fed(again, resampled(pairs, times), costs and resampled(costs, times))
    found = create(name).values_of(rows)(np.asarray([[1] * len(pairs), times]))
    expected = [value_of(metric), value_of(again)]
    if name == "r2":  # of no variance it is 1 or 0 by agreement alone, which is no value of a draw
        references = [reference for _, reference in pairs], [pair[1] for pair in resampled(pairs, times)]
        expected = [value if len({*drawn}) > 1 else math.nan for value, drawn in zip(expected, references, strict=True)]
    assert found.tolist() == [pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True) for value in expected]


@given(st.lists(st.tuples(LABELS, LABELS | st.none()), min_size=1, max_size=10), st.data())
@settings(max_examples=60, deadline=None)
def test_macro_f1_counts_samples_without_an_answer_in_draws(pairs, data):
    """Of a class that misses them, and of no class of their own."""
    metric, rows = create("macro_f1"), []
    for reference, prediction in pairs:
        if prediction is None:
            metric.unanswered([reference])
        else:
            metric.update([prediction], [reference])
        rows += metric.statistic()
    assert rows == [list(pair) for pair in pairs]
    drawn = data.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=12))
    again = create("macro_f1")
    for reference, prediction in drawn:
        again.unanswered([reference]) if prediction is None else again.update([prediction], [reference])
    times = [sum(row is pair for row in drawn) for pair in pairs]
    assume(sum(times) == len(drawn))  # equal pairs may be one object
    found = metric.values_of(rows)(np.asarray([[1] * len(rows), times]))
    assert found.tolist() == [pytest.approx(metric.result().value), pytest.approx(again.result().value)]


@given(
    st.lists(st.tuples(*[st.sampled_from(["a", "b", "7", 7, 1, True, "true"])] * 2), min_size=1, max_size=12), st.data()
)
def test_classes_that_no_draw_can_change_are_found_once(pairs, data):
    """The fast way through the cells that samples are in says what finding the classes of each draw says."""
    cells = [(type(wanted), wanted, type(predicted), predicted) for wanted, predicted in pairs]
    draws = data.draw(
        st.lists(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs)).filter(any), max_size=5)
    )
    counted = np.asarray([[1] * len(pairs), *draws])
    assert drawn_cells(cells)(counted).tolist() == pytest.approx(drawn_labels(cells)(counted).tolist())


def test_what_has_no_cost_adds_nothing():
    """As in the value, where samples without a cost are left out."""
    metric = create("cost_per_success")
    done = {"status": "completed", "reward": 1}
    details = [{"cost": 0.5}, None, {"cost": None}, {"cost": 2}]
    metric.update([done] * 4, [None] * 4, details=details)
    assert metric.statistic() == [[0.5, 1.0], None, None, [2.0, 1.0]]
    assert metric.values_of([[0.5, 1.0], [2.0, 1.0]])(np.asarray([[1, 1], [2, 0]])).tolist() == [1.25, 0.5]


@pytest.mark.parametrize("name", sorted(registry.names(registry.METRICS) - VALUES.keys()))
def test_all_others_are_means_of_their_scores(name):
    """Or, as `overall`, a number of which nobody knows what a sample has to do with it."""
    assert not hasattr(create(name), "statistic")


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("rows", [["x"], [[1, 2, 3]], [None], [[1.0, float("nan")]], [[{}, []]]], ids=repr)
def test_damaged_statistics_are_an_error(name, rows):
    """They come from a file that somebody may have changed: what was found is named."""
    with pytest.raises(PairError, match=f"metric {name}: "):
        create(name).values_of(rows)(np.asarray([[1]]))


class Ratio:
    """A user's value over all samples, and what a sample adds to it."""

    def compute(self, predictions, references):
        return sum(predictions) / sum(references)

    def statistic(self, prediction, reference):
        return [prediction, reference]

    def values_of(self, rows):
        table = np.asarray(rows)
        return lambda draws: (draws @ table)[:, 0] / (draws @ table)[:, 1]


def test_a_users_metric_may_say_what_a_sample_adds():
    """Of a class with score or compute, sample by sample."""
    metric = user_metric(Ratio, "./m.py:Ratio", {})
    metric.update([1, 2], [2, 2])
    assert metric.statistic() == [[1, 2], [2, 2]]
    metric.update([3], [4])
    assert metric.statistic() == [[3, 4]]
    assert metric.values_of([[1, 2], [2, 2], [3, 4]])(np.ones((1, 3), dtype=int)) == [metric.result().value]


@pytest.mark.parametrize("lacking", ["statistic", "values_of"])
def test_half_a_statistic_is_the_users_mistake(lacking):
    """One without the other could never be used."""
    found = type("Half", (Ratio,), {lacking: None})
    there = {"statistic": "values_of", "values_of": "statistic"}[lacking]
    with pytest.raises(
        ConfigError, match=f"metric ./m.py:Half: it has {there} alone; accepted: statistic and values_of"
    ):
        user_metric(found, "./m.py:Half", {})
