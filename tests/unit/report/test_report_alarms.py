"""Alarms of a run: over all of its results, each suite by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_evalrun.report.alarms import alarms_in
from pytest_evalrun.report.rows import Summary, SummaryRow
from pytest_evalrun.suite.pairs import PairKey

GATE = {"metric": "top1", "kind": "max_drop", "value": 0.5, "before": 0.75, "margin": 0.02, "baseline": "main"}
GATE |= {"limit": 0.73, "by": 0.23, "holds": False, "verdict": "FAIL", "tier": "critical", "p": 0.001}
GATE |= {"n": 400, "interval": [-0.3, -0.2], "discordance": 0.25, "confidence": 0.95}


def row(suite="digits", task="a", **more):
    key = PairKey(suite, task, "one")
    known = SummaryRow(suite, task, "one", None, key, "failed", {"top1": {"value": 0.5}}, {}, 1.0, (GATE,), None)
    return replace(known, **more)


def counts(*rows):
    return [(alarms.suite, alarms.gates) for alarms in alarms_in(Summary(rows))]


def test_each_suite_is_looked_at_by_itself():
    """In the order of its rows; a suite without such gates is not told of."""
    assert counts(row(), row(task="b"), row("letters"), row("words", gates=())) == [("digits", 2), ("letters", 1)]


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"gone": True}, id="no longer on disk"),
        pytest.param({"status": "error"}, id="values of an earlier evaluation"),
        pytest.param({"status": "skipped"}, id="skipped"),
        pytest.param({"shown": False, "limit": 5}, id="first samples of another launch"),
    ],
)
def test_what_does_not_count_is_no_alarm(odd):
    """As in the tables."""
    assert counts(row(), row(task="b", **odd)) == [("digits", 1)]


def test_first_samples_count_where_there_is_nothing_else():
    """Of one pair there is one comparison, that of all its samples if there is one."""
    assert counts(row(), row(limit=5)) == [("digits", 1)]
    assert counts(row(limit=5)) == [("digits", 1)]
