"""The module object of every suite: ``evalrun.yaml`` is collected as if it held this one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalrun.fixtures import EvaluationResult


def test_pair(evaluation: EvaluationResult) -> None:
    """Infrastructure trouble was the fixture's, so that a failure here always means quality."""
    evaluation.check_gates()
