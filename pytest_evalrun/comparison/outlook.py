"""Before a run: what each gate could see with so many samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.comparison.alarms import finite, percentage
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.suite.gates import Gate, GateRules

# Where nothing was compared before.
ASSUMED = 0.1
POWER = 0.8


@dataclass(frozen=True)
class GateOutlook:
    """A gate before its pair is asked: ``n`` samples, ``least`` at which PASS is possible at all without a gain.

    ``seen`` is the true drop that would end in FAIL with a chance of 80 %, ``chance`` that of PASS if nothing changes,
    ``enough`` the samples at which that is 80 %; all three by ``discordance``, which is ``known`` from the last
    comparison or assumed, or, where scores are not 0 or 1, by how wide the last interval was. All are None where nobody
    can say; ``problem`` is why.
    """

    pair: str
    metric: str
    kind: str
    limit: str
    tier: str
    baseline: str
    n: int | None
    least: int | None
    seen: float | None = None
    chance: float | None = None
    enough: int | None = None
    discordance: float | None = None
    known: bool = False
    problem: str | None = None

    @property
    def impossible(self) -> bool:
        """With so few samples no result can PASS that is not better."""
        return self.n is not None and self.least is not None and self.n < self.least

    @property
    def fatal(self) -> bool:
        """Then a critical gate is an error before the model is loaded."""
        return self.impossible and self.tier == "critical"

    @property
    def text(self) -> str:
        """One line for a person: the gate, what is needed, what would be seen."""
        against = f" against {self.baseline}" if self.baseline else ", by its interval"
        parts = [*self._needed(), *self._seen()]
        if self.problem:
            parts.append(self.problem)
        return f"{self.pair} {self.metric} {self.kind} {self.limit}{against}: {'; '.join(parts)}"

    def _needed(self) -> Iterator[str]:
        there = "samples not counted yet" if self.n is None else counted(self.n, "sample")
        if self.impossible:
            yield f"{there}, and without a gain PASS needs {self.least:,}"
            if self.fatal:
                yield "critical: an ERROR before the model is loaded"
        else:
            yield f"{there}, PASS from {self.least:,} on" if self.least is not None else there

    def _seen(self) -> Iterator[str]:
        if self.seen is not None and not self.impossible:
            yield f"a drop of {self.seen:.2g} is seen"
        if self.chance is not None and not self.impossible:
            yield f"PASS {percentage(self.chance)}"
        if self.enough is not None and (self.n is None or self.enough > self.n):
            yield f"{POWER:.0%}".replace("%", f" % from {self.enough:,} samples on")
        if self.discordance is not None:
            yield f"discordance {self.discordance:.2g} {'last time' if self.known else 'assumed'}"


def outlook_lines(gates: Sequence[GateOutlook], most: int = 20, by_value: int = 0) -> Iterator[str]:
    """Tell a person, the impossible ones first, then those least likely to PASS; the rest is counted.

    ``by_value`` gates are judged by their value alone: told where there are no others.
    """
    if not gates:
        if by_value:
            yield f"{counted(by_value, 'gate')} judged by the value alone: how sure that is nobody can say"
        return
    for gate in sorted(gates, key=_worst_first)[:most]:
        yield ("impossible: " if gate.impossible else "") + gate.text
    if (left := len(gates) - most) > 0:
        impossible = sum(gate.impossible for gate in sorted(gates, key=_worst_first)[most:])
        also = f", {impossible} of them impossible" if impossible else ""
        yield f"… {counted(left, 'more gate')}{also}"


def _worst_first(gate: GateOutlook) -> tuple[Any, ...]:
    chance = 1.0 if gate.chance is None else gate.chance
    return not gate.fatal, not gate.impossible, chance, gate.pair, gate.metric, gate.kind


# ------------------------------------------------------------------ what is known


class MetricFacts(NamedTuple):
    """What a baseline's head, or a result, knows of a metric: ``value``, and ``bounds`` that its scores keep.

    ``binary``: all scores are 0 or 1, None where nobody knows. ``statistic``: its value is no mean of them.
    """

    value: float | None = None
    bounds: tuple[float, float] | None = None
    binary: bool | None = None
    statistic: bool = False


def facts_in(head: Mapping[str, Any], metric: str) -> MetricFacts:
    """Read a baseline's head, or a result's JSON, which knows of no ``binary``."""
    found = head.get("metrics", {}).get(metric)
    if not isinstance(found, dict):
        return MetricFacts()
    bounds, binary = found.get("bounds"), head.get("binary")
    ends = [finite(end) for end in bounds] if isinstance(bounds, list) else []
    return MetricFacts(
        finite(found.get("value")),
        (ends[0], ends[1]) if len(ends) == 2 and ends[0] is not None and ends[1] is not None else None,
        metric in binary if isinstance(binary, list) else None,
        metric in (head.get("statistics") or ()),
    )


def least_to_pass(gate: Gate, kind: str, rules: GateRules, facts: MetricFacts) -> int | None:
    """The fewest samples with which a gate can PASS by its interval, if the candidate is no better than the baseline.

    ``kind`` is ``max_drop``, ``min`` or ``max``. None where nobody can say, or where no number is enough.
    """
    from pytest_evalrun.stats.power import least_n, least_n_bounded, least_n_unseen

    confidence = rules.of(gate).confidence
    if kind != "max_drop":
        return _least_of_bound(gate, kind, confidence, facts)
    margin = drop_allowed(gate, facts.value)
    if margin is None or margin <= 0:
        return None
    if facts.binary and not facts.statistic:
        return least_n(margin, confidence)
    if facts.bounds is None:
        return None
    span = facts.bounds[1] - facts.bounds[0]
    if span <= margin:  # so much cannot be lost
        return None
    return least_n_unseen(margin, span) if facts.statistic else least_n_bounded(margin, span, confidence)


def drop_allowed(gate: Gate, before: float | None) -> float | None:
    """The margin of ``max_drop`` in the metric's unit; a share of a value that nobody knows is None."""
    if gate.share is not None:
        return None if before is None else gate.share * abs(before)
    return None if gate.max_drop is None else float(gate.max_drop)


def _least_of_bound(gate: Gate, kind: str, confidence: float, facts: MetricFacts) -> int | None:
    """Where every score is the best that there is, and that is 0 or 1: Wilson's interval ends at n / (n + z²)."""
    from math import ceil

    from pytest_evalrun.stats.proportions import normal_quantile

    limit = gate.min if kind == "min" else gate.max
    if limit is None or facts.bounds != (0.0, 1.0) or facts.statistic:
        return None
    share = limit if kind == "min" else 1 - limit
    if not 0 < share < 1:
        return None
    z = normal_quantile((1 + confidence) / 2)
    return max(1, ceil(z * z * share / (1 - share) - 1e-9))
