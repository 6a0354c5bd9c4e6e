"""Every suite is made of this: ``evalrun.yaml`` is collected as if it held this one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_evalrun.suite.pairs import Pair


class Judged(Protocol):
    """The one thing that this test asks of the fixture ``evaluation``."""

    def check_gates(self) -> None:
        """Fail the test where a gate is breached."""


def test_pair(pair: Pair, evaluation: Judged) -> None:  # noqa: ARG001 - its name is in reports
    """Infrastructure trouble was the fixture's, so that a failure here always means quality."""
    evaluation.check_gates()
