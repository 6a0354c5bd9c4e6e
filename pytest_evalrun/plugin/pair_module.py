"""What every suite is made of: ``evalrun.yaml`` is collected as if it held this one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalrun.plugin.fixtures import EvaluationResult
    from pytest_evalrun.suite.pairs import Pair


def test_pair(pair: Pair, evaluation: EvaluationResult) -> None:  # noqa: ARG001 - its name is in reports
    """Infrastructure trouble was the fixture's, so that a failure here always means quality."""
    evaluation.check_gates()
