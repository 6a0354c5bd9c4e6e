"""Sides written by hand."""

from __future__ import annotations

from pytest_evalrun.comparison.side import SampleScores, Side


def side(scores, name="main", *, metric="top1", better="higher", value=None, scoring=None, saved=True, **told):
    """A side of one metric whose samples have these scores; None of one that has none.

    ``told``: more of the metric; ``rows`` of a whole side, in the place of scores.
    """
    rows = told.pop("rows", None)
    if rows is None:
        rows = [
            SampleScores(f"s{i}", "r", {metric: float(score)}) for i, score in enumerate(scores) if score is not None
        ]
    known = [row.scores[metric] for row in rows if metric in row.scores]
    if value is None:
        value = sum(known) / len(known) if known else 0.0
    metrics = {metric: {"value": value, "n": len(known), "low": value, "high": value, "better": better, **told}}
    return Side(name, "s/a/one", metrics, lambda: iter(rows), scoring or {}, saved)
