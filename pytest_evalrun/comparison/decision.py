"""What ``evalrun gate`` decides of a candidate: GO only where all was judged, and all that matters passed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import FAIL, INCONCLUSIVE
from pytest_evalrun.suite.gates import ADVISORY
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.comparison.compare import FlippedSamples
    from pytest_evalrun.comparison.conclusion import Conclusion

GO, NO_GO, UNSURE, BROKE = "GO", "NO-GO", "INCONCLUSIVE", "BROKE"
CODES = {GO: 0, NO_GO: 1, UNSURE: 2, BROKE: 3}
NOTHING = "no gate was judged"
# How a gate stands, worst first; each word is what people are told.
MISSING, BROKEN, PAST = "MISSING", "BROKE", "advisory"
STANDINGS = (MISSING, FAIL, BROKEN, INCONCLUSIVE, PAST, "PASS")


@dataclass(frozen=True)
class JudgedMetric:
    """One gate of one pair; ``conclusion`` is None where it could not be judged, for ``problem``.

    ``missing``: the candidate lacks the pair, whose ``metric`` is empty where nobody knows its gates, or the metric.
    ``told`` is all that is known of it, as ``gates[]`` of a result has it; ``better`` says which way is.
    """

    pair: str
    metric: str
    tier: str
    conclusion: Conclusion | None = None
    problem: str | None = None
    missing: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)
    better: str = "higher"
    flips: FlippedSamples | None = None

    @property
    def standing(self) -> str:
        """One of ``STANDINGS``: its verdict, or why there is none."""
        if self.missing:
            return MISSING
        if self.conclusion is None:
            return BROKEN
        return PAST if self.tier == ADVISORY and self.conclusion.word == FAIL else self.conclusion.word

    @property
    def matters(self) -> bool:
        """What is advisory is told, and decides nothing; but a pair that is missing was never judged at all."""
        return self.missing or self.tier != ADVISORY

    @property
    def rank(self) -> tuple[Any, ...]:
        """A sort key: what stands worst is first, then what is farthest off, as a share of its limit."""
        by, limit = self.told.get("by") or 0.0, abs(self.told.get("limit") or 0.0) or 1.0
        return STANDINGS.index(self.standing), -by / limit, self.pair, self.metric

    def to_json(self) -> dict[str, Any]:
        """As programs are told."""
        facts = {"pair": self.pair, "metric": self.metric, "tier": self.tier, "verdict": self.standing}
        return {**self.told, **facts} | ({} if self.problem is None else {"problem": self.problem})


@dataclass(frozen=True)
class Decision:
    """All gates of a candidate against a base, worst first; ``word`` is GO, NO-GO, INCONCLUSIVE or BROKE.

    ``why`` is a line. ``remarks`` are what else a person should know: what was not judged, and why.
    """

    base: str
    candidate: str
    gates: tuple[JudgedMetric, ...]
    word: str
    why: str
    policy: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return CODES[self.word]

    @property
    def line(self) -> str:
        """The verdict for whoever was not there."""
        return f"{self.word}: {self.why}"

    def to_json(self) -> dict[str, Any]:
        """As programs are told."""
        named = {"verdict": self.word, "code": self.code, "why": self.why, "base": self.base}
        named |= {"candidate": self.candidate, "policy": self.policy}
        return named | {"gates": [gate.to_json() for gate in self.gates], "remarks": list(self.remarks)}


def decide(
    base: str,
    candidate: str,
    gates: Sequence[JudgedMetric],
    policy: str = "",
    remarks: Sequence[str] = (),
    remedy: str = "",
) -> Decision:
    """NO-GO: a critical or supporting gate FAILs, or the candidate lacks a pair or a metric that the base has.

    BROKE: no gate that matters was judged, or one could not be. INCONCLUSIVE: one of them is, whatever ``when_unsure``
    says it counts for in a suite, but for ``pass``. ``remedy`` is told where nothing was judged.
    """
    ordered = tuple(sorted(gates, key=lambda gate: gate.rank))
    word, why = _judged(ordered)
    why = f"{why}; {remedy}" if remedy and why.startswith(NOTHING) else why
    return Decision(base, candidate, ordered, word, why, policy, tuple(remarks))


def broken(base: str, candidate: str, problem: str) -> Decision:
    """Nothing could be judged at all, for a reason of one line or more."""
    why, *more = problem.splitlines() or [NOTHING]
    return Decision(base, candidate, (), BROKE, why, remarks=tuple(more))


def _judged(gates: Sequence[JudgedMetric]) -> tuple[str, str]:
    counts = Counter(gate.standing for gate in gates if gate.matters and not _is_let_pass(gate))
    passed = sum(_is_let_pass(gate) for gate in gates if gate.matters)
    if not counts and not passed:
        only = f": {counted(len(gates), 'gate')} here, all advisory" if gates else ""
        return BROKE, f"{NOTHING}{only}"
    total, listed = sum(counts.values()) + passed, _listed(counts, gates)
    if counts[FAIL] or counts[MISSING]:
        return NO_GO, listed
    if counts[BROKEN]:
        return BROKE, listed
    if counts[INCONCLUSIVE]:
        return UNSURE, listed
    less = f", {passed} of them undecided, which the policy lets pass" if passed else ""
    return GO, f"{'the only gate passes' if total == 1 else f'all {total} gates pass'}{less}{_past(gates)}"


def _is_let_pass(gate: JudgedMetric) -> bool:
    return gate.standing == INCONCLUSIVE and gate.told.get("unsure") == "pass"


def _listed(counts: Mapping[str, int], gates: Sequence[JudgedMetric]) -> str:
    """``1 of 12 gates FAILs, 2 missing, 3 undecided; 6 PASS``."""
    gone = {gate.pair for gate in gates if gate.missing}
    told = [f"{counts[FAIL]} of {counted(sum(counts.values()), 'gate')} past what is allowed"] if counts[FAIL] else []
    if counts[MISSING]:
        told.append(f"{counted(counts[MISSING], 'gate')} of {counted(len(gone), 'pair')} missing")
    if counts[BROKEN]:
        told.append(f"{counted(counts[BROKEN], 'gate')} that could not be judged")
    if counts[INCONCLUSIVE]:
        told.append(f"{counted(counts[INCONCLUSIVE], 'gate')} undecided")
    return f"{', '.join(told)}; {counts.get('PASS', 0)} PASS{_past(gates)}"


def _past(gates: Sequence[JudgedMetric]) -> str:
    count = sum(gate.standing == PAST for gate in gates)
    return f"; {counted(count, 'advisory gate')} past what is allowed" if count else ""
