"""What differs of what scores depend on."""

from __future__ import annotations

import pytest

from pytest_evalrun.comparison.scoring import all_differs

SCORING = {"references": "aa", "metrics": {"top1": {"use": "top1", "version": 1}}}


@pytest.mark.parametrize("metrics", ["text", 3, ["top1"], None, {"top1": "text"}, {"top1": None}])
def test_what_somebody_wrote_in_the_place_of_metrics_is_no_difference(metrics):
    """It is of no metric."""
    assert [*all_differs(SCORING, {**SCORING, "metrics": metrics})] == []
    assert [*all_differs({**SCORING, "metrics": metrics}, SCORING)] == []


def test_another_version_is_told_by_the_metrics_name():
    """And other references before it."""
    other = {"references": "bb", "metrics": {"top1": {"use": "top1", "version": 2}}}
    assert [*all_differs(SCORING, other)] == ["the references differ", "metric top1: its version differs"]
