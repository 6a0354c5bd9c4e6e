"""Metrics on the answers of language models: the share without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.metrics.checks import Proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.metrics.protocol import Better


class Unanswered(Proportion):
    """The share of samples without an answer."""

    better: Better = "lower"
    name = "unanswered"

    def hit(self, prediction: Any, reference: Any) -> bool:  # noqa: ARG002 - whoever has a prediction here has an answer
        return False

    def note(self, count: int, missing: Sequence[int]) -> list[float | None]:
        """Count some samples, of which those at the places ``missing`` have no answer."""
        scores: list[float | None] = [0.0] * count
        for place in missing:
            scores[place] = 1.0
        return self.count(scores)
