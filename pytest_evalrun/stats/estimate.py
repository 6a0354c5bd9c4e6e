"""What every method of this room answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IntervalEstimate:
    """A difference ``after - keep x before`` of quality, so that more is better, with its two-sided interval.

    The interval always has a width: that nothing differed among ``n`` units is no proof that nothing differs. Units are
    samples, or clusters of samples, of which there are ``clusters`` then. ``method`` is its name as people read it;
    ``approximate`` where its error rate is not kept at small n. ``p_worse`` is the one-sided p-value of "nothing got
    worse": small where something did. ``p_worse`` and interval need not agree to the last digit.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    approximate: bool = False
    p_worse: float = 1.0
    confidence: float = 0.95
    clusters: int | None = None
