"""A gate judged by an interval: the same for a run's own gates and for those of ``evalrun gate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE, PASS, Conclusion, conclude_bound, conclude_drop
from pytest_evalrun.comparison.gatefacts import allowed, facts_of_drop, facts_of_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_evalrun.comparison.compare import MetricComparison, TwoSides
    from pytest_evalrun.metrics.protocol import Metric
    from pytest_evalrun.stats.estimate import IntervalEstimate
    from pytest_evalrun.suite.gates import Gate, GateRules


class ValueEstimate(Protocol):
    """The interval of one value, or the ``problem`` that there is none."""

    @property
    def estimate(self) -> IntervalEstimate | None: ...
    @property
    def problem(self) -> str | None: ...
    def too_few(self, margin: float) -> str | None: ...


@dataclass(frozen=True)
class GateFinding:
    """What came of a condition: ``value`` misses ``limit`` by ``by``, in the metric's unit, and 0 where it keeps it.

    ``told`` is what a result says of it besides; ``found`` is the comparison behind a ``max_drop``.
    """

    value: float
    limit: float
    by: float
    conclusion: Conclusion
    told: Mapping[str, Any]
    found: MetricComparison | None = None


def past_bound(value: float, kind: str, limit: float) -> float:
    """By how much a value is past ``min`` or ``max``; 0 where it keeps it."""
    return max(0.0, limit - value if kind == "min" else value - limit)


def judge_bound(found: ValueEstimate, value: float, kind: str, limit: float, rules: GateRules) -> GateFinding:
    """Judge ``min`` or ``max`` by the interval of the value."""
    conclusion = conclude_bound(found.estimate, found.problem, limit, lowest=kind == "min")
    if conclusion.word == PASS and (why := found.too_few(abs(value - limit))):
        conclusion = Conclusion(INCONCLUSIVE, why)
    told = facts_of_interval(conclusion, found.estimate, rules)
    return GateFinding(value, limit, past_bound(value, kind, limit), conclusion, told)


def judge_drop(
    sides: TwoSides,
    metric: str,
    gate: Gate,
    rules: GateRules,
    baseline: str,
    *,
    clustered: bool,
    most_named: int,
    made: Callable[[str], Metric | None],
) -> GateFinding:
    """Judge ``max_drop`` sample by sample against a baseline of this name; words as of :func:`compare`.

    Raises PairError where the two sides cannot be compared.
    """
    found = sides.compare(
        metric,
        confidence=rules.confidence,
        keep=1.0 - (gate.share or 0.0),
        clustered=clustered,
        most_named=most_named,
        made=made,
    )
    # Of a relative margin the estimate has it already.
    conclusion = conclude_drop(found, 0.0 if gate.share is not None else float(gate.max_drop or 0.0))
    limit, by = allowed(gate, found.before, found.after, higher=found.better == "higher")
    told = facts_of_interval(conclusion, found.estimate, rules) | facts_of_drop(found, gate, baseline)
    return GateFinding(float(found.after), float(limit), float(by), conclusion, told, found)
