"""The interval of one value: by its scores, by statistics of a corpus, else what its result has."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_evalrun.comparison.side import SampleScores, Side
from pytest_evalrun.evaluation import intervals
from pytest_evalrun.evaluation.intervals import ValueInterval, interval_of
from pytest_evalrun.stats.estimate import IntervalEstimate
from pytest_evalrun.suite.gates import GateRules
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

RULES = GateRules()


def pair(**settings):
    layer = Layer("suite", "/suite/evalrun.yaml", settings)
    return Pair("s", "/suite", Task("t", None, "/suite"), Dataset("d", "/data"), (layer,))


def side(scores, value=None, statistics=(), clusters=(), **metric):
    told = {"value": sum(scores) / len(scores) if value is None else value, "n": len(scores), "better": "higher"}
    rows = [
        SampleScores(
            str(place),
            "r",
            {} if score is None else {"m": score},
            clusters[place] if clusters else None,
            {"m": statistics[place]} if statistics else {},
        )
        for place, score in enumerate(scores)
    ]
    return Side("run", "s/t/d", {"m": told | metric}, lambda: iter(rows))


def interval(made, rules=RULES, **settings):
    return interval_of(pair(**settings), made, "m", rules)


def test_scores_of_0_and_1():
    """A proportion's interval; narrower where less is asked of it."""
    found = interval(side([1.0] * 90 + [0.0] * 10, bounds=[0, 1])).estimate
    assert found.low < 0.9 < found.high
    assert not found.approximate
    narrow = interval(side([1.0] * 90 + [0.0] * 10, bounds=[0, 1]), GateRules(confidence=0.5)).estimate
    assert found.low < narrow.low < narrow.high < found.high


def test_scores_without_bounds_are_approximate():
    """How far a sample can lie off is known of those that were seen."""
    found = interval(side([1.0, 2.5, 4.0, 2.0] * 10))
    assert found.estimate.approximate
    assert found.worst == 3.0


TOO_FEW = {
    "exact": (False, 40, None, 0.01, None),
    "enough": (True, 400, None, 0.1, None),
    "too few": (True, 20, None, 0.1, "20 samples by t, which is approximate: 109 are needed"),
    "too few clusters": (True, 400, 20, 0.1, "20 clusters by t, which is approximate: 109 are needed"),
    "at the limit": (True, 400, None, 0.0, "400 samples by t, which is approximate: no number of them is enough"),
}


@pytest.mark.parametrize(("approximate", "n", "clusters", "margin", "told"), TOO_FEW.values(), ids=TOO_FEW)
def test_unseen_losses_must_not_cost_what_is_left(approximate, n, clusters, margin, told):
    """Of methods that are exact it is part of them."""
    estimate = IntervalEstimate(0.5, 0.4, 0.6, n, "t", approximate, clusters=clusters)
    assert ValueInterval(estimate, worst=3.0).too_few(margin) == told


def test_clusters_are_told_apart():
    """Their number counts, and it must be large enough; who has none of the column is in one together."""
    clusters = [str(place // 4) for place in range(100)]
    found = interval(side([1.0, 0.0, 1.0, 1.0] * 25, clusters=clusters), GateRules(cluster="passage")).estimate
    assert found.clusters == 25
    few = interval(side([1.0, 0.0] * 50), GateRules(cluster="passage"))
    assert (few.estimate, bool(few.problem)) == (None, True)


class Corpus:
    def values_of(self, rows):
        values = np.array([row[0] for row in rows], dtype=float)
        return lambda draws: draws @ values / draws.sum(axis=1)


def test_a_corpus_is_drawn_again(monkeypatch):
    """By what each sample adds to the value, where the metric can make a value of that."""
    monkeypatch.setattr(intervals, "metric_of_row", lambda name, pair: Corpus())
    made = side([None] * 60, value=0.7, statistics=[[1], [0], [1]] * 20)
    found = interval(made).estimate
    assert found.low < 2 / 3 < found.high
    assert found.approximate
    monkeypatch.setattr(intervals, "metric_of_row", lambda name, pair: None)
    assert interval(made).problem == "its metric cannot make a value of its statistics"


ALIKE = {
    "of a corpus": ([None] * 60, {"value": 1.0, "statistics": [[1]] * 60}, 1.0),
    "of a corpus with bounds": ([None] * 60, {"value": 1.0, "statistics": [[1]] * 60, "bounds": [0, 1]}, 1.0),
    "of a mean without bounds": ([2.0] * 60, {}, None),
}


@pytest.mark.parametrize(("scores", "metric", "worst"), ALIKE.values(), ids=ALIKE)
def test_where_nothing_differs(monkeypatch, scores, metric, worst):
    """The interval is what an unseen sample could do; of numbers that nobody has seen another of, nothing is known."""
    monkeypatch.setattr(intervals, "metric_of_row", lambda name, pair: Corpus())
    found = interval(side(scores, **metric))
    if worst is None:
        assert found.estimate is None
        assert found.problem
    else:
        assert found.worst == worst
        assert found.estimate.low < 1 < found.estimate.high


OWN = {
    "no mean": ({"low": 0.3, "high": 0.6}, RULES, {}, (0.3, 0.6)),
    "no interval": ({"low": 0.5, "high": 0.5}, RULES, {}, "its value is no mean of scores, and it has no interval"),
    "nobody knows": ({"low": None, "high": None}, RULES, {}, "its value is no mean of scores, and it has no interval"),
    "another confidence": (
        {"low": 0.3, "high": 0.6},
        GateRules(confidence=0.9),
        {},
        "its value is no mean of scores, and its interval is known at 0.95 alone, not at 0.9",
    ),
    "clusters": (
        {"low": 0.3, "high": 0.6},
        GateRules(cluster="passage"),
        {},
        "its value is no mean of scores, of which clusters would be known",
    ),
    "a program": (
        {"low": 0.5, "high": 0.5},
        RULES,
        {"adapter": "command", "command": ["x"], "results": "metrics.json"},
        "the program gives the value alone, and it has no interval",
    ),
}


@pytest.mark.parametrize(("metric", "rules", "settings", "expected"), OWN.values(), ids=OWN)
def test_what_is_no_mean_of_scores(metric, rules, settings, expected):
    """Its result's own interval, where that is of the confidence asked for and knows of clusters."""
    found = interval(side([1.0, 0.0, 1.0], value=0.5, **metric), rules, **settings)
    if isinstance(expected, str):
        assert (found.estimate, found.problem) == (None, expected)
    else:
        assert (found.estimate.low, found.estimate.high, found.estimate.n) == (*expected, 3)
        assert found.estimate.approximate


def ratio(rows):
    """A value of statistics: how large their mean is."""

    def values(draws):
        return (draws @ np.asarray(rows, dtype=float)) / draws.sum(axis=1)

    return values


@pytest.fixture
def _of_corpus(monkeypatch):
    made = SimpleNamespace(values_of=ratio)
    monkeypatch.setattr(intervals, "metric_of_row", lambda *_: made)


@pytest.mark.usefixtures("_of_corpus")
def test_a_corpus_of_few_samples_proves_nothing_close_to_its_limit():
    """The bootstrap draws what was seen alone: how much one sample can cost is asked of corpora, too."""
    few = interval(side([0.9, 1.0] * 4, 0.95, [0.9, 1.0] * 4, bounds=[0, 1]))
    assert few.estimate.approximate
    assert few.worst == 1.0
    assert few.too_few(0.05) is not None
    many = interval(side([0.9, 1.0] * 400, 0.95, [0.9, 1.0] * 400, bounds=[0, 1]))
    assert many.too_few(0.05) is None


@pytest.mark.usefixtures("_of_corpus")
def test_samples_that_add_nothing_are_in_no_cluster_of_a_corpus():
    """A sample may have a score and all the same not count for the value."""
    names = [str(place // 2) for place in range(40)]
    statistics = [None if place == 3 else place % 3 for place in range(40)]
    found = interval(side([1.0] * 40, 1.0, statistics, names), GateRules(cluster="passage"))
    assert found.estimate.clusters == 20
    assert found.estimate.n == 39


def test_the_mean_of_all_answers_is_a_mean_too():
    """Samples with several answers, some of which failed, count by their answers in the value of the result."""
    rows = [SampleScores(str(place), "r", {"m": place % 2}, answers=1 + place % 2) for place in range(60)]
    made = Side("run", "s/t/d", {"m": {"value": 2 / 3, "n": 90, "better": "higher"}}, lambda: iter(rows))
    assert interval(made).estimate is not None
