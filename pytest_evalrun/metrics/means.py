"""Metrics that are the mean of a score a sample."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

from pytest_evalrun.metrics.bounds import SHARE
from pytest_evalrun.metrics.checks import measured, need_samples, unfit
from pytest_evalrun.metrics.intervals import interval_of_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.metrics.protocol import Better, MetricValue


class MeanOfScores:
    """The mean over samples of :meth:`score`, which is from 0 to 1; 8 bytes a sample."""

    better: Better = "higher"
    bounds = SHARE
    name = ""
    clusters: array[int] | None = None

    def __init__(self) -> None:
        self._scores = array("d")

    def score(self, prediction: Any, reference: Any) -> float:
        """Score one sample; raises PairError where the two cannot be compared."""
        raise NotImplementedError

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        scores: list[float | None] = [self.score(*pair) for pair in zip(predictions, references, strict=True)]
        self._scores.extend(scores)  # type: ignore[arg-type]
        return scores

    def unanswered(self, references: Sequence[Any]) -> list[float | None]:
        """Count samples whose prediction holds no answer: nothing of it is right."""
        self._scores.extend([0.0] * len(references))
        return [0.0] * len(references)

    def result(self) -> MetricValue:
        n = len(self._scores)
        need_samples(self.name, n)
        value = math.fsum(self._scores) / n
        interval = interval_of_mean(self._scores, value, self.clusters)
        return measured(self.name, value, n, interval, self.better, self.table())

    def table(self) -> dict[str, Any] | None:
        """What else the result has to show."""
        return None


def text_of(metric: str, role: str, value: Any) -> str:
    """Text as it is, a number as it is written; raises PairError for anything else."""
    if type(value) is str:
        return value
    if type(value) in (int, float, bool) and math.isfinite(value):
        from pytest_evalrun.datasets.values import written

        return written(value)
    raise unfit(metric, role, value, "text")


def texts_of(metric: str, reference: Any) -> list[str]:
    """The texts of which any is right: a list of them, or a single one."""
    if isinstance(reference, list | tuple) and reference:
        return [text_of(metric, "reference", each) for each in reference]
    if type(reference) is str or type(reference) in (int, float, bool):
        return [text_of(metric, "reference", reference)]
    raise unfit(metric, "reference", reference, "text, or a list of texts of which any is right")
