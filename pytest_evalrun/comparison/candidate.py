"""A candidate against a base, pair by pair and gate by gate: what of it is judged, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_evalrun.comparison.conclusion import FAIL, PASS, Conclusion
from pytest_evalrun.comparison.decision import JudgedMetric
from pytest_evalrun.comparison.judged import GateFinding, judge_bound, judge_drop, past_bound
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.comparison.compare import TwoSides
    from pytest_evalrun.comparison.judged import ValueEstimate
    from pytest_evalrun.comparison.policy import AskedGate
    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.metrics.protocol import Metric
    from pytest_evalrun.suite.gates import GateRules

T = TypeVar("T")

# So many flipped samples of each kind are named.
MOST_NAMED = 10
NOT_THERE = "its suite is not there, and says no gates; give --policy FILE"


@dataclass(frozen=True)
class PairSides:
    """All pairs of a base or a candidate by their full ids; ``lacking`` are those that are no sides, and why.

    ``damaged`` are names of what should be one and cannot be read.
    """

    name: str
    pairs: Mapping[str, Side]
    lacking: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def among(self, matches: Callable[[str], bool]) -> PairSides:
        """The pairs alone whose ids match."""

        def chosen(found: Mapping[str, T]) -> dict[str, T]:
            return {pair: value for pair, value in found.items() if matches(pair)}

        return replace(self, pairs=chosen(self.pairs), lacking=chosen(self.lacking), damaged=chosen(self.damaged))


@dataclass(frozen=True)
class Judging:
    """What judging needs of suites. ``gates`` gives those of a pair, None where nobody knows what holds for it.

    ``metric`` makes a metric of a pair again, ``interval`` estimates the value of one.
    """

    gates: Callable[[str], Sequence[AskedGate] | None]
    metric: Callable[[str, str], Metric | None]
    interval: Callable[[str, Side, str, GateRules], ValueEstimate]


def judge_pairs(base: PairSides, candidate: PairSides, judging: Judging) -> Iterator[JudgedMetric]:
    """Judge every gate of every pair of the base; what the candidate alone has is not judged.

    A gate concerns a pair whose metric one of them has. One that cannot be compared says why.
    """
    for pair, why in base.damaged.items():
        yield JudgedMetric(pair, "", "supporting", problem=f"{base.name}: {why}")
    for pair, before in base.pairs.items():
        after = candidate.pairs.get(pair)
        gates = judging.gates(pair)
        if after is None:
            why = candidate.lacking.get(pair) or f"{candidate.name} has no such pair"
            judged = [*_missing(pair, before, gates, why)]
            # What cannot be read may be there: that is no decision, and no NO-GO either.
            damaged = candidate.damaged.get(pair)
            yield from judged if damaged is None else (_unread(gate, f"{candidate.name}: {damaged}") for gate in judged)
        elif gates is None:
            yield JudgedMetric(pair, "", "supporting", problem=NOT_THERE)
        else:
            yield from _Beside(pair, before, after, candidate.name, judging).judged(gates)


def _missing(pair: str, before: Side, gates: Sequence[AskedGate] | None, why: str) -> Iterator[JudgedMetric]:
    """Each gate that concerned the pair; where its suite no longer has it, one stands for all that nobody knows."""
    if gates is None:
        yield JudgedMetric(pair, "", "supporting", problem=why, missing=True)
    for asked in gates or ():
        if asked.metric in before.metrics:
            yield JudgedMetric(pair, asked.metric, _tier(asked), problem=why, missing=True, told=_asked(asked))


def _unread(gate: JudgedMetric, problem: str) -> JudgedMetric:
    return replace(gate, problem=problem, missing=False)


def _tier(asked: AskedGate) -> str:
    return asked.rules.of(asked.gate).tier


def _asked(asked: AskedGate) -> dict[str, Any]:
    gate = asked.gate
    kind = next((kind for kind in ("max_drop", "min", "max") if getattr(gate, kind) is not None), "max_drop")
    return {"kind": kind, "margin": getattr(gate, kind)}


class _Beside:
    """One pair on both sides, whose samples are read once, and only where a gate is about them."""

    def __init__(self, pair: str, before: Side, after: Side, candidate: str, judging: Judging) -> None:
        self._pair, self._before, self._after = pair, before, after
        self._candidate, self._judging = candidate, judging
        self._sides: TwoSides | PairError | None = None
        self._metrics: list[str] = []

    def judged(self, gates: Sequence[AskedGate]) -> Iterator[JudgedMetric]:
        both = self._before.metrics.keys() & self._after.metrics.keys()
        self._metrics = [asked.metric for asked in gates if asked.gate.max_drop is not None and asked.metric in both]
        for asked in gates:
            if asked.metric in self._after.metrics:
                yield from self._of_metric(asked)
            elif asked.metric in self._before.metrics:
                has = ", ".join(self._after.metrics) or "none"
                why, told = f"{self._candidate} has no such metric of this pair; it has: {has}", _asked(asked)
                yield JudgedMetric(self._pair, asked.metric, _tier(asked), problem=why, missing=True, told=told)

    def _of_metric(self, asked: AskedGate) -> Iterator[JudgedMetric]:
        gate = asked.gate
        for kind, limit in (("min", gate.min), ("max", gate.max)):
            if limit is not None:
                yield self._attempt(asked, partial(self._of_value, asked, kind, limit))
        if gate.max_drop is not None and asked.metric in self._before.metrics:
            yield self._attempt(asked, partial(self._of_drop, asked))

    def _attempt(self, asked: AskedGate, judged: Callable[[], JudgedMetric]) -> JudgedMetric:
        try:
            return judged()
        except PairError as error:
            return JudgedMetric(self._pair, asked.metric, _tier(asked), problem=str(error), told=_asked(asked))

    def _of_value(self, asked: AskedGate, kind: str, limit: float) -> JudgedMetric:
        value, rules = float(self._after.metrics[asked.metric]["value"]), asked.rules.of(asked.gate)
        if asked.gate.by == "interval":
            estimate = self._judging.interval(self._pair, self._after, asked.metric, rules)
            return self._judgement(asked, kind, judge_bound(estimate, value, kind, limit, rules))
        by = past_bound(value, kind, limit)
        conclusion = Conclusion(FAIL if by > 0 else PASS, "by the value alone")
        return self._judgement(asked, kind, GateFinding(value, limit, by, conclusion, {}))

    def _of_drop(self, asked: AskedGate) -> JudgedMetric:
        finding = judge_drop(
            self._both(),
            asked.metric,
            asked.gate,
            asked.rules.of(asked.gate),
            self._before.name,
            clustered=asked.clustered,
            most_named=MOST_NAMED,
            made=lambda row: self._judging.metric(self._pair, row),
        )
        return self._judgement(asked, "max_drop", finding)

    def _both(self) -> TwoSides:
        """Raises PairError again where the two could not be read before."""
        from pytest_evalrun.comparison.compare import TwoSides

        if self._sides is None:
            try:
                self._sides = TwoSides(self._before, self._after, self._metrics)
            except PairError as error:
                self._sides = error
        if isinstance(self._sides, PairError):
            raise self._sides
        return self._sides

    def _judgement(self, asked: AskedGate, kind: str, finding: GateFinding) -> JudgedMetric:
        conclusion = finding.conclusion
        told = {"kind": kind, **{name: getattr(finding, name) for name in ("value", "limit", "by")}, **finding.told}
        return JudgedMetric(
            pair=self._pair,
            metric=asked.metric,
            tier=_tier(asked),
            conclusion=conclusion,
            told={**told, "why": conclusion.why, "verdict": conclusion.word},
            better=str(self._after.metrics[asked.metric].get("better", "higher")),
            flips=finding.found.flips if finding.found is not None else None,
        )
