"""Parts that metrics share: errors for what does not fit, a result that JSON can hold, the share of right answers.

Plain Python, for it runs for each pair, however small.
"""

from __future__ import annotations

import math
import reprlib
from array import array
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.bounds import SHARE
from pytest_evalrun.metrics.intervals import share_interval, wilson
from pytest_evalrun.metrics.protocol import MetricValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.metrics.protocol import Better

_KINDS = {str: "text", list: "a list", tuple: "a list", dict: "a mapping", bool: "a truth value"}


def describe(value: Any) -> str:
    """A value as an error shows it: its kind and, shortened, the value itself."""
    if value is None:
        return "None"
    if type(value) in (int, float):
        return repr(value)
    return f"{_KINDS.get(type(value), type(value).__name__)} {reprlib.repr(value)}"


def switch(metric: str, key: str, value: Any) -> bool:
    """A parameter that is on or off. Raises ConfigError for anything else."""
    if type(value) is not bool:
        raise ConfigError(f"metric {metric}: {key} is {value!r}; accepted: true, false")
    return value


def unfit(metric: str, role: str, found: Any, needs: str) -> PairError:
    """The error for a prediction or reference that the metric cannot use."""
    if role == "reference" and found is None:
        return PairError(f"metric {metric}: a sample has no reference; it needs {needs} for every sample")
    return PairError(f"metric {metric}: the {role} is {describe(found)}; it needs {needs}")


def measured(
    metric: str,
    value: float,
    n: int,
    interval: tuple[float, float],
    better: Better,
    table: dict[str, Any] | None = None,
) -> MetricValue:
    """The result of a metric. The interval is widened to hold the value, which a percentile bootstrap need not."""
    low, high = min(interval[0], value), max(interval[1], value)
    if not (math.isfinite(value) and math.isfinite(low) and math.isfinite(high)):
        raise PairError(f"metric {metric}: the result is {value} [{low}, {high}] over {n} samples, not a finite number")
    return MetricValue(value, n, low, high, better, table)


def need_samples(metric: str, n: int, least: int = 1) -> None:
    """Refuse a result over too few samples."""
    if n == 0:
        raise PairError(f"metric {metric}: no sample to score")
    if n < least:
        raise PairError(f"metric {metric}: {n} sample scored; it needs at least {least}")


def library(metric: str, module: str, extra: str = "vision") -> Any:
    """Import what a metric is computed with; late, because most runs use few metrics. ``extra`` is what brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        remedy = f'pip install "pytest-evalrun[{extra}]"'
        raise PairError(f"metric {metric}: needs {module}, which cannot be imported ({error}): {remedy}") from error


class Proportion:
    """The share of samples for which :meth:`hit` holds, with Wilson's interval."""

    better: Better = "higher"
    bounds = SHARE
    name = ""
    # The sample of each row, from whoever feeds several rows a sample; then scores are kept, too.
    clusters: array[int] | None = None

    def __init__(self) -> None:
        self._n = 0
        self._hits = 0
        self._scores = array("d")

    def hit(self, prediction: Any, reference: Any) -> bool:
        """Tell whether the prediction is right; raises PairError where the two cannot be compared."""
        raise NotImplementedError

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        hit = self.hit
        scores: list[float | None] = [
            1.0 if hit(prediction, reference) else 0.0
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return self.count(scores)

    def unanswered(self, references: Sequence[Any]) -> list[float | None]:
        """Count samples whose prediction holds no answer: as wrong ones."""
        return self.count([0.0] * len(references))

    def count(self, scores: list[float | None]) -> list[float | None]:
        """Add samples by their scores, 0 or 1; the scores again."""
        self._n += len(scores)
        self._hits += scores.count(1.0)
        if self.clusters is not None:
            self._scores.extend(scores)  # type: ignore[arg-type]
        return scores

    def result(self) -> MetricValue:
        n, hits = self._n, self._hits
        need_samples(self.name, n)
        interval = wilson(hits, n) if self.clusters is None else share_interval(hits, self._scores, self.clusters)
        return measured(self.name, hits / n, n, interval, self.better)
