"""Rules of the metrics on class labels."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics import classification
from pytest_evalrun.metrics.classification import Confusion, MacroF1, Top1, TopK
from pytest_evalrun.metrics.intervals import wilson
from pytest_evalrun.metrics.macrof1 import MacroF1OfDraws


def library():
    """It takes half a second to import, which no collecting worker needs."""
    from sklearn import metrics

    return metrics


def noisy(n, classes, seed=0):
    rng = random.Random(seed)
    references = [rng.randrange(classes) for _ in range(n)]
    return [r if rng.random() < 0.7 else rng.randrange(classes) for r in references], references


def test_top1_compares_labels_not_types():
    """A model may say "7", 7 or 7.0, or a list best first; the label file may say any of them."""
    metric = Top1()
    assert metric.update(["7", 7.0, ["7", "8"], "07"], [7, "7", 7, 7]) == [1.0, 1.0, 1.0, 0.0]
    result = metric.result()
    assert (result.value, result.n, result.better) == (0.75, 4, "higher")
    assert (result.low, result.high) == wilson(3, 4)


def test_topk_looks_at_the_k_best():
    """The reference counts as found among the first k labels, not after them."""
    metric = TopK(k=2)
    assert metric.update([["a", "b", "c"]] * 3, ["a", "b", "c"]) == [1.0, 1.0, 0.0]
    assert metric.result().value == pytest.approx(2 / 3)


def test_topk_of_one_takes_a_bare_label():
    """With k = 1 a label alone is a list of one."""
    assert TopK(k=1).update(["a"], ["a"]) == [1.0]


@pytest.mark.parametrize("prediction", ["a", ["a", "b"], []], ids=["label", "short-list", "empty-list"])
def test_topk_needs_k_labels(prediction):
    """Fewer than k labels cannot be scored; the message says how to get more."""
    with pytest.raises(PairError, match=r"metric topk: the prediction is .*; it needs a list of at least 3 labels"):
        TopK(k=3).update([prediction], ["a"])


EVERY = [Top1, TopK, MacroF1, Confusion]


@pytest.mark.parametrize("metric", EVERY, ids=lambda made: made.name)
@pytest.mark.parametrize("strip", [True, False], ids=["strip", "to-the-letter"])
def test_blanks_around_a_label(metric, strip):
    """Blanks count unless ``strip`` is set, on either side."""
    params = {"strip": strip} | ({"k": 1} if metric is TopK else {})
    scores = metric(**params).update(["cat", "cat\n", " 7", ["a b "]], [" cat", "cat", 7, "a b"])
    assert scores == [float(strip)] * 4


@pytest.mark.parametrize("metric", EVERY, ids=lambda made: made.name)
def test_strip_is_on_or_off(metric):
    """Any other value is the user's mistake."""
    with pytest.raises(ConfigError, match=f"metric {metric.name}: strip is 'yes'; accepted: true, false"):
        metric(strip="yes")


@pytest.mark.parametrize("metric", EVERY, ids=lambda made: made.name)
@pytest.mark.parametrize("wanted", ["3.10", 3.1], ids=repr)
def test_fractions_are_labels_where_some_are_wanted(metric, wanted):
    """The number 3.1 may be the label 3.10 of a table, and a wrong answer to any other sample of it."""
    made = metric(k=1) if metric is TopK else metric()
    assert made.update([3.1, 0.5, 3.1], ["cat", 7, wanted]) == [0.0, 0.0, 1.0]
    assert 0 < made.result().value < 1


@pytest.mark.parametrize("metric", EVERY, ids=lambda made: made.name)
@pytest.mark.parametrize("reference", ["a", 1, "1.0", True], ids=repr)
def test_scores_are_no_labels(metric, reference):
    """Where no reference is a fraction, a fraction is a score or a probability that was taken for a label."""
    made = metric(k=1) if metric is TopK else metric()
    made.update([reference, 0.37], [reference, reference])
    with pytest.raises(PairError, match=f"metric {metric.name}: the prediction is 0.37; it needs a class label"):
        made.result()


@pytest.mark.parametrize("metric", [Top1, MacroF1, Confusion], ids=lambda made: made.name)
@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        pytest.param("a", None, "a sample has no reference; it needs a class label", id="no-reference"),
        pytest.param(None, "a", "the prediction is None; it needs a class label", id="no-prediction"),
        pytest.param(float("nan"), "a", "the prediction is nan; it needs a class label", id="nan"),
        pytest.param({"x": 1}, "a", "the prediction is a mapping {'x': 1}", id="mapping"),
        pytest.param([], "a", r"the prediction is a list \[\]", id="empty-list"),
        pytest.param("a", ["a"], r"the reference is a list \['a'\]; it needs a class label", id="reference-list"),
    ],
)
def test_unfit(metric, prediction, reference, message):
    """What is not a class label names the metric, what was found and what is needed."""
    with pytest.raises(PairError, match=f"metric {metric.name}: {message}"):
        metric().update([prediction], [reference])


def test_confusion_is_a_table_of_references_by_predictions():
    """Rows are references, columns predictions, labels in order of their number; the value is the accuracy."""
    metric = Confusion()
    assert metric.update([10, 9, "x"], ["10", 10, 9]) == [1.0, 0.0, 0.0]
    result = metric.result()
    assert result.table == {"labels": ["9", "10", "x"], "rows": [[0, 0, 1], [1, 1, 0], [0, 0, 0]]}
    assert result.value == pytest.approx(1 / 3)


def test_a_label_written_in_two_ways_is_one_class():
    """Classes are named as the references write them; a sample that is right lies on the diagonal."""
    metric = Confusion()
    assert metric.update([3, "3.10", 3.1, True], ["3.0", 3.1, "cat", "True"]) == [1.0, 1.0, 0.0, 1.0]
    result = metric.result()
    assert result.table == {
        "labels": ["3.0", "3.1", "True", "cat"],
        "rows": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]],
    }
    assert result.value == 0.75


def test_confusion_refuses_a_table_nobody_can_read():
    """Free text has no confusion matrix: beyond 1,000 labels it says so."""
    metric = Confusion()
    texts = [f"answer {i}" for i in range(classification.MAX_LABELS + 1)]
    metric.update(texts, texts)
    with pytest.raises(PairError, match="metric confusion: 1001 different labels; accepted: at most 1000"):
        metric.result()


@pytest.mark.parametrize("classes", [2, 7, 60], ids=lambda n: f"{n}-classes")
def test_macro_f1_is_that_of_all_samples(classes):
    """Counting cells instead of keeping samples changes nothing."""
    predictions, references = noisy(200, classes)
    metric = MacroF1()
    metric.update(predictions, references)
    expected = library().f1_score(references, predictions, average="macro", zero_division=0.0)
    assert metric.result().value == pytest.approx(expected)


def test_macro_f1_of_draws_is_that_of_each_draw():
    """The vectorised F1 of the bootstrap is the library's, draw by draw, also where a class is missing."""
    rows, columns = np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 0, 3])
    drawn = np.array([[5, 1, 3, 2, 4], [0, 0, 4, 1, 0], [1, 0, 0, 0, 0]])
    expected = [
        library().f1_score(np.repeat(rows, counts), np.repeat(columns, counts), average="macro", zero_division=0.0)
        for counts in drawn
    ]
    assert MacroF1OfDraws(rows, columns)(drawn) == pytest.approx(expected)


def test_macro_f1_interval_is_that_of_resampled_samples():
    """Drawing cells from a multinomial gives the interval that resampling samples gives."""
    predictions, references = noisy(300, 4)
    metric = MacroF1()
    metric.update(predictions, references)
    result = metric.result()
    rng = np.random.default_rng(9)
    left, right = np.array(references), np.array(predictions)
    picks = [rng.integers(0, 300, 300) for _ in range(200)]
    draws = [library().f1_score(left[pick], right[pick], average="macro") for pick in picks]
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(draws, (2.5, 97.5))), abs=0.02)


def test_one_sample():
    """A single sample has the value as interval, not NaN."""
    metric = MacroF1()
    metric.update(["a"], ["a"])
    result = metric.result()
    assert (result.value, result.low, result.high) == (1.0, 1.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 10**6)), min_size=1, max_size=36))
def test_macro_f1_and_confusion_are_the_librarys(cells):
    """To the last digit, so that a gate on an older result holds as it did; whatever classes are missing where."""
    f1, confusion = MacroF1(), Confusion()
    merged = Counter()
    for reference, prediction, count in cells:
        merged[reference, prediction] += count
    for metric in (f1, confusion):
        metric._cells.update({(int, reference, int, found): n for (reference, found), n in merged.items()})
    references, predictions = zip(*merged, strict=True)
    told = {"sample_weight": list(merged.values())}
    expected = library().f1_score(references, predictions, average="macro", zero_division=0.0, **told)
    assert f1.result().value == pytest.approx(expected, rel=1e-15, abs=0)
    labels = sorted({*references, *predictions})
    if len(labels) > 1:
        table = library().confusion_matrix(references, predictions, labels=labels, **told).tolist()
        assert confusion.result().table == {"labels": [str(label) for label in labels], "rows": table}
