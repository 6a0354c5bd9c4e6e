"""A metric that the user wrote: a function, or a class."""

from __future__ import annotations

import inspect
import math
from array import array
from typing import TYPE_CHECKING, Any, cast

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.bounds import bounds_of, held
from pytest_evalrun.metrics.checks import describe, measured, need_samples
from pytest_evalrun.metrics.intervals import bootstrap, clusters_of, interval_of_mean
from pytest_evalrun.metrics.resampled import check_statistic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.metrics.protocol import Better, Metric, MetricValue
    from pytest_evalrun.stats.resampling import ValueOfDraws

# A user's compute() is called once a draw: 2,000 draws of 1,000 samples keep a plain Python one at a few seconds.
COMPUTE_CELLS = 2_000_000


def user_metric(found: Any, ref: str, params: Mapping[str, Any]) -> Metric:
    """Make a metric of what a path led to.

    A function ``(prediction, reference, **params)`` scores one sample, the metric is the mean. A class is made with
    the parameters and has ``update`` and ``result`` (a full metric), or ``score(prediction, reference)``, or
    ``compute(predictions, references)`` over all samples, or both. ``better`` is an attribute, "higher" if missing;
    ``bounds`` is one, too: what scores are between, nothing if missing. One with ``score`` or ``compute`` may also have
    ``statistic(prediction, reference)``, what a sample adds to the value, and ``values_of`` as the protocol has it.
    """
    made = found
    if inspect.isclass(found):
        _check_call(found, ref, (), params)
        made = found(**params)
    if callable(getattr(made, "update", None)) and callable(getattr(made, "result", None)):
        _better(made, ref)
        bounds_of(made, ref)
        check_statistic(made, ref)
        return cast("Metric", made)
    score, compute = getattr(made, "score", None), getattr(made, "compute", None)
    if callable(score) or callable(compute):
        return UserMetric(ref, made, score, compute)
    if callable(made) and made is found:
        _check_call(made, ref, (None, None), params)
        return UserMetric(ref, made, _with_params(made, params), None)
    raise ConfigError(
        f"metric {ref}: neither a function (prediction, reference) nor a class with score, compute, or update and "
        f"result; it has: {', '.join(name for name in dir(made) if not name.startswith('_')) or 'nothing'}"
    )


class UserMetric:
    """The mean of a user's per-sample score, or the user's own value over all samples."""

    def __init__(
        self,
        ref: str,
        made: Any,
        score: Callable[[Any, Any], Any] | None,
        compute: Callable[[list[Any], list[Any]], Any] | None,
    ) -> None:
        self.better = _better(made, ref)
        self.bounds = bounds_of(made, ref)
        self.statistic: Callable[[], list[Any]] | None = None
        self.values_of: Callable[[Sequence[Any]], ValueOfDraws] | None = None
        if check_statistic(made, ref):
            self.statistic, self.values_of = self._statistics, made.values_of
            self._of_sample: Callable[[Any, Any], Any] = made.statistic
        self.clusters: array[int] | None = None
        self._ref = ref
        self._score = score
        self._compute = compute
        self._scores = array("d")
        # Kept only for a compute() over all samples; images are paths here, never pixels.
        self._predictions: list[Any] = []
        self._references: list[Any] = []
        self._last: tuple[Sequence[Any], Sequence[Any]] = ((), ())

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:
        self._last = predictions, references
        if self._compute is not None:
            self._predictions.extend(predictions)
            self._references.extend(references)
        if self._score is None:
            return [None] * len(predictions)
        scores = [self._scored(left, right) for left, right in zip(predictions, references, strict=True)]
        self._scores.extend(score for score in scores if score is not None)
        return scores

    def _statistics(self) -> list[Any]:
        return [self._of_sample(*pair) for pair in zip(*self._last, strict=True)]

    def result(self) -> MetricValue:
        if self._compute is not None:
            return self._computed(self._compute)
        n = len(self._scores)
        need_samples(self._ref, n)
        value = math.fsum(self._scores) / n
        return measured(self._ref, value, n, interval_of_mean(self._scores, value, self.clusters), self.better)

    def _scored(self, prediction: Any, reference: Any) -> float | None:
        assert self._score is not None
        score = self._score(prediction, reference)
        if score is None:
            return None
        number = _finite(self._ref, "score", score)
        return number if self.bounds is None else held(self._ref, number, self.bounds)

    def _computed(self, compute: Callable[[list[Any], list[Any]], Any]) -> MetricValue:
        n = len(self._predictions)
        need_samples(self._ref, n)
        value = _finite(self._ref, "compute", compute(self._predictions, self._references))
        units = self._units(n)
        cells = COMPUTE_CELLS * len(units) // n
        interval = bootstrap(value, len(units), self._draws_of(compute, units), cells)
        return measured(self._ref, value, n, interval, self.better)

    def _units(self, n: int) -> Sequence[Sequence[int]]:
        """What is drawn: each place alone, or all places of a sample that was asked several times."""
        places = clusters_of(self.clusters)
        if places is None:
            return [(place,) for place in range(n)]
        units: list[list[int]] = [[] for _ in range(int(places.max()) + 1)]
        for place, unit in enumerate(places.tolist()):
            units[unit].append(place)
        return units

    def _draws_of(
        self, compute: Callable[[list[Any], list[Any]], Any], units: Sequence[Sequence[int]]
    ) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
        import numpy as np

        def one(row: NDArray[np.intp]) -> float:
            places = [place for unit in row.tolist() for place in units[unit]]
            try:
                return float(compute([self._predictions[i] for i in places], [self._references[i] for i in places]))
            except Exception:  # noqa: BLE001 - a resample may lack what compute needs, say one of two classes
                return math.nan

        return lambda rows: np.asarray([one(row) for row in rows])


def _finite(ref: str, what: str, value: Any) -> float:
    """The number that the user's code returned; numpy's numbers are numbers too."""
    try:
        number = float("nan") if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise PairError(f"metric {ref}: {what} returned {describe(value)}; it needs a finite number or a truth value")
    return number


def _better(made: Any, ref: str) -> Better:
    better = getattr(made, "better", "higher")
    if better not in ("higher", "lower"):
        raise ConfigError(f"metric {ref}: better is {better!r}; accepted: 'higher', 'lower'")
    return cast("Better", better)


def _check_call(target: Any, ref: str, args: tuple[Any, ...], params: Mapping[str, Any]) -> None:
    """Tell the user's mistake in parameters from an error inside the user's code."""
    try:
        signature = inspect.signature(target)
    except ValueError:  # built-in callables have none
        return
    try:
        signature.bind(*args, **params)
    except TypeError as error:
        raise ConfigError(f"metric {ref}: {error}; it accepts {signature}, found parameters {dict(params)}") from None


def _with_params(function: Callable[..., Any], params: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    if not params:
        return function
    return lambda prediction, reference: function(prediction, reference, **params)
