"""What every metric that counts right answers shares. Plain Python: it runs for each pair, however small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.metrics.checks import measured, need_samples
from pytest_evalrun.metrics.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.metrics.protocol import Better, MetricValue


class Proportion:
    """The share of samples for which :meth:`hit` holds, with Wilson's interval."""

    better: Better = "higher"
    name = ""

    def __init__(self) -> None:
        self._n = 0
        self._hits = 0

    def hit(self, prediction: Any, reference: Any) -> bool:
        """Whether the prediction is right; raises PairError where the two cannot be compared."""
        raise NotImplementedError

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        hit = self.hit
        scores: list[float | None] = [
            1.0 if hit(prediction, reference) else 0.0
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        self._n += len(scores)
        self._hits += scores.count(1.0)
        return scores

    def result(self) -> MetricValue:
        need_samples(self.name, self._n)
        return measured(self.name, self._hits / self._n, self._n, wilson(self._hits, self._n), self.better)
