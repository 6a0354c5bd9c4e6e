"""Alarms of a run: which gates got worse for certain, though many were looked at; no outcome follows from them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE
from pytest_evalrun.comparison.gatefacts import margin_in
from pytest_evalrun.comparison.side import finite, two_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

LEVEL = 0.05
# So many are named in a line; of the others it is told how many there are.
MOST_NAMED = 5
# By whom p-values are adjusted; gates of other tiers are not looked at.
ADJUSTED_BY = {"critical": "Holm", "supporting": "Benjamini-Hochberg"}


@dataclass(frozen=True)
class Alarm:
    """A gate whose metric got worse: ``p`` as if it were the only one, ``adjusted`` for all that were looked at.

    ``change`` is the difference from the baseline in the metric's own unit, ``tier`` critical or supporting.
    """

    pair: str
    metric: str
    tier: str
    p: float
    adjusted: float
    change: float
    baseline: str

    @property
    def text(self) -> str:
        """The alarm without the name of its pair: ``top1 -0.031 against main (p 0.0004, adjusted 0.0048, Holm)``."""
        by = f"p {_small(self.p)}, adjusted {_small(self.adjusted)}, {ADJUSTED_BY[self.tier]}"
        return f"{self.metric} {self.change:+.3g} against {self.baseline} ({by})"


@dataclass(frozen=True)
class Alarms:
    """Of one suite: ``found`` are smallest adjusted p first; ``looked_at`` counts the gates by tier.

    ``chance`` is that all gates would PASS if nothing had changed, taken as independent; None where none was compared
    sample by sample. ``gates`` are so many.
    """

    suite: str
    found: tuple[Alarm, ...]
    looked_at: Mapping[str, int]
    chance: float | None
    gates: int

    def lines(self) -> Iterator[str]:
        """Tell a person: nothing where no gate was compared sample by sample."""
        if not self.gates:
            return
        share = f"{len(self.found):,}" if self.found else "none"
        share += f" of {self.gates:,} gates" if self.gates > 1 else " of 1 gate"
        named = [f"{alarm.pair.removeprefix(f'{self.suite}/')} {alarm.text}" for alarm in self.found[:MOST_NAMED]]
        if (left := len(self.found) - MOST_NAMED) > 0:
            named.append(f"{left:,} more")
        which = f": {'; '.join(named)}" if named else ""
        yield f"alarms ({self.suite}): {share} got worse beyond chance{which}"
        if self.chance is not None:
            who, alone = (f"all {self.gates:,}", ", were they independent") if self.gates > 1 else ("it", "")
            told = f"{who} would PASS with a chance of {percentage(self.chance)}{alone}"
            yield f"alarms ({self.suite}): if nothing had changed, {told}"


class _Compared(NamedTuple):
    """A gate that was compared sample by sample, as its result has it."""

    pair: str
    gate: Mapping[str, Any]
    tier: str
    p: float
    before: float

    def alarm(self, adjusted: float) -> Alarm:
        gate, change = self.gate, float(self.gate["value"]) - self.before
        baseline = str(gate.get("baseline", "its baseline"))
        return Alarm(self.pair, str(gate["metric"]), self.tier, self.p, adjusted, change, baseline)


def alarms_of(suite: str, gates: Iterable[tuple[str, Mapping[str, Any]]]) -> Alarms:
    """Look at all gates of a suite's results, as (full id of the pair, gate as its result has it).

    Holm over those that are critical, Benjamini and Hochberg over supporting ones; advisory ones are left out.
    """
    compared = [one for pair, gate in gates if (one := _compared(pair, gate)) is not None]
    found = [alarm for tier in ADJUSTED_BY for alarm in _worse([one for one in compared if one.tier == tier], tier)]
    found.sort(key=lambda alarm: (alarm.adjusted, alarm.p, alarm.pair, alarm.metric))
    looked_at = Counter(one.tier for one in compared)
    chances = [_chance(one) for one in compared]
    known = [chance for chance in chances if chance is not None]
    chance = math.prod(known) if known and len(known) == len(chances) else None
    return Alarms(suite, tuple(found), dict(looked_at), chance, len(compared))


def _compared(pair: str, gate: Mapping[str, Any]) -> _Compared | None:
    """None of a gate that was judged by its value alone, is advisory, or was edited by somebody into no gate at all."""
    p, value, before = (finite(gate.get(name)) for name in ("p", "value", "before"))
    tier = str(gate.get("tier", "supporting"))
    if p is None or value is None or before is None or "metric" not in gate or tier not in ADJUSTED_BY:
        return None
    return _Compared(pair, gate, tier, min(1.0, max(0.0, p)), before)


def _worse(compared: Sequence[_Compared], tier: str) -> Iterator[Alarm]:
    """Those of one tier that are alarms, all of its gates counted."""
    if not compared:
        return
    from pytest_evalrun.stats.multiplicity import benjamini_hochberg, holm

    adjust: Callable[[Sequence[float]], list[float]] = holm if tier == "critical" else benjamini_hochberg
    for one, adjusted in zip(compared, adjust([one.p for one in compared]), strict=True):
        if adjusted < LEVEL:
            yield one.alarm(adjusted)


def _chance(one: _Compared) -> float | None:
    """The chance of PASS if nothing had changed: of 0/1 scores by how many flipped, else by how wide the interval is.

    None where the result does not say enough.
    """
    gate = one.gate
    margin, n = margin_in(gate.get("margin"), one.before), finite(gate.get("n"))
    confidence, interval = finite(gate.get("confidence")), two_ends(gate.get("interval"))
    if margin is None or n is None or n < 1 or interval is None or confidence is None or not 0 < confidence < 1:
        return None
    low, high = interval
    if gate.get("approximate") and low >= -margin and gate.get("verdict") == INCONCLUSIVE:
        return 0.0  # too few samples for its method: whatever had come out, it would not have been PASS
    discordance = finite(gate.get("discordance"))
    if discordance is not None and not gate.get("clusters"):
        from pytest_evalrun.stats.power import chance_of_pass

        return chance_of_pass(int(n), margin, discordance, confidence=confidence)
    return chance_by_width(margin, (high - low) / 2, confidence)


def chance_by_width(margin: float, half: float, confidence: float) -> float:
    """The chance that an interval of this half width ends above ``-margin`` where the true difference is 0.

    By the normal approximation, of an interval that is as wide whatever comes out.
    """
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    if half <= 0:
        return float(margin >= 0)
    return NormalDist().cdf(z * margin / half - z)


def percentage(chance: float) -> str:
    """``41 %``; what is nearly certain is not told as if it were."""
    share = chance * 100
    if 0 < share < 1:
        return "less than 1 %"
    if 99 < share < 100:
        return "more than 99 %"
    return f"{share:.0f} %"


def _small(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "below 0.0001"
