"""PASS, FAIL or INCONCLUSIVE: an interval against what a gate allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.comparison.compare import MetricComparison
    from pytest_evalrun.stats.estimate import IntervalEstimate

Word = Literal["PASS", "FAIL", "INCONCLUSIVE"]
PASS: Word = "PASS"  # noqa: S105 - a verdict
FAIL: Word = "FAIL"
INCONCLUSIVE: Word = "INCONCLUSIVE"


@dataclass(frozen=True)
class Conclusion:
    """``why`` tells a person in one line what it rests on, or what would be needed:
    ``n=180, discordance 0.08: 1,237 for an 80 % chance at ± 0.02``.
    """

    word: Word
    why: str


def verdict_word(gate: Mapping[str, Any]) -> Word:
    """The verdict of a gate as a result has it; earlier versions judged by the value alone and wrote none."""
    found = gate.get("verdict")
    for word in (PASS, FAIL, INCONCLUSIVE):
        if found == word:
            return word
    return PASS if gate.get("holds") else FAIL


def conclude_drop(found: MetricComparison, margin: float) -> Conclusion:
    """Judge a comparison against the drop that is allowed; its estimate is of ``after - keep x before``.

    PASS where the low end is at or above ``-margin`` (of a relative margin ``keep`` has it, and ``margin`` is
    0), FAIL where its high end is below. An approximate method is INCONCLUSIVE below the n at which one unseen worst
    loss could exceed the margin.
    """
    raise NotImplementedError


def conclude_bound(found: IntervalEstimate | None, problem: str | None, limit: float, *, lowest: bool) -> Conclusion:
    """Judge the interval of one value against ``min`` (``lowest``) or ``max``."""
    raise NotImplementedError
