"""A pair of a run as a side: scores beside the references of predictions."""

from __future__ import annotations

import hashlib
import json

import pytest
from handmade import HandMadeRun

from pytest_evalrun.comparison.runside import reference_digest, run_side
from pytest_evalrun.errors import PairError

METRICS = {"top1": {"value": 0.5, "n": 2, "low": 0, "high": 1, "better": "higher"}}


@pytest.fixture
def run(tmp_path):
    return HandMadeRun(tmp_path / "run")


def rows(run, metrics=METRICS, **options):
    paths = run.paths.pair(run.key("s", "a", "one"))
    return [*run_side("run", "s/a/one", paths, metrics, {}, **options).rows()]


def both(run, scores, references=None):
    """Predictions and scores of the samples with these lines of scores."""
    indexes = dict.fromkeys((line["index"], line.get("generation")) for line in scores)
    lines = [
        run.line((i, "p", (references or {}).get(i, "r"))) | ({} if g is None else {"generation": g})
        for i, g in indexes
    ]
    run.predictions("s", "a", "one", lines)
    run.scores("s", "a", "one", scores)


def test_the_digest_is_of_the_references_json():
    """As compact JSON has it, text by its letters and numbers as they are written."""
    for reference in ("cat", 7, 0.5, None, ["a", 1], {"b": 1, "a": [2]}, "größer", 2**70):
        text = json.dumps(reference, ensure_ascii=False, separators=(",", ":"))
        assert reference_digest(reference) == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert reference_digest(1) != reference_digest(True) != reference_digest(1.0)
    assert reference_digest("1") != reference_digest(1)


def test_samples_have_their_scores_and_the_digest_of_their_reference(run):
    """In dataset order; a metric without a score of the sample is left out, as is what is no metric of the result."""
    run.predictions("s", "a", "one", [(0, "p", "x"), (1, "p", "y"), (2, "p", "x")])
    lines = [{"index": 0, "top1": 1, "other": 1}, {"index": 1, "top1": None}, {"index": 2, "top1": 0}]
    run.scores("s", "a", "one", lines)
    first, second, third = rows(run)
    assert [row.id for row in (first, second, third)] == ["s0", "s1", "s2"]
    assert [row.scores for row in (first, second, third)] == [{"top1": 1.0}, {}, {"top1": 0.0}]
    assert first.reference == third.reference == reference_digest("x") != second.reference


def test_a_sample_that_failed_is_no_row(run):
    """It has a prediction and no score."""
    run.predictions("s", "a", "one", [(0, "p", "x"), (1, "p", "y"), (2, "p", "x")])
    run.scores("s", "a", "one", [{"index": 0, "top1": 1}, {"index": 2, "top1": 0}])
    assert [row.id for row in rows(run)] == ["s0", "s2"]


def test_several_answers_to_a_sample_are_one_row_with_their_mean(run):
    """Of those that were scored; an answer that failed is not among them."""
    scores = [(0, 0, 1), (0, 1, 0), (1, 0, 1), (2, 0, None), (2, 1, 1)]
    both(run, [{"index": i, "generation": g, "top1": score} for i, g, score in scores])
    found = rows(run)
    assert [(row.id, row.scores["top1"], row.answers) for row in found] == [
        ("s0", 0.5, 2),
        ("s1", 1.0, 1),
        ("s2", 1.0, 2),
    ]


def test_clusters_and_statistics_are_taken_along(run):
    """A cluster is text, whatever the data have; a statistic is what the metric said."""
    both(run, [{"index": 0, "top1": 1, "cluster": 7, "statistic": {"top1": [1, 2]}}, {"index": 1, "top1": 0}])
    first, second = rows(run)
    assert (first.cluster, first.statistics) == ("7", {"top1": [1, 2]})
    assert (second.cluster, second.statistics) == (None, {})


def test_lines_in_any_order_are_read_in_that_of_the_dataset(run):
    """The last line of a sample counts, as everywhere."""
    run.predictions("s", "a", "one", [(2, "p", "z"), (0, "p", "old"), (1, "p", "y"), (0, "p", "x")])
    run.scores("s", "a", "one", [{"index": 1, "top1": 0}, {"index": 0, "top1": 1}, {"index": 2, "top1": 1}])
    assert [(row.id, row.reference) for row in rows(run)] == [
        ("s0", reference_digest("x")),
        ("s1", reference_digest("y")),
        ("s2", reference_digest("z")),
    ]


def test_without_references_predictions_are_not_read(run):
    """They may be gone."""
    run.scores("s", "a", "one", [{"index": 0, "top1": 1}])
    assert [row.reference for row in rows(run, references=False)] == [""]


DAMAGE = {
    "no scores": (lambda run: run.predictions("s", "a", "one", [(0, "p", "r")]), "scores.jsonl: No such file"),
    "no predictions": (lambda run: run.scores("s", "a", "one", [{"index": 0, "top1": 1}]), "one.jsonl: No such file"),
    "other predictions": (
        lambda run: (
            run.scores("s", "a", "one", [{"index": 1, "top1": 1}]),
            run.predictions("s", "a", "one", [(0, "p", "r")]),
        ),
        "no prediction of sample s1",
    ),
    "a torn line": (
        lambda run: (
            run.predictions("s", "a", "one", [(0, "p", "r"), (1, "p", "r")]),
            run.write(run.paths.pair(run.key("s", "a", "one")).scores, '{"index":0,"id":"s0","top1":1}\n{"index":1,"i'),
        ),
        "scores.jsonl: line 2 cannot be read",
    ),
    "damage in the middle": (
        lambda run: (
            run.predictions("s", "a", "one", [(0, "p", "r")]),
            run.write(run.paths.pair(run.key("s", "a", "one")).scores, '{"index":0,"id":\n{"index":1,"id":"s1"}\n'),
        ),
        "scores.jsonl: line 1 cannot be read",
    ),
    "NaN": (
        lambda run: (
            run.predictions("s", "a", "one", [(0, "p", "r")]),
            run.write(run.paths.pair(run.key("s", "a", "one")).scores, '{"index":0,"id":"s0","top1":NaN}\n'),
        ),
        "sample s0: top1: found nan, accepted: finite numbers",
    ),
    "a score that is text": (
        lambda run: both(run, [{"index": 0, "top1": "1"}]),
        "sample s0: top1: found '1', accepted: finite numbers",
    ),
}


@pytest.mark.parametrize(("damage", "problem"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_an_error_that_names_file_and_line(run, damage, problem):
    """Nobody is compared with half of what there was."""
    damage(run)
    with pytest.raises(PairError) as raised:
        rows(run)
    assert problem in str(raised.value)
    assert "evaluate the pair again" in str(raised.value)
