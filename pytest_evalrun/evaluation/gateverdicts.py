"""A gate that was judged: what came of it, what that rests on, and how people are told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE, PASS
from pytest_evalrun.suite.gates import ADVISORY
from pytest_evalrun.suite.printable import brief, counted, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.comparison.compare import FlippedSamples
    from pytest_evalrun.comparison.conclusion import Word
    from pytest_evalrun.comparison.judged import GateFinding
    from pytest_evalrun.suite.gates import GateRules

# What of a verdict no result has.
OF_PEOPLE = frozenset({"told", "change", "higher", "flips"})


@dataclass(frozen=True)
class GateVerdict:
    """One condition judged: ``by`` is the distance of the value past the limit, 0 where it keeps it.

    ``verdict`` is PASS, FAIL or INCONCLUSIVE; ``holds`` is what the pair's status follows: what ``when_unsure`` says of
    an INCONCLUSIVE, and of an advisory gate always True. ``told`` is what else a result says of it, as JSON: why,
    method, approximate, interval, n, confidence, baseline, margin, before, p, lost, won, discordance, clusters,
    coverage. In ``told["interval"]`` a ``max_drop`` has the difference from the baseline in the sense of quality (more
    is better), ``min`` and ``max`` have the value's. For people alone ``change`` is the difference itself (of a
    relative drop from what must be left), ``higher`` tells which way is better, and ``flips`` names samples.
    """

    metric: str
    kind: str
    value: float
    limit: float
    by: float
    verdict: Word = PASS
    holds: bool = True
    tier: str = "supporting"
    told: Mapping[str, Any] = field(default_factory=dict)
    change: float | None = None
    higher: bool = True
    flips: FlippedSamples | None = None

    def compared(self) -> str:
        """The value against the limit: ``0.75 < 0.9``; two numbers that differ look different."""
        value, limit = f"{self.value:.6g}", f"{self.limit:.6g}"
        if value == limit and self.value != self.limit:
            value, limit = repr(self.value), repr(self.limit)
        sign = "<" if self.value < self.limit else "=" if self.value == self.limit else ">"
        return f"{value} {sign} {limit}"

    def in_brief(self) -> str:
        """As a breach: ``exact_match 0.75 < 0.9``; with what it rests on where that is more than the value.

        ``top1 0.91 < 0.93? (-0.02 [-0.041, +0.003], n=180)``: the question mark is an INCONCLUSIVE's.
        """
        unsure = "?" if self.verdict == INCONCLUSIVE else ""
        rests = self.rests_on()
        return f"{self.metric} {self.compared()}{unsure}{f' ({rests})' if rests else ''}"

    def rests_on(self) -> str:
        """The interval, and the number of samples that it is of: ``-0.02 [-0.041, +0.003], n=180``.

        Of a drop it is the change in the metric's own unit: where lower is better, a rise.
        """
        if (interval := self.told.get("interval")) is None:
            return ""
        low, high = interval
        if self.change is None:
            return f"[{low:.4g}, {high:.4g}], n={self.told['n']}"
        change, low, high = (self.change, low, high) if self.higher else (0.0 - self.change, -high, -low)
        return f"{change:+.4g} [{low:+.4g}, {high:+.4g}], n={self.told['n']}"

    def to_json(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name not in OF_PEOPLE}
        return own | dict(self.told)


def settled(by: float, rules: GateRules, verdict: Word | None = None) -> bool:
    """What the status of the pair follows: the verdict, where it is INCONCLUSIVE what the rules say of that."""
    if rules.tier == ADVISORY:
        return True
    if verdict is None or (verdict == INCONCLUSIVE and rules.when_unsure == "value"):
        return by <= 0
    return verdict == PASS or (verdict == INCONCLUSIVE and rules.when_unsure == "pass")


def verdict_of_finding(metric: str, kind: str, finding: GateFinding, rules: GateRules) -> GateVerdict:
    """The verdict of a gate that an interval decides."""
    word, found = finding.conclusion.word, finding.found
    holds = settled(finding.by, rules, word)
    verdict = GateVerdict(metric, kind, finding.value, finding.limit, finding.by, word, holds, rules.tier, finding.told)
    if found is None:
        return verdict
    change = None if found.estimate is None else found.estimate.value + 0.0
    return replace(verdict, change=change, higher=found.better == "higher", flips=found.flips)


def in_brief(verdicts: Sequence[GateVerdict]) -> str:
    """The breached gates in one line: ``exact_match 0.75 < 0.9``."""
    return ", ".join(verdict.in_brief() for verdict in verdicts if not verdict.holds)


def breach_table(verdicts: Sequence[GateVerdict]) -> str:
    """The breached gates as a table: metric, value, limit, by how much; below it what intervals they rest on."""
    breached = [verdict for verdict in verdicts if not verdict.holds]
    rows = [("metric", "value", "gate", "limit", "by")]
    rows += [(v.metric, f"{v.value:.6g}", v.kind, f"{v.limit:.6g}", f"{v.by:.6g}") for v in breached]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *(line for verdict in breached for line in _details(verdict))])


def _details(verdict: GateVerdict) -> Iterator[str]:
    """What the verdict rests on: ``top1 max_drop 0.01 against main (0.94): FAIL: …``, its method, flips."""
    told = verdict.told
    if "confidence" not in told:
        return
    against = (
        f" {told['margin']} against {one_line(told['baseline'])} ({told['before']:.6g})" if "margin" in told else ""
    )
    rests = verdict.rests_on()
    # What is decided by an interval has that as its reason, which is the next line.
    why = f": {told['why']}" if verdict.verdict == INCONCLUSIVE or not rests else ""
    yield f"{verdict.metric} {verdict.kind}{against}: {verdict.verdict}{why}"
    if rests:
        yield f"  {rests} at {100 * told['confidence']:g} % by {told['method']}"
    if verdict.flips is not None and (verdict.flips.lost or verdict.flips.won):
        flips = verdict.flips
        yield f"  {_named('lost', flips.lost, flips.first_lost)}; {_named('won', flips.won, flips.first_won)}"


def _named(word: str, count: int, first: Sequence[str]) -> str:
    """``lost 12: s3, s19, … and 10 more``."""
    more = f" and {counted(count - len(first), 'other')}" if count > len(first) else ""
    return f"{word} {count}{': ' if first else ''}{', '.join(map(brief, first))}{more}"
