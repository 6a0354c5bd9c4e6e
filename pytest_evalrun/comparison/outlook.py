"""Before a run: what each gate could see with so many samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.comparison.alarms import chance_by_width, percentage
from pytest_evalrun.comparison.gatefacts import drop_allowed
from pytest_evalrun.comparison.side import bounds_in, finite
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

    ``margin`` is what may be lost until the gate is breached, in the metric's unit. How much comes out otherwise by
    chance is ``known`` from the last comparison or assumed: ``discordance`` is the share of samples that flip; where
    scores are not 0 or 1, ``half`` is half the width that the interval would have with ``n`` samples. What is None
    nobody can say; ``problem`` is why. ``clustered``: it is so many clusters that ``least`` counts;
    ``clusters``: as many as there were last time.
    """

    pair: str
    metric: str
    kind: str
    limit: str
    tier: str
    baseline: str
    n: int | None
    least: int | None
    margin: float | None = None
    confidence: float = 0.95
    discordance: float | None = None
    half: float | None = None
    known: bool = False
    problem: str | None = None
    clustered: bool = False
    clusters: int | None = None

    @property
    def impossible(self) -> bool:
        """With so few samples, or clusters of them, no result can PASS that is not better."""
        units = self.n if self.clusters is None else self.clusters
        return units is not None and self.least is not None and units < self.least

    @property
    def fatal(self) -> bool:
        """Then a critical gate is an error before the model is loaded; clusters are counted later."""
        few = self.n is not None and self.least is not None and self.n < self.least
        return few and self.tier == "critical"

    @cached_property
    def chance(self) -> float | None:
        """The chance of PASS if nothing changes."""
        if self.n is None or self.margin is None:
            return None
        if self.discordance is not None:
            from pytest_evalrun.stats.power import chance_of_pass

            return chance_of_pass(self.n, self.margin, self.discordance, confidence=self.confidence)
        return None if self.half is None else chance_by_width(self.margin, self.half, self.confidence)

    @cached_property
    def seen(self) -> float | None:
        """The true drop that ends in FAIL with a chance of 80 %."""
        if self.n is None or self.margin is None:
            return None
        if self.discordance is not None:
            from pytest_evalrun.stats.power import visible_drop

            return visible_drop(self.n, self.discordance, POWER, self.confidence, self.margin)
        return None if self.half is None else self.margin + self.half * _of_power(self.confidence)

    @cached_property
    def enough(self) -> int | None:
        """The samples at which the chance of PASS is 80 %, if nothing changes."""
        if self.margin is None or self.margin <= 0:
            return None
        if self.discordance is not None:
            from pytest_evalrun.stats.power import n_for_pass

            return n_for_pass(self.margin, self.discordance, POWER, confidence=self.confidence)
        if self.half is None or self.n is None:
            return None
        return ceil(self.n * (self.half * _of_power(self.confidence) / self.margin) ** 2)

    @property
    def strength(self) -> float:
        """How far the margin is beyond chance, for an order that costs nothing to find out."""
        if self.margin is None or not self.n:
            return inf
        half = self.half if self.discordance is None else 2 * sqrt(self.discordance / self.n)
        return inf if half is None else self.margin / max(half, 1e-12)

    @property
    def text(self) -> str:
        """One line for a person: the gate, what is needed, what would be seen."""
        against = f" against {self.baseline}" if self.baseline else ", by its interval"
        parts = [*self._needed(), *([] if self.impossible else self._seen())]
        if self.problem:
            parts.append(self.problem)
        return f"{self.pair} {self.metric} {self.kind} {self.limit}{against}: {'; '.join(parts)}"

    def _needed(self) -> Iterator[str]:
        there = "samples not counted yet" if self.n is None else f"{self.n:,} sample{'s' * (self.n != 1)}"
        if self.clusters is not None:
            there += f" in {counted(self.clusters, 'cluster')}"
        if self.least is None:
            yield there
            return
        needed = f"{self.least:,}{' clusters' if self.clustered else ''}"
        if self.impossible:
            unless = " unless it got better" if self.baseline else " even of the best"
            yield f"{there}, and PASS needs {needed}{unless}"
            if self.fatal:
                yield "critical: an ERROR before the model is loaded"
        else:
            yield f"{there}, PASS possible from {needed} on"

    def _seen(self) -> Iterator[str]:
        if self.seen is not None:
            yield f"a drop of {self.seen:.2g} would be seen"
        more = self.enough is not None and (self.n is None or self.enough > self.n)
        chances = [] if self.chance is None else [percentage(self.chance)]
        if chances or more:
            chances += [f"{percentage(POWER)} from {self.enough:,} samples on"] if more else []
            yield f"PASS with a chance of {', '.join(chances)}"
        if self.discordance is not None:
            yield f"discordance {self.discordance:.2g}, {'as last time' if self.known else 'assumed'}"


def outlook_lines(gates: Sequence[GateOutlook], most: int = 20) -> Iterator[str]:
    """Tell a person, the impossible ones first, then those least likely to PASS; the rest is counted."""
    ordered = sorted(gates, key=_worst_first)
    for gate in ordered[:most]:
        yield ("impossible: " if gate.impossible else "") + gate.text
    if rest := ordered[most:]:
        impossible = sum(gate.impossible for gate in rest)
        also = f", {impossible} of them impossible" if impossible else ""
        yield f"… {counted(len(rest), 'more gate')}{also}"


def _worst_first(gate: GateOutlook) -> tuple[Any, ...]:
    return not gate.fatal, not gate.impossible, gate.problem is None, gate.strength, gate.pair, gate.metric, gate.kind


def _of_power(confidence: float) -> float:
    """How many half widths away a difference must be to be seen with a chance of 80 %."""
    from statistics import NormalDist

    return 1 + NormalDist().inv_cdf(POWER) / NormalDist().inv_cdf((1 + confidence) / 2)


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
    """Read a baseline's head, or as much of one as a result has."""
    found = head.get("metrics", {}).get(metric)
    if not isinstance(found, dict):
        return MetricFacts()
    binary = head.get("binary")
    return MetricFacts(
        finite(found.get("value")),
        bounds_in(found),
        metric in binary if isinstance(binary, list) else None,
        metric in (head.get("statistics") or ()),
    )


def least_to_pass(gate: Gate, kind: str, rules: GateRules, facts: MetricFacts) -> int | None:
    """The fewest samples with which a gate can PASS by its interval, if the candidate is no better than the baseline.

    ``kind`` is ``max_drop``, ``min`` or ``max``. None where nobody can say, or where no number is enough.
    """
    from pytest_evalrun.stats.clustered import LEAST_CLUSTERS
    from pytest_evalrun.stats.power import least_n, least_n_bounded, least_n_unseen

    confidence = rules.of(gate).confidence
    if kind != "max_drop":
        return _least_of_bound(gate, kind, confidence, facts)
    margin = drop_allowed(gate, facts.value)
    bounds = facts.bounds or ((0.0, 1.0) if facts.binary else None)
    if margin is None or margin <= 0 or bounds is None or (span := bounds[1] - bounds[0]) <= margin:
        return None
    if rules.cluster is not None:
        return max(LEAST_CLUSTERS, least_n_unseen(margin, span, confidence) or 0)
    if facts.statistic:
        return least_n_unseen(margin, span, confidence)
    if gate.share is None and facts.binary is False:
        return least_n_bounded(margin, span, confidence)
    # Of a share it takes a few more, by the scores themselves; where nobody knows whether they are 0 or 1, perhaps.
    return least_n(margin / span, confidence)


def _least_of_bound(gate: Gate, kind: str, confidence: float, facts: MetricFacts) -> int | None:
    """Where every score is the best that there is, and that is 0 or 1: Wilson's interval ends at n / (n + z²)."""
    from pytest_evalrun.stats.proportions import normal_quantile

    limit = gate.min if kind == "min" else gate.max
    if limit is None or facts.bounds != (0.0, 1.0) or facts.statistic:
        return None
    share = limit if kind == "min" else 1 - limit
    if not 0 < share < 1:
        return None
    z = normal_quantile((1 + confidence) / 2)
    return max(1, ceil(z * z * share / (1 - share) - 1e-9))
