"""Which rows a result has, by what the suite says of answers and metrics."""

from __future__ import annotations

import pytest

from pytest_evalrun.suite.answering import metric_rows
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.settings import resolve

TWO = {"strict": {"after": "x"}, "loose": {"regex": "x"}}
ROWS = {
    "no answer": (None, ["top1"], [("top1", "")]),
    "one answer": ({"after": "x"}, ["top1"], [("top1", ""), ("unanswered", "")]),
    "several": (
        TWO,
        ["top1", "majority"],
        [
            ("top1@strict", ""),
            ("top1@loose", ""),
            ("majority@strict", "top1@strict"),
            ("majority@loose", "top1@loose"),
            ("unanswered@strict", ""),
            ("unanswered@loose", ""),
        ],
    ),
    "of a renamed metric": (
        None,
        [{"top1": {"name": "a"}}, "mae", {"pass_at": {"k": [1, 2], "of": "mae"}}],
        [("a", ""), ("mae", ""), ("pass_at_1", "mae"), ("pass_at_2", "mae")],
    ),
    "of the first that scores": (None, ["majority", "mae"], [("majority", "mae"), ("mae", "")]),
    "of a judge, who reads all": (
        TWO,
        ["judge", "majority"],
        [
            ("judge", ""),
            ("majority@strict", "judge"),
            ("majority@loose", "judge"),
            ("unanswered@strict", ""),
            ("unanswered@loose", ""),
        ],
    ),
}


@pytest.mark.parametrize(("answer", "metrics", "rows"), ROWS.values(), ids=ROWS)
def test_rows_of_a_result(answer, metrics, rows):
    """Each metric has a row a kind of answer; what is made of scores knows whose; the share without one stands last."""
    settings = resolve([Layer("suite", "evalrun.yaml", {"metrics": metrics, "answer": answer})])
    assert [(row.name, row.of) for row in metric_rows(settings)] == rows


def test_a_higher_layer_says_another_answer_as_a_whole():
    """The ways of two layers are not mixed: each stands alone."""
    layers = [
        Layer("suite", "evalrun.yaml", {"answer": {"after": "x", "strip": False}}),
        Layer("dataset", "evalrun.yaml", {"answer": {"regex": "y"}}),
    ]
    assert resolve(layers).answer == {"regex": "y"}
