"""Metrics on numbers: scikit-learn's values to the last digit, without the second that its import takes."""

from __future__ import annotations

import math
import sys
from array import array
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import number_of
from pytest_evalrun.metrics.checks import measured, need_samples, unfit
from pytest_evalrun.metrics.intervals import bootstrap, bootstrap_mean, bootstrap_sums, clusters_of
from pytest_evalrun.metrics.resampled import table_of, values_of_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.metrics.protocol import Better, MetricValue
    from pytest_evalrun.stats.resampling import ValueOfDraws


def _number(metric: str, role: str, value: Any) -> float:
    """A cell of CSV is text: here somebody asks for the number that it spells."""
    number: Any = number_of(value) if type(value) is str else value
    try:
        if type(number) in (int, float) and math.isfinite(number):
            return float(number)
    except OverflowError:  # a whole number beyond all floats
        pass
    raise unfit(metric, role, value, "a finite number")


class _Numbers:
    """Two numbers a sample: 16 bytes."""

    better: Better = "lower"
    name = ""
    least = 1
    clusters: array[int] | None = None

    def __init__(self) -> None:
        self._predictions = array("d")
        self._references = array("d")
        self._last = 0

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        predicted = [_number(self.name, "prediction", value) for value in predictions]
        expected = [_number(self.name, "reference", value) for value in references]
        scores = [self.score(left, right) for left, right in zip(predicted, expected, strict=True)]
        self._predictions.extend(predicted)
        self._references.extend(expected)
        self._last = len(scores)
        return scores

    def score(self, prediction: float, reference: float) -> float | None:
        """Return how far off one sample is, in the unit of the data."""
        return abs(prediction - reference)

    def fed_last(self) -> Iterator[tuple[float, float]]:
        """Prediction and reference of the samples that were fed last."""
        start = len(self._predictions) - self._last
        return zip(self._predictions[start:], self._references[start:], strict=True)

    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import numpy as np

        need_samples(self.name, len(self._predictions), self.least)
        return np.frombuffer(self._predictions), np.frombuffer(self._references)


class MeanAbsoluteError(_Numbers):
    """The mean distance between prediction and reference."""

    name = "mae"

    def result(self) -> MetricValue:
        import numpy as np

        predictions, references = self._arrays()
        distances = np.abs(predictions - references)
        value = float(distances.mean())
        interval = bootstrap_mean(distances, value, self.clusters)
        return measured(self.name, value, len(references), interval, self.better)


class RootMeanSquaredError(_Numbers):
    """The root of the mean squared distance between prediction and reference."""

    name = "rmse"

    def statistic(self) -> list[float]:
        """The distances of the samples that were fed last."""
        return [abs(prediction - reference) for prediction, reference in self.fed_last()]

    def values_of(self, rows: Sequence[Any]) -> ValueOfDraws:
        """The value of each draw from samples with these distances."""
        import numpy as np

        distances = table_of(self.name, rows, 1)
        table = np.concatenate([distances**2, np.ones_like(distances)], axis=1)
        return values_of_sums(table, lambda sums: np.sqrt(sums[:, 0] / sums[:, 1]))

    def result(self) -> MetricValue:
        predictions, references = self._arrays()
        squares = (predictions - references) ** 2
        value = math.sqrt(squares.mean())
        low, high = bootstrap_mean(squares, value * value, self.clusters)
        return measured(
            self.name, value, len(references), (math.sqrt(max(0.0, low)), math.sqrt(max(0.0, high))), self.better
        )


WORST = -sys.float_info.max


class R2(_Numbers):
    """The share of the references' variance that the predictions explain; 1 or 0 where there is no variance."""

    better: Better = "higher"
    name = "r2"
    least = 2

    def score(self, prediction: float, reference: float) -> float | None:  # noqa: ARG002 - a share of all samples only
        return None

    def statistic(self) -> list[list[float]]:
        """Prediction and reference of the samples that were fed last."""
        return [list(pair) for pair in self.fed_last()]

    def values_of(self, rows: Sequence[Any]) -> ValueOfDraws:
        """The value of each draw from these predictions and references; NaN where a draw has no variance."""
        predictions, references = table_of(self.name, rows, 2).T
        return values_of_sums(_r2_sums(predictions, references), _r2_of_sums)

    def result(self) -> MetricValue:
        import numpy as np

        predictions, references = self._arrays()
        errors = ((references - predictions) ** 2).sum()
        spread = ((references - references.mean()) ** 2).sum()
        with np.errstate(over="ignore"):  # a variance of next to nothing: the worst number that JSON has, not -inf
            value = max(float(1 - errors / spread), WORST) if spread else float(errors == 0)
        if clusters_of(self.clusters) is None:
            interval = bootstrap(value, len(references), _R2OfDraws(predictions, references))
        else:
            sums = _r2_sums(predictions, references)
            interval = bootstrap_sums(value, sums, _r2_of_sums, self.clusters)
        return measured(self.name, value, len(references), interval, self.better)


class _R2OfDraws:
    """R2 of many resamples at once; NaN where a resample has no variance."""

    def __init__(self, predictions: NDArray[np.float64], references: NDArray[np.float64]) -> None:
        self._squared_errors = (predictions - references) ** 2
        self._centred = references - references.mean()

    def __call__(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        import numpy as np

        drawn = self._centred[rows]
        spread = drawn.var(axis=1)
        # A resample of one value repeated has a variance of rounding errors, not of data.
        varied = spread > 1e-12 * (drawn**2).mean(axis=1)
        errors = self._squared_errors[rows].mean(axis=1)
        with np.errstate(over="ignore"):
            ratio = np.divide(errors, spread, out=np.full(len(rows), np.nan), where=varied)
        return np.asarray(np.maximum(1.0 - ratio, WORST))


def _r2_sums(predictions: NDArray[np.float64], references: NDArray[np.float64]) -> NDArray[np.float64]:
    """What R2 is made of, a row a sample: one, the reference around the mean of all, its square, the squared error."""
    import numpy as np

    centred = references - references.mean()
    return np.stack([np.ones_like(centred), centred, centred**2, (predictions - references) ** 2], axis=1)


def _r2_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    n, total, squares, errors = sums.T
    spread = squares - total**2 / n
    varied = spread > 1e-12 * squares
    with np.errstate(over="ignore"):
        ratio = np.divide(errors, spread, out=np.full(len(sums), np.nan), where=varied)
    return np.asarray(np.maximum(1.0 - ratio, WORST))
