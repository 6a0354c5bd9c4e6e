"""A judge's verdicts as a metric: another model has graded each answer on a scale; the mean of the points."""

from __future__ import annotations

import math
import re
from array import array
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.checks import measured, need_samples
from pytest_evalrun.metrics.intervals import interval_of_mean
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.problems import accepted, found
from pytest_evalrun.suite.settings import kind_named, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.metrics.protocol import Better, MetricValue

DEFAULT = (0, 1)
PARAMETERS = frozenset({"model", "template", "system", "scale", "max_failed", "better"})
# Whatever kind the model under test is, its judge is an endpoint; of the settings of all kinds it has these.
KIND = "openai"
COMMON = frozenset({"path", "gpus", "min_gpu_memory", "workers_per_gpu", "retries"})
# `GRADE: 4`, also as `**GRADE:** 4` and `Grade: [[4]]`.
_GRADE = re.compile(r"\bgrade[*_`]*\s*:[*_`\s\[(<\"']*([^\s*_`\])>\"',;]+)", re.IGNORECASE)
_SCALES = "[lowest, highest], a list of the numbers that may be given, or letters with their points as {C: 1, I: 0}"


class Unread(ValueError):  # noqa: N818 - what became of it; its base says that it is an error
    """A verdict that is none, or that is not on the scale."""


@dataclass(frozen=True)
class Scale:
    """What a judge may give: numbers from ``low`` to ``high``, or the grades of ``points``."""

    low: float
    high: float
    points: Mapping[str, float] | None = None

    @classmethod
    def of(cls, told: Any) -> Scale:
        """Raises ConfigError for what is no scale."""
        points = _points(told)
        if points is not None:
            return cls(min(points.values()), max(points.values()), points)
        if isinstance(told, list | tuple) and len(told) == 2 and all(map(_is_number, told)) and told[0] < told[1]:
            return cls(float(told[0]), float(told[1]))
        raise ConfigError(f"scale: found {told!r}; accepted: {_SCALES}")

    def read(self, text: str) -> float:
        """The points of the last grade in a text. Raises Unread where there is none, or none of the scale."""
        _, closed, after = text.rpartition("</think>")
        if not closed and "<think>" in after:
            raise Unread("the judge has not ended thinking")
        grades = _GRADE.findall(after)
        if not grades:
            raise Unread("it has no line `GRADE: …`")
        grade = grades[-1].rstrip(".!")
        points = self._number(grade) if self.points is None else self._point(grade, self.points)
        if points is None:
            raise Unread(f"the grade {grade!r} is not on the scale ({self})")
        return points

    def _number(self, grade: str) -> float | None:
        try:
            number = float(grade)
        except ValueError:
            return None
        return number if self.low <= number <= self.high else None

    @staticmethod
    def _point(grade: str, points: Mapping[str, float]) -> float | None:
        """A letter in either case; a number as it is written, or by its value."""
        if (found := points.get(grade, points.get(grade.upper()))) is not None:
            return found
        try:
            return next((value for name, value in points.items() if float(name) == float(grade)), None)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" if self.points is None else ", ".join(self.points)


def _points(told: Any) -> dict[str, float] | None:
    """Grades by name, where a scale is given so: with points of their own, or numbers that are their own."""
    if isinstance(told, dict) and len(told) > 1 and all(map(_is_number, told.values())):
        return {str(name): float(value) for name, value in told.items()}
    if isinstance(told, list | tuple) and len(told) > 2 and all(map(_is_number, told)):
        return {f"{value:g}": float(value) for value in told}
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def share_or_count(max_failed: Any, count: int = 1) -> float | None:
    """How many of ``count`` that is: a count, or a share below 1; None where it is neither."""
    share = isinstance(max_failed, str) and max_failed.endswith("%")
    try:
        number = float(max_failed[:-1]) / 100 if share else float(max_failed)
    except (TypeError, ValueError):
        return None
    if isinstance(max_failed, bool) or not (0 <= number < 1 or (not share and number.is_integer() and number > 0)):
        return None
    return number * count if number < 1 else number


class Verdicts(Protocol):
    """The points of each answer that was predicted, in their order; None where the verdict could not be read."""

    def __iter__(self) -> Iterator[float | None]: ...

    def why_none(self) -> str:
        """Say why there is not one that could be read."""


class HasIndex(Protocol):
    """A sample, by its place in the dataset."""

    @property
    def index(self) -> int: ...


class Judge:
    """The mean of the points that another model, an endpoint, gives to each answer.

    ``model`` is the endpoint as a suite has it; ``template`` and ``system`` are what it is sent. ``max_failed``
    verdicts, a count or a share, may be unreadable; without it all but one. ``verdicts`` are made before: here nobody
    is asked.
    """

    takes_samples = True

    def __init__(
        self,
        *,
        model: Any = None,
        template: str | None = None,
        system: str | None = None,
        scale: Any = DEFAULT,
        max_failed: float | str | None = None,
        better: str = "higher",
    ) -> None:
        if better not in ("higher", "lower"):
            raise ConfigError(f"metric judge: better is {better!r}; accepted: higher, lower")
        self.better: Better = "higher" if better == "higher" else "lower"
        self.scale = Scale.of(scale)
        self.bounds = (self.scale.low, self.scale.high) if self.scale.low < self.scale.high else None
        self.model, self.template, self.system, self.max_failed = model, template, system, max_failed
        self.verdicts: Verdicts | None = None
        self._given: Iterator[float | None] | None = None
        self._points = array("d")
        # Whose points they are: several answers of a sample say less than as many samples.
        self._clusters = array("q")

    @classmethod
    def mistakes(cls, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Tell what is wrong with a judge before anything is asked: key, and what is found and accepted."""
        for name in params.keys() - PARAMETERS:
            yield name, f"unknown key; {accepted(name, PARAMETERS)}"
        if isinstance(model := params.get("model"), dict):
            yield from _mistakes_in_model(model, params)
        else:
            yield "model", f"{found(model)}; accepted: an endpoint, as in {{model: NAME, base_url: http://…/v1}}"
        for name in ("template", "system"):
            if not isinstance(text := params.get(name, ""), str):
                yield name, f"{found(text)}; accepted: text"
        try:
            Scale.of(params.get("scale", DEFAULT))
        except ConfigError as error:
            yield "scale", str(error).removeprefix("scale: ")
        if (better := params.get("better", "higher")) not in ("higher", "lower"):
            yield "better", f"{found(better)}; accepted: higher, lower"
        if (most := params.get("max_failed", 0)) is not None and share_or_count(most) is None:
            yield "max_failed", f"{found(most)}; accepted: a count such as 3, or a share below 1 such as 0.05 or 5%"

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],  # noqa: ARG002
        samples: Sequence[HasIndex] = (),
    ) -> list[float | None]:
        """The points of the answers that come next; of what was asked apart nobody has a verdict."""
        if self.verdicts is None:
            return [None] * len(predictions)
        if self._given is None:
            self._given = iter(self.verdicts)
        points = list(islice(self._given, len(predictions)))
        if len(points) != len(predictions):
            raise PairError("metric judge: there are less verdicts than answers; run it again")
        self._points.extend(point for point in points if point is not None)
        pairs = zip(samples, points, strict=False)
        self._clusters.extend(sample.index for sample, point in pairs if point is not None)
        return points

    def result(self) -> MetricValue:
        n = len(self._points)
        if n == 0 and self.verdicts is not None:
            raise PairError(f"metric judge: {self.verdicts.why_none()}")
        need_samples("judge", n)
        value = math.fsum(self._points) / n
        interval = interval_of_mean(self._points, value, self._clusters or None)
        return measured("judge", value, n, interval, self.better)


def _mistakes_in_model(model: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with the endpoint, and with what it is sent."""
    from pytest_evalrun.suite.schema import ModelEntry
    from pytest_evalrun.suite.validation import validated

    words = (kind_named(KIND).words() - {"prompt"}) | COMMON
    if unknown := [name for name in model if name not in words]:
        yield from ((f"model.{name}", f"unknown key; {accepted(str(name), words)}") for name in unknown)
        return
    try:
        checked = validated(ModelEntry, {"adapter": KIND, **model}, lambda where: ".".join(map(str, where)))
    except ConfigError as error:
        for line in str(error).split("\n"):
            key, _, text = line.partition(": ")
            yield f"model.{key}", text
        return
    if not checked.get("model"):
        yield "model.model", "is missing; accepted: the name by which the endpoint knows the model"
    prompt = {name: params[name] for name in ("template", "system") if isinstance(params.get(name), str)}
    settings = resolve([Layer("suite", "", {**checked, "prompt": prompt})])
    for key, text in settings.kind.mistakes(settings):
        yield key.removeprefix("prompt.") if key.startswith("prompt.") else f"model.{key}", text
