"""The protocol of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Better = Literal["higher", "lower"]


class MetricRequest(Protocol):
    """A metric as a suite asks for it: what to use, by name or path, with which parameters."""

    @property
    def use(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class MetricValue:
    """A named number with its 95 % interval, the number of samples behind it, and which way is better."""

    value: float
    """The value."""
    n: int
    """How many samples are behind it."""
    low: float
    """The lower end of its 95 % interval."""
    high: float
    """The upper end of its 95 % interval."""
    better: Better
    """Which way is better, `higher` or `lower`."""
    table: dict[str, Any] | None = None
    """What else it has to show, such as a confusion matrix."""
    bounds: tuple[float, float] | None = None
    """What the scores of samples are between, where the metric declares it; whoever asks for the result puts it in."""

    def to_json(self) -> dict[str, Any]:
        """Return builtins: numbers of numpy would neither be JSON nor travel to where they are shown."""
        numbers = {"value": float(self.value), "n": int(self.n), "low": float(self.low), "high": float(self.high)}
        values: dict[str, Any] = numbers | {"better": self.better}
        if self.table is not None:
            values["table"] = self.table
        if self.bounds is not None:
            values["bounds"] = list(map(float, self.bounds))
        return values


@runtime_checkable
class Metric(Protocol):
    """Fed chunk by chunk, so that images never lie in memory together; one object a scoring.

    A metric may have more, each of which is asked for by its name: ``unanswered(references)`` scores samples whose
    prediction holds no answer, which are left out otherwise; ``takes_samples = True``: ``update`` is given the samples
    as a third argument; ``takes_details = True``: it is given what lines of predictions have as ``detail``, by that
    name, ``details``; ``clusters = None``: where a sample has several rows, as of several generations, it is a list
    that grows with ``update``, of the sample's place for each row; ``bounds = (0, 1)``: the lowest and the highest
    score that a sample can have, by which gates judge a mean at any number of samples (without it approximately).

    One whose value is no mean of scores is compared where it has both of these. ``statistic()`` is what each of the
    samples of the last ``update`` (or ``unanswered``) adds to the value, in order: values of JSON, None of a sample
    that does not count. ``values_of(rows)`` makes of such rows a function: given how often each sample was drawn, an
    array of numpy with a row a draw, it returns the value of each draw, NaN where there is none; of all samples drawn
    once that is the result. A class with ``score`` or ``compute`` has ``statistic(prediction, reference)`` instead.
    """

    better: Better

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> Sequence[float | None]:
        """Per-sample scores of a chunk, None where a sample has no score of its own.

        Raises PairError where the metric does not fit the predictions, naming metric, value found, values accepted.
        """

    def result(self) -> MetricValue:
        """The value over all that was fed."""
