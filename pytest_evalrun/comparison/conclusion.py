"""PASS, FAIL or INCONCLUSIVE: an interval against what a gate allows."""

from __future__ import annotations

import math
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
# An end of an interval that lies at the limit is on its good side: 0.8 - 0.1 is more than 0.7 in floating point.
ROUNDING = 1e-12


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
    0), FAIL where its high end is below. By an approximate method nothing is a PASS below the n at which worst
    losses could make up the margin and be unseen; what was seen to be lost is a FAIL there, too.
    """
    estimate = found.estimate
    if estimate is None:
        return Conclusion(INCONCLUSIVE, found.problem or "nothing is known of its interval")
    allowed = margin + abs(1 - found.keep) * abs(found.before)
    too_few = _too_few(found, estimate, allowed) if estimate.approximate else None
    slack = ROUNDING * max(1.0, abs(found.before))
    if estimate.low >= -margin - slack and too_few is None:
        return Conclusion(PASS, _interval(found, estimate))
    if estimate.high < -margin - slack:
        return Conclusion(FAIL, _interval(found, estimate))
    return Conclusion(INCONCLUSIVE, too_few or _needed(found, estimate, allowed))


def _too_few(found: MetricComparison, estimate: IntervalEstimate, margin: float) -> str | None:
    """Why an approximate method says nothing yet: losses that nobody has seen could make up the margin."""
    from pytest_evalrun.stats.power import least_n_unseen

    units, what = (estimate.n, "samples") if estimate.clusters is None else (estimate.clusters, "clusters")
    least = least_n_unseen(margin, found.worst, estimate.confidence)
    if least is not None and units >= least:
        return None
    if least is None:
        return f"no number of {what} proves a margin of {margin:g}; {method_words(estimate)}"
    # The name of a method, or that nothing differs: the same words must do for both.
    return f"{units:,} {what}: {least:,} are needed; {method_words(estimate)}"


def _needed(found: MetricComparison, estimate: IntervalEstimate, margin: float) -> str:
    """How many samples would do, as far as somebody can say."""
    if estimate.clusters is not None:
        return _about(found, estimate, margin)
    if found.flips is not None and found.keep == 1:
        return _of_flips(found, estimate, margin)
    least = _least_bounded(found, estimate, margin)
    if least is not None and estimate.n < least:
        return f"n={estimate.n:,}: PASS needs {least:,} samples at least, unless it got better"
    return _about(found, estimate, margin)


def _of_flips(found: MetricComparison, estimate: IntervalEstimate, margin: float) -> str:
    from pytest_evalrun.stats.power import least_n, n_for_pass

    assert found.flips is not None, "only of 0/1 scores"
    least = least_n(margin, estimate.confidence)
    if least is None:
        return f"n={estimate.n:,}: no number of samples proves a margin of 0"
    discordance = (found.flips.lost + found.flips.won) / estimate.n
    wanted = n_for_pass(margin, discordance, confidence=estimate.confidence)
    told = f"n={estimate.n:,}, discordance {discordance:.2g}"
    if wanted is not None and wanted <= estimate.n:
        return _with_the_limit(found, estimate, margin)
    if wanted is not None:
        told += f": {wanted:,} for an 80 % chance at ± {margin:g}"
    # A candidate that won more than it lost may pass with fewer.
    needs = f"PASS needs {least:,} samples at least, unless it got better"
    return f"{told}; {needs}" if estimate.n < least else told


def _least_bounded(found: MetricComparison, estimate: IntervalEstimate, margin: float) -> int | None:
    from pytest_evalrun.stats.power import least_n_bounded

    return least_n_bounded(margin, found.worst, estimate.confidence) if found.bounded else None


def _about(found: MetricComparison, estimate: IntervalEstimate, margin: float) -> str:
    """How many samples would narrow the interval to the margin; where it is as narrow, only that it has the limit."""
    half = (estimate.high - estimate.low) / 2
    units, what = (estimate.clusters, "clusters") if estimate.clusters else (estimate.n, "samples")
    if not 0 < margin < half:
        return _with_the_limit(found, estimate, margin)
    wanted = math.ceil(units * (half / margin) ** 2)
    return f"{units:,} {what}, ± {half:.2g}: about {wanted:,} for ± {margin:g}"


def _with_the_limit(found: MetricComparison, estimate: IntervalEstimate, margin: float) -> str:
    """That the limit lies in the interval, which stands beside it; of a relative margin, in the estimate, it is 0."""
    limit = -margin if found.keep == 1 else 0.0
    limit = -limit if found.better == "lower" else limit
    clusters = "" if estimate.clusters is None else f", {estimate.clusters:,} clusters"
    return f"n={estimate.n:,}{clusters}: the limit of {f'{limit:+g}' if limit else '0'} lies in the interval"


def _interval(found: MetricComparison, estimate: IntervalEstimate) -> str:
    """The interval in the metric's own unit, as it is told everywhere: where lower is better a loss is a rise."""
    low, high = (-estimate.high, -estimate.low) if found.better == "lower" else (estimate.low, estimate.high)
    told = f"{low:+.2g} to {high:+.2g} ({method_words(estimate)}, n={estimate.n:,}"
    # Some methods say of how many clusters they are.
    named = estimate.clusters is None or "clusters" in estimate.method
    return f"{told})" if named else f"{told}, {estimate.clusters:,} clusters)"


def method_words(estimate: IntervalEstimate) -> str:
    """The method's name, and whether it is approximate."""
    known = not estimate.approximate or "approximate" in estimate.method
    return estimate.method if known else f"{estimate.method} (approximate)"


def conclude_bound(found: IntervalEstimate | None, problem: str | None, limit: float, *, lowest: bool) -> Conclusion:
    """Judge the interval of one value against ``min`` (``lowest``) or ``max``; it is in the metric's own unit."""
    if found is None:
        return Conclusion(INCONCLUSIVE, problem or "nothing is known of its interval")
    near, far = (found.low, found.high) if lowest else (-found.high, -found.low)
    limit = limit if lowest else -limit
    told = f"{found.low:.4g} to {found.high:.4g} ({found.method}, n={found.n:,})"
    slack = ROUNDING * max(1.0, abs(limit))
    if near >= limit - slack:
        return Conclusion(PASS, told)
    if far < limit - slack:
        return Conclusion(FAIL, told)
    return Conclusion(INCONCLUSIVE, f"n={found.n:,}: the limit lies in the interval")
