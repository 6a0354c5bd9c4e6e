"""A gate as results have it in ``gates[]``: what is written there, and how its margin is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE
from pytest_evalrun.comparison.side import finite

if TYPE_CHECKING:
    from pytest_evalrun.comparison.compare import MetricComparison
    from pytest_evalrun.comparison.conclusion import Conclusion
    from pytest_evalrun.stats.estimate import IntervalEstimate
    from pytest_evalrun.suite.gates import Gate, GateRules

ROUNDING = 1e-9


def facts_of_interval(conclusion: Conclusion, estimate: IntervalEstimate | None, rules: GateRules) -> dict[str, Any]:
    """What a verdict by an interval rests on."""
    facts: dict[str, Any] = {"why": conclusion.why, "confidence": rules.confidence}
    if estimate is not None:
        facts |= {"method": estimate.method, "approximate": estimate.approximate}
        facts |= {"interval": [float(estimate.low), float(estimate.high)], "n": estimate.n}
        if estimate.clusters is not None:
            facts["clusters"] = estimate.clusters
    if conclusion.word == INCONCLUSIVE:
        facts["unsure"] = rules.when_unsure
    return facts


def facts_of_drop(found: MetricComparison, gate: Gate, baseline: str) -> dict[str, Any]:
    """What was compared, sample by sample, with a baseline of this name."""
    coverage = found.coverage
    facts: dict[str, Any] = {"baseline": baseline, "margin": gate.max_drop, "before": found.before + 0.0}
    if found.estimate is not None:
        facts["p"] = float(found.estimate.p_worse)
    if found.flips is not None:
        facts |= {"lost": found.flips.lost, "won": found.flips.won}
        facts["discordance"] = (found.flips.lost + found.flips.won) / coverage.both if coverage.both else 0.0
    names = ("both", "before", "after", "changed")
    return facts | {"coverage": {each: getattr(coverage, each) for each in names}}


def drop_allowed(gate: Gate, before: float | None) -> float | None:
    """The margin of ``max_drop`` in the metric's unit; a share of a value that nobody knows is None."""
    if gate.share is not None:
        return None if before is None else gate.share * abs(before)
    return None if gate.max_drop is None else float(gate.max_drop)


def allowed(gate: Gate, before: float, value: float, *, higher: bool) -> tuple[float, float]:
    """What the value may drop to, in the metric's unit, and by how much it is past that.

    A drop is a loss of quality: where lower is better, it is a rise.
    """
    drop = drop_allowed(gate, before)
    assert drop is not None, "only of gates with max_drop"
    limit = before - drop if higher else before + drop
    by = limit - value if higher else value - limit
    # 0.8 - 0.1 is more than 0.7 in floating point: who wrote these numbers did not mean that as a breach.
    return limit, by if by > ROUNDING * max(1.0, abs(before)) else 0.0


def share_in(margin: Any) -> float | None:
    """The share that a margin such as ``5%`` is of the baseline; None of what is stated in the metric's unit."""
    if not isinstance(margin, str) or not margin.endswith("%"):
        return None
    try:
        share = float(margin[:-1]) / 100
    except ValueError:
        return None
    return share if math.isfinite(share) else None


def margin_in(said: Any, before: float) -> float | None:
    """The margin in the metric's unit; of ``5%`` so much of the value before. None of what is neither."""
    share = share_in(said)
    return share * abs(before) if share is not None else finite(said)
