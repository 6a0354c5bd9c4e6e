"""A metric of a pair on two sides: paired, counted, and estimated by the method that fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.metrics.protocol import Better, Metric
    from pytest_evalrun.stats.estimate import IntervalEstimate

# More samples than this share on one side only, and two sides are not of the same data.
MOST_ALONE = 0.01


@dataclass(frozen=True)
class Coverage:
    """How many samples both sides have, each with the same reference, and what only one has.

    ``changed`` are those of which the reference is another; ``before`` and ``after`` are only on that side.
    """

    both: int
    before: int = 0
    after: int = 0
    changed: int = 0
    named: tuple[str, ...] = ()
    """The ids of the first few that are not on both sides, or not with the same reference."""

    @property
    def complete(self) -> bool:
        return not (self.before or self.after or self.changed)


@dataclass(frozen=True)
class FlippedSamples:
    """0/1 scores that came out the other way; counted all, the first few by their ids."""

    lost: int = 0
    won: int = 0
    first_lost: tuple[str, ...] = ()
    first_won: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricComparison:
    """A metric before and after over the samples of both sides, in the metric's own unit.

    ``estimate`` is in the sense of quality, more is better, whatever ``better`` says; None where there is none, for the
    reason ``problem``. ``flips`` is None where scores are not 0 or 1. ``worst`` is what one unseen sample could cost at
    most, for methods that are approximate.
    """

    metric: str
    better: Better
    before: float
    after: float
    coverage: Coverage
    estimate: IntervalEstimate | None = None
    flips: FlippedSamples | None = None
    problem: str | None = None
    worst: float = 0.0
    remarks: tuple[str, ...] = field(default=())


def compare(
    before: Side,
    after: Side,
    metric: str,
    *,
    confidence: float = 0.95,
    keep: float = 1.0,
    clustered: bool = True,
    most_named: int = 10,
    made: Callable[[str], Metric | None] = lambda _: None,
) -> MetricComparison:
    """Compare one metric. ``made`` makes a metric by its name, for those of a corpus; None where it cannot.

    Raises PairError where the two cannot be compared: more than 1 % of the samples on one side only or with another
    reference (how many, the first by their ids), another version of the metric, no sample on both sides, a metric that
    one side lacks.
    """
    raise NotImplementedError
