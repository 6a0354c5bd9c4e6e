"""Metrics of agents: what counts as a success, and what samples took."""

from __future__ import annotations

import sys

import pytest

from pytest_evalrun import metrics
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.suite.settings import MetricSpec


def create(name, **params):
    return metrics.create_metric(MetricSpec(name, name, params), "/nowhere")


def ended(result=None, status="completed", **more):
    return {"status": status, "result": result, **more}


VERDICTS = {
    "true": (ended(True), 1),
    "false": (ended(False), 0),
    "one": (ended(1), 1),
    "zero": (ended(0.0), 0),
    "a field of AgentBench's os": (ended({"result": True}), 1),
    "a field of AgentBench's alfworld": (ended({"result": False, "log_info": {}}), 0),
    "the first that says so": (ended({"success": "no", "score": 0.5, "is_correct": True, "correct": False}), 1),
    "reward": (ended(False, reward=1.0), 1),
    "less reward": (ended(True, reward=0.99), 0),
    "no reward": (ended(True, reward=None), 1),
    "not completed": (ended(True, "task limit reached", reward=1.0), 0),
    "context limit": (ended(None, "agent context limit"), 0),
}


@pytest.mark.parametrize(("prediction", "score"), VERDICTS.values(), ids=VERDICTS)
def test_success_is_what_the_task_says(prediction, score):
    """Completed, and rewarded or true; any other end is none, whatever lies in it."""
    assert create("success").update([prediction], [None]) == [score]


FIELDS = {
    "deep": ("a.b[1]", ended({"a": {"b": [0, True]}}), 1),
    "number": ("f1", ended({"f1": 0.5}), 0),
    "of the metrics": ("em", ended({"f1": 1}, metrics={"em": 1.0}), 1),
    "before the reward": ("ok", ended({"ok": False}, reward=1.0), 0),
    "of what was not completed": ("ok", ended(None, "unknown"), 0),
}


@pytest.mark.parametrize(("field", "prediction", "score"), FIELDS.values(), ids=FIELDS)
def test_another_field_may_say_it(field, prediction, score):
    """``field`` is a path in the result, or in the metrics beside it."""
    assert create("success", field=field).update([prediction], [None]) == [score]


UNFIT = {
    "text": ({}, "A", "the prediction is text 'A'; it needs what an agent did"),
    "no status": ({}, {"result": True}, "it needs what an agent did"),
    "says nothing": (
        {},
        ended({"answer": 7}),
        r"its result is a mapping {'answer': 7}; it needs a reward, or a result",
    ),
    "no result": ({}, ended(None), "its result is None; it needs a reward"),
    "half right": ({}, ended({"score": 0.5}), "another one: `field: path.to.it`"),
    "no such field": ({"field": "a.b"}, ended({"a": 1}), "it needs the field a.b in it"),
    "a field of text": ({"field": "a"}, ended({"a": "yes"}), "the result is text 'yes'; it needs true, false or a num"),
}


@pytest.mark.parametrize(("params", "prediction", "problem"), UNFIT.values(), ids=UNFIT)
def test_what_says_nothing_of_success_is_an_error(params, prediction, problem):
    """A sample that nobody can judge is never counted, as a success or as none."""
    with pytest.raises(PairError, match=problem):
        create("success", **params).update([prediction], [None])


@pytest.mark.parametrize("name", ["success", "cost_per_success", "overall"])
@pytest.mark.parametrize("field", ["a..b", "a[b]", 7])
def test_field_that_is_no_path(name, field):
    """A mistake in a path names it."""
    with pytest.raises(ConfigError, match=rf"metric {name}: field is .*; accepted: a path such as path.to\[0\].it"):
        create(name, field=field)


@pytest.mark.parametrize("name", ["exact_match", "top1", "includes", "f1", "number", "choice", "json_match", "mae"])
def test_metrics_that_compare_say_what_they_miss(name):
    """A task has no references: a metric that needs one says so, or what else of an agent it cannot use."""
    metric = create(name)
    with pytest.raises(PairError, match=f"metric {name}: (a sample has no reference|the prediction is a mapping)"):
        metric.update([ended({"result": True})], [None])


DETAILS = [
    {"turns": 2, "usage": {"input": 100, "output": 10, "cached": 50}, "cost": 0.5},
    {"turns": 4, "usage": {"input": 300, "output": 30}, "cost": 0.25},
    {"turns": 3},
    None,
]
ENDS = [ended(True), ended(False), ended(True), ended(True)]


@pytest.mark.parametrize(
    ("name", "scores", "value", "n"),
    [
        ("turns", [2, 4, 3, None], 3.0, 3),
        ("tokens", [110, 330, None, None], 220.0, 2),
        ("cost_per_success", [0.5, 0.25, None, None], 0.75, 2),
    ],
)
def test_what_samples_took(name, scores, value, n):
    """Means over the samples that say it, and all costs over all successes; less is better."""
    metric = create(name)
    assert metric.update(ENDS, [None] * 4, details=DETAILS) == scores
    result = metric.result()
    assert (result.value, result.n, result.better) == (value, n, "lower")
    assert result.low <= value <= result.high


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("turns", "no sample says how many turns it took"),
        ("tokens", "no sample says how many tokens it took; the model must tell its `usage`"),
        ("cost_per_success", "no sample has a cost; give the `price` of the model's tokens"),
    ],
)
def test_what_nobody_says_is_an_error(name, problem):
    """Where no sample says it there is no number, and the error says who must tell it."""
    metric = create(name)
    metric.update(ENDS, [None] * 4, details=[{}, {"usage": None}, {"cost": True}, None])
    with pytest.raises(PairError, match=f"metric {name}: {problem}"):
        metric.result()


def test_without_a_success_the_price_is_beyond_all():
    """What never succeeds breaches every limit of its price, instead of being an error, or free."""
    metric = create("cost_per_success")
    metric.update([ended(False)], [None], details=[{"cost": 0.1}])
    assert metric.result().value == sys.float_info.max


@pytest.mark.parametrize("name", ["turns", "cost_per_success"])
def test_answers_to_one_sample_say_less(name):
    """Rows of one sample are a cluster: four of two samples leave more doubt than four samples."""
    details = [{"turns": turns, "cost": turns} for turns in (1, 1, 9, 9)] * 3
    alone, together = create(name), create(name)
    for metric in (alone, together):
        metric.update([ended(True)] * 12, [None] * 12, details=details)
    together.clusters = [0, 0, 1, 1] * 3
    wide, narrow = together.result(), alone.result()
    assert wide.value == narrow.value
    assert wide.high - wide.low > narrow.high - narrow.low


def said(custom=None, finished=2, total=2, **more):
    return {"total": finished, "custom": custom, "coverage": {"finished": finished, "total": total}, **more}


OVERALL = {
    "a path": (said({"overall": {"acc": 0.25, "n": 4}}), "overall.acc", 0.25),
    "all of it": (said(7), "", 7.0),
    "of AgentBench itself": ({"total": 2, "custom": {"acc": 1}}, "acc", 1.0),
}


@pytest.mark.parametrize(("told", "field", "value"), OVERALL.values(), ids=OVERALL)
def test_overall_is_the_tasks_own_number(told, field, value):
    """What calculate_overall returned is a metric by its path; no sample has a score of its own."""
    metric = create("overall", field=field)
    metric.overall = told
    assert metric.update(ENDS[:2], [None] * 2) == [None, None]
    result = metric.result()
    assert (result.value, result.low, result.high, result.n, result.better) == (value, value, value, 2, "higher")


REFUSED = {
    "no file": (None, "", "there is no overall.json of this pair"),
    "partial": (
        said({"acc": 1}, 1),
        "acc",
        "the task has said it of 1 of 2 samples; the same command asks for the rest",
    ),
    "failed": (said(custom_error="KeyError: 'x'"), "acc", "the task's calculate_overall failed: KeyError: 'x'"),
    "misspelt": (
        said({"overall": {"acc": 1, "n": 2}}),
        "overall.ac",
        "field: found 'overall.ac', which is None; did you mean 'overall.acc'\\? accepted: overall.acc, overall.n",
    ),
    "text": (
        said({"acc": "high"}),
        "acc",
        "field: found 'acc', which is text 'high'; accepted: the path of a number, and the task says none",
    ),
    "nothing named": (
        said({"acc": 1}),
        "",
        "the task says a mapping {'acc': 1}; name a number of it as `field`; accepted: acc",
    ),
}


@pytest.mark.parametrize(("told", "field", "problem"), REFUSED.values(), ids=REFUSED)
def test_overall_of_some_samples_is_none(told, field, problem):
    """A number that the task has not said of all samples is an error that tells why."""
    metric = create("overall", field=field)
    metric.overall = told
    metric.update(ENDS[:2], [None] * 2)
    with pytest.raises(PairError, match=f"metric overall: {problem}"):
        metric.result()


def test_overall_knows_two_directions():
    """Which way is better only the suite can say."""
    assert create("overall", better="lower").better == "lower"
    with pytest.raises(ConfigError, match="metric overall: better is 'less'; accepted: higher, lower"):
        create("overall", better="less")
