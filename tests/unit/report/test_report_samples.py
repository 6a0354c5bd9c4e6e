"""The samples behind a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.report.sampleinputs import Inputs
from pytest_evalrun.report.samples import worst, wrong


@pytest.fixture
def pair(run, metric):
    """Six samples; the lower mae the better; sample 5 failed."""
    metrics = {"confusion": 0.6, "top1": 0.6, "mae": metric(1.0, better="lower")}
    run.result("s", "t", "d", metrics=metrics, total=6, failed=1)
    lines = [run.line((i, i % 3, 0)) for i in (4, 1, 0, 2, 3)]
    failed = run.line((5, None, 0)) | {"status": "failed", "error": "OSError: gone"}
    run.predictions("s", "t", "d", [*lines, failed])
    scores = [{"index": i, "confusion": None, "top1": float(i % 3 == 0), "mae": i % 3} for i in range(5)]
    run.scores("s", "t", "d", scores)
    return run.key("s", "t", "d")


def test_worst_by_the_first_metric_with_scores(run, pair):
    """Where higher is better, the lowest scores are worst; ties in dataset order."""
    assert [(s.metric, s.index, s.score) for s in worst(run.paths, pair, n=2)] == [("top1", 1, 0.0), ("top1", 2, 0.0)]


def test_worst_where_lower_is_better(run, pair):
    """The result says which end is worst."""
    found = worst(run.paths, pair, "mae", n=3)
    assert [(s.index, s.score) for s in found] == [(2, 2), (1, 1), (4, 1)]
    assert [s.id for s in found] == ["s2", "s1", "s4"]
    assert [(s.prediction, s.reference) for s in found] == [(2, 0), (1, 0), (1, 0)]


def test_wrong_are_the_samples_scored_zero(run, pair):
    """In dataset order; a failed sample is no wrong answer."""
    assert [s.index for s in wrong(run.paths, pair)] == [1, 2, 4]


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        pytest.param(lambda p, k: worst(p, k, "psnr"), "metric psnr: no scores.*top1, mae", id="unknown metric"),
        pytest.param(lambda p, k: worst(p, k, "confusion"), "confusion: no scores", id="metric without scores"),
        pytest.param(lambda p, k: list(wrong(p, k, "mae")), "metric mae: .*right or wrong.*: top1", id="not binary"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(run, pair, ask, text):
    """The message names the metrics that fit."""
    with pytest.raises(ConfigError, match=text):
        ask(run.paths, pair)


def test_no_metric_is_right_or_wrong(run):
    """Then --wrong has no meaning, and says so."""
    run.result("s", "t", "d", metrics={"psnr": 30.0})
    run.predictions("s", "t", "d", [(0, 1, 1)])
    run.scores("s", "t", "d", [{"index": 0, "psnr": 30.5}])
    with pytest.raises(ConfigError, match=r"the metrics psnr: .*none of this pair has"):
        list(wrong(run.paths, run.key("s", "t", "d")))


def test_a_pair_without_scores_is_refused(run):
    """A pair that was not scored has no samples to show."""
    run.result("s", "t", "d", status="error")
    with pytest.raises(ConfigError, match="no scored samples yet"):
        worst(run.paths, run.key("s", "t", "d"))


def test_a_file_that_the_model_wrote_is_named(run):
    """Its path is whole, so that it can be opened."""
    run.result("s", "t", "d", metrics={"psnr": 30.0})
    run.predictions("s", "t", "d", [(0, {"file": "a b.png", "size": 3, "sha256": "0"}, "clean/a b.png")])
    run.scores("s", "t", "d", [{"index": 0, "psnr": 30.5}])
    found = worst(run.paths, run.key("s", "t", "d"))
    assert [str(run.paths.root / "outputs/s/t/d/a b.png")] == [s.file for s in found]


ASKED = {
    "one column": (("text",), lambda i: f"t{i}", ("text",), [("t1",), ("t2",), ("t4",)]),
    "several": (("id", "n"), lambda i: {"id": f"t{i}", "n": i}, ("input.id", "n"), [("t1", 1), ("t2", 2), ("t4", 4)]),
    "files": ((), lambda i: Path(f"/in/{i}.png"), ("input",), [("/in/1.png",), ("/in/2.png",), ("/in/4.png",)]),
    "all columns": ((), lambda i: {"a": i}, ("input",), [('{"a": 1}',), ('{"a": 2}',), ('{"a": 4}',)]),
    "an object": ((), lambda i: object(), ("input",), [("<object>",)] * 3),
}


@pytest.mark.parametrize(("names", "value", "columns", "cells"), ASKED.values(), ids=ASKED)
def test_samples_are_shown_with_what_was_asked(run, pair, names, value, columns, cells):
    """By the names that the suite has for it; for the worst as for the wrong ones, whatever their order."""
    inputs = Inputs(names, lambda: ((f"s{i}", value(i)) for i in range(6)))
    assert inputs.columns == columns
    assert [s.inputs for s in wrong(run.paths, pair, inputs=inputs)] == cells
    worst_first = [(s.index, s.inputs) for s in worst(run.paths, pair, "mae", n=3, inputs=inputs)]
    assert worst_first == [(2, cells[1]), (1, cells[0]), (4, cells[2])]


def test_of_a_dataset_that_changed_only_the_samples_that_are_left_have_an_input(run, pair):
    """By place and id; where it cannot be read any more the rest has none, and why is told."""

    def samples():
        yield from (("s0", "a"), ("other", "b"), ("s2", "c"))
        raise PairError("line 4 is torn")

    inputs = Inputs(("x",), samples)
    assert [s.inputs for s in wrong(run.paths, pair, inputs=inputs)] == [("",), ("c",), ("",)]
    assert inputs.problems == ["line 4 is torn"]


def test_of_a_suite_that_is_gone_there_are_no_inputs(run, pair):
    """And no column for them."""
    assert Inputs().columns == ()
    assert [s.inputs for s in wrong(run.paths, pair)] == [(), (), ()]


def test_of_several_answers_to_a_sample_each_is_shown_alone(run, metric):
    """As they are scored; lines that lie in no order are found too."""
    run.result("s", "t", "g", metrics={"exact_match": 0.5}, total=6)
    lines = [
        run.line((i, f"a{i}{g}", 0)) | {"generation": g} for i, g in ((1, 0), (0, 2), (0, 0), (1, 2), (0, 1), (1, 1))
    ]
    run.predictions("s", "t", "g", lines)
    scores = [{"index": i, "exact_match": float(g != i), "generation": g} for i in range(2) for g in range(3)]
    run.scores("s", "t", "g", scores)
    pair = run.key("s", "t", "g")
    assert [(s.index, s.generation, s.prediction) for s in wrong(run.paths, pair)] == [(0, 0, "a00"), (1, 1, "a11")]
    assert [s.prediction for s in worst(run.paths, pair, n=3)] == ["a00", "a11", "a01"]
