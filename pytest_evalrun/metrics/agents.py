"""Metrics of agents, whose samples end with a status and what the task says of it, and have no reference."""

from __future__ import annotations

import math
import sys
from array import array
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.checks import Proportion, describe, measured, need_samples, unfit
from pytest_evalrun.metrics.intervals import bootstrap_sums, interval_of_mean
from pytest_evalrun.metrics.resampled import table_of, values_of_sums
from pytest_evalrun.suite.jsontext import json_path, value_at
from pytest_evalrun.suite.problems import accepted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.metrics.protocol import Better, MetricValue
    from pytest_evalrun.stats.resampling import ValueOfDraws

    Path = tuple[str | int, ...]

COMPLETED = "completed"
# What tasks call it, the first that there is.
FIELDS = ("success", "succeed", "is_correct", "correct", "result", "score")
# What has no price costs more than all that does: the worst number that JSON has, not infinity.
WORST = sys.float_info.max
_NEEDS = "what an agent did, with the status and the result of a task server"


class Success(Proportion):
    """The share of samples in which the agent has done its task.

    A sample has succeeded where it was completed, and its reward is 1 or more; without a reward, where its result is
    true, or has a field that says so. ``field`` is the path of another one, of the result or of the metrics beside it:
    true, or 1 and more.
    """

    name = "success"

    def __init__(self, *, field: str | None = None) -> None:
        super().__init__()
        self._field = _path(self.name, field)

    def hit(self, prediction: Any, reference: Any) -> bool:  # noqa: ARG002 - there is none
        return _succeeded(self.name, prediction, self._field)


def _succeeded(metric: str, prediction: Any, field: Path | None) -> bool:
    if not isinstance(prediction, dict) or not isinstance(prediction.get("status"), str):
        raise unfit(metric, "prediction", prediction, _NEEDS)
    if prediction["status"] != COMPLETED:
        return False
    if field is not None:
        return _said(metric, _at(metric, prediction, field))
    reward: Any = prediction.get("reward")
    if type(reward) in (int, float):
        return bool(reward >= 1)
    return _said(metric, _verdict(metric, prediction.get("result")))


def _verdict(metric: str, result: Any) -> Any:
    """What of a result says whether it is right."""
    found = [result.get(name) for name in FIELDS] if isinstance(result, dict) else [result]
    for value in found:
        if type(value) is bool or (type(value) in (int, float) and value in (0, 1)):
            return value
    raise PairError(
        f"metric {metric}: the sample was completed, and its result is {describe(result)}; it needs a reward, or a "
        f"result that is true or false, or has one of {', '.join(FIELDS)} as such; another one: `field: path.to.it`; "
        "the task's own number is the metric `overall`"
    )


def _at(metric: str, prediction: Mapping[str, Any], field: Path) -> Any:
    for place in ("result", "metrics"):
        try:
            return value_at(prediction.get(place), field)
        except LookupError:
            continue
    raise unfit(metric, "result", prediction.get("result"), f"the field {_shown(field)} in it")


def _said(metric: str, value: Any) -> bool:
    if type(value) not in (bool, int, float):
        raise unfit(metric, "result", value, "true, false or a number, of which 1 is a success")
    return bool(value >= 1)


class _MeanOfDetail:
    """The mean over samples of a number that the detail of an answer has; those without one are left out."""

    better: Better = "lower"
    name = ""
    takes_details = True
    clusters: array[int] | None = None
    # Why no sample has one.
    none = ""

    def __init__(self) -> None:
        # NaN for the samples that have none, so that the clusters fit.
        self._values = array("d")

    def of(self, detail: Mapping[str, Any]) -> float | None:
        """The number of one sample."""
        raise NotImplementedError

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],  # noqa: ARG002 - there are none
        details: Sequence[Mapping[str, Any] | None] = (),
    ) -> list[float | None]:
        known = details or [None] * len(predictions)
        scores = [None if detail is None else self.of(detail) for detail in known]
        self._values.extend(math.nan if score is None else score for score in scores)
        return scores

    def result(self) -> MetricValue:
        need_samples(self.name, len(self._values))
        places = [place for place, value in enumerate(self._values) if not math.isnan(value)]
        if not places:
            raise PairError(f"metric {self.name}: {self.none}")
        values = [self._values[place] for place in places]
        clusters = [self.clusters[place] for place in places] if self.clusters else None
        value = math.fsum(values) / len(values)
        return measured(self.name, value, len(values), interval_of_mean(values, value, clusters), self.better)


class MeanTurns(_MeanOfDetail):
    """How often the agent was asked in a sample, on average."""

    name = "turns"
    none = "no sample says how many turns it took, which those of a task server do"

    def of(self, detail: Mapping[str, Any]) -> float | None:
        return _number(detail.get("turns"))


class MeanTokens(_MeanOfDetail):
    """How many tokens a sample took, read and written, on average."""

    name = "tokens"
    none = "no sample says how many tokens it took; the model must tell its `usage`, as endpoints do"

    def of(self, detail: Mapping[str, Any]) -> float | None:
        usage = detail.get("usage")
        if not isinstance(usage, dict):
            return None
        counts = [_number(usage.get(name)) for name in ("input", "output")]
        known = [count for count in counts if count is not None]
        return math.fsum(known) if known else None


class CostPerSuccess:
    """What all samples cost, over the number of those that succeeded as ``success`` says, which has ``field`` too.

    The score of a sample is what it cost. Where nothing succeeded it is the largest number that there is.
    """

    better: Better = "lower"
    name = "cost_per_success"
    takes_details = True
    clusters: array[int] | None = None

    def __init__(self, *, field: str | None = None) -> None:
        self._field = _path(self.name, field)
        self._costs = array("d")
        self._successes = array("d")
        self._last = 0

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],  # noqa: ARG002 - there are none
        details: Sequence[Mapping[str, Any] | None] = (),
    ) -> list[float | None]:
        known = details or [None] * len(predictions)
        costs = [None if detail is None else _number(detail.get("cost")) for detail in known]
        self._costs.extend(math.nan if cost is None else cost for cost in costs)
        self._successes.extend(_succeeded(self.name, prediction, self._field) for prediction in predictions)
        self._last = len(costs)
        return costs

    def statistic(self) -> list[list[float] | None]:
        """Cost and success, 0 or 1, of the samples that were fed last; None of one without a cost, which counts not."""
        start = len(self._costs) - self._last
        fed = zip(self._costs[start:], self._successes[start:], strict=True)
        return [None if math.isnan(cost) else [cost, success] for cost, success in fed]

    def values_of(self, rows: Sequence[Any]) -> ValueOfDraws:
        """The value of each draw from samples with these costs and successes; NaN where nothing succeeded."""
        return values_of_sums(table_of(self.name, rows, 2), _per_success)

    def result(self) -> MetricValue:
        need_samples(self.name, len(self._costs))
        places = [place for place, cost in enumerate(self._costs) if not math.isnan(cost)]
        if not places:
            raise PairError(f"metric {self.name}: no sample has a cost; give the `price` of the model's tokens")
        successes = math.fsum(self._successes[place] for place in places)
        if not successes:
            return measured(self.name, WORST, len(places), (WORST, WORST), self.better)
        import numpy as np

        sums = np.asarray([[self._costs[place], self._successes[place]] for place in places])
        value = math.fsum(sums[:, 0]) / successes
        clusters = [self.clusters[place] for place in places] if self.clusters else None
        return measured(self.name, value, len(places), bootstrap_sums(value, sums, _per_success, clusters), self.better)


def _per_success(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Costs over successes of each draw; NaN where a draw has none."""
    import numpy as np

    costs, successes = sums.T
    return np.asarray(np.divide(costs, successes, out=np.full(len(costs), np.nan), where=successes > 0))


class Overall:
    """A number that the task itself says of all samples: ``field`` is its path in what ``calculate_overall`` returns.

    Nothing tells how far it might be from another draw of samples, so that it has no interval. ``overall`` is the
    content of ``overall.json``, from whoever knows where that lies.
    """

    name = "overall"

    def __init__(self, *, field: str = "", better: str = "higher") -> None:
        if better not in ("higher", "lower"):
            raise ConfigError(f"metric {self.name}: better is {better!r}; accepted: higher, lower")
        self.better: Better = "higher" if better == "higher" else "lower"
        self.overall: Mapping[str, Any] | None = None
        self._field = _path(self.name, field) or ()
        self._n = 0

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> list[float | None]:  # noqa: ARG002
        self._n += len(predictions)
        return [None] * len(predictions)

    def result(self) -> MetricValue:
        need_samples(self.name, self._n)
        value = self._value()
        return measured(self.name, value, self._n, (value, value), self.better)

    def _value(self) -> float:
        """Raises PairError where the task has not said it, or not of all samples."""
        told = self.overall
        if told is None:
            raise PairError(
                f"metric {self.name}: there is no overall.json of this pair, which only a task server makes"
            )
        coverage = told.get("coverage") or {}
        if coverage.get("finished") != coverage.get("total"):
            count = f"{coverage.get('finished')} of {coverage.get('total')} samples"
            raise PairError(f"metric {self.name}: the task has said it of {count}; the same command asks for the rest")
        if error := told.get("custom_error"):
            raise PairError(f"metric {self.name}: the task's calculate_overall failed: {error}")
        try:
            value = value_at(told.get("custom"), self._field)
        except LookupError:
            value = None
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
        field, names = _shown(self._field), [*_numbers(told.get("custom"))]
        wanted = accepted(field, names) if any(names) else "accepted: the path of a number, and the task says none"
        if not self._field:
            raise PairError(
                f"metric {self.name}: the task says {describe(value)}; name a number of it as `field`; {wanted}"
            )
        raise PairError(f"metric {self.name}: field: found {field!r}, which is {describe(value)}; {wanted}")


def _numbers(value: Any, way: str = "") -> Iterator[str]:
    """The paths of the numbers in what a task says."""
    if type(value) in (int, float):
        yield way
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _numbers(part, f"{way}.{name}" if way else str(name))


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _path(metric: str, field: str | None) -> Path | None:
    if field is None:
        return None
    try:
        return json_path(field)
    except (ValueError, TypeError):
        raise ConfigError(f"metric {metric}: field is {field!r}; accepted: a path such as path.to[0].it") from None


def _shown(field: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in field).removeprefix(".")
