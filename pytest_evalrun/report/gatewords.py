"""A gate of a result in the words of a person: its verdict, its interval, and what that rests on.

What stands in a result is looked at as anybody may have written it: what is no number is as if it were not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import FAIL, INCONCLUSIVE, verdict_word
from pytest_evalrun.comparison.gatefacts import share_in
from pytest_evalrun.comparison.side import finite, two_ends
from pytest_evalrun.report.text import number
from pytest_evalrun.suite.gates import ADVISORY
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.comparison.conclusion import Word
    from pytest_evalrun.report.rows import SummaryRow

DROP = "max_drop"


@dataclass(frozen=True)
class ToldGate:
    """A gate as it came out: ``value`` misses ``limit`` by ``by``, all three in the metric's unit.

    ``kind`` is that of the gate: ``min``, ``max`` or ``max_drop``, whose limit is the value to which it may drop.
    ``value`` is None where the metric came to no number. ``interval`` is what it was judged by, for people, and empty
    where the value alone was. ``word`` is its verdict, ``holds`` what the pair's status follows.
    """

    pair: str
    metric: str
    kind: str
    value: float | None
    limit: float
    by: float
    interval: str = ""
    why: str = ""
    word: Word = FAIL
    holds: bool = False

    @property
    def text(self) -> str:
        """Metric, value, limit and interval, without the pair: ``top1 0.9100 < 0.9400 (min)``."""
        if self.value is None:
            return one_line(f"{self.metric} has no value ({self.kind} {number(self.limit)})")
        value, limit = number(self.value), number(self.limit)
        if value == limit:
            value, limit = repr(self.value), repr(self.limit)
        sign = "<" if self.value < self.limit else ">" if self.value > self.limit else "="
        by = f"; {self.interval}" if self.interval else ""
        return one_line(f"{self.metric} {value} {sign} {limit} ({self.kind}){by}")

    @property
    def explained(self) -> str:
        """The same with what an open verdict rests on."""
        return f"{self.text}: {self.why}" if self.why and self.word == INCONCLUSIVE else self.text

    @property
    def severity(self) -> float:
        """How far it is off, as a share of the limit: metrics of different scales stand in one list."""
        return abs(self.by) / (abs(self.limit) or 1.0)


def told_gate(row: SummaryRow, gate: Mapping[str, Any]) -> ToldGate:
    """A gate of a pair, as its result has it, as it is told."""
    metric = row.metrics.get(gate["metric"], {})
    value, limit = finite(gate.get("value", metric.get("value"))), finite(gate.get("limit")) or 0.0
    holds = bool(gate.get("holds"))
    off = math.inf if value is None else finite(gate.get("by")) or abs(value - limit)
    return ToldGate(
        pair=first_samples(row.pair, row.limit),
        metric=gate["metric"],
        kind=gate.get("kind", "min"),
        value=value,
        limit=limit,
        by=finite(gate.get("by")) or 0.0 if holds else off,
        interval=interval_words(gate, metric.get("better", "higher")),
        why=why_of(gate),
        word=verdict_word(gate),
        holds=holds,
    )


def flat_gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    """The gate with a verdict, whoever wrote it, and both ends of its interval as ``low`` and ``high``."""
    low, high = two_ends(gate.get("interval")) or (None, None)
    return {**gate, "verdict": verdict_word(gate), "low": low, "high": high}


def is_undecided(gate: Mapping[str, Any]) -> bool:
    """Tell whether its interval allows both, and somebody should know: what is advisory decides nothing anyway."""
    return verdict_word(gate) == INCONCLUSIVE and gate.get("tier") != ADVISORY


def is_advice(gate: Mapping[str, Any]) -> bool:
    """Tell whether it is past its limit and fails nothing."""
    return verdict_word(gate) == FAIL and gate.get("tier") == ADVISORY


def why_of(gate: Mapping[str, Any]) -> str:
    """What the verdict rests on, as one line; empty where its interval says it, or the result does not."""
    why = gate.get("why")
    if not isinstance(why, str) or (verdict_word(gate) != INCONCLUSIVE and interval_of(gate) is not None):
        return ""
    return one_line(why)


def interval_of(gate: Mapping[str, Any], better: str = "higher") -> tuple[float, float] | None:
    """The interval in the metric's own unit: where lower is better, a drop of quality is a rise."""
    if (ends := two_ends(gate.get("interval"))) is None:
        return None
    low, high = ends
    return (-high, -low) if better == "lower" and gate.get("kind") == DROP else (low, high)


def interval_words(gate: Mapping[str, Any], better: str = "higher") -> str:
    """Write the interval with what it is of: ``change -0.03 [-0.052, -0.008]``; empty where there is none."""
    found = interval_of(gate, better)
    if found is None:
        return ""
    if gate.get("kind") != DROP:
        return f"interval {bracketed(*found, signs=False)}"
    if (share := share_in(gate.get("margin"))) is not None:
        keep = 1 + share if better == "lower" else 1 - share
        return f"value - {keep:.6g} x before {bracketed(*found)}"
    value, before = finite(gate.get("value")), finite(gate.get("before"))
    change = "" if value is None or before is None else f"{signed(value - before)} "
    return f"change {change}{bracketed(*found)}"


def margin_of(gate: Mapping[str, Any]) -> str:
    """What the suite allows: the drop, or the bound."""
    margin = gate.get("margin")
    if isinstance(margin, str):
        return one_line(margin)
    value = finite(margin) if margin is not None else finite(gate.get("limit"))
    return "" if value is None else f"{value:.6g}"


def basis_of(gate: Mapping[str, Any]) -> str:
    """What was counted and how: ``Tango's score interval, n=180, discordance 0.08``; empty of a value alone."""
    told = [gate["method"]] if isinstance(gate.get("method"), str) else []
    told += ["approximate"] if gate.get("approximate") is True and "approximate" not in "".join(told) else []
    for name in ("n", "clusters"):
        if type(count := gate.get(name)) is int:
            told.append(f"{name}={count:,}")
    if (share := finite(gate.get("discordance"))) is not None:
        told.append(f"discordance {share:.3g}")
    lost, won = gate.get("lost"), gate.get("won")
    if type(lost) is int and type(won) is int:
        told.append(f"{lost:,} lost, {won:,} won")
    return one_line(", ".join(told))


def against_of(gate: Mapping[str, Any]) -> str:
    """What a drop was measured from: ``main, 0.9300``; empty where the result does not say."""
    name, before = gate.get("baseline"), finite(gate.get("before"))
    told = [str(name)] if isinstance(name, str | int | float) and not isinstance(name, bool) else []
    return one_line(", ".join([*told, *([number(before)] if before is not None else [])]))


def judged_words(row: SummaryRow, gate: Mapping[str, Any]) -> list[str]:
    """Verdict and all that it rests on, each part a text; nothing of a gate by its value alone."""
    if not {"why", "interval", "method"} & gate.keys():
        return []
    told = told_gate(row, gate)
    tier = gate.get("tier")
    confidence = finite(gate.get("confidence"))
    parts = [
        told.word,
        f"{told.interval}{f' ({confidence:.3g})' if confidence is not None and told.interval else ''}",
        basis_of(gate),
        f"against {against}" if (against := against_of(gate)) else "",
        f"margin {margin_of(gate)}" if gate.get("kind") == DROP else "",
        one_line(tier) if isinstance(tier, str) else "",
        told.why,
    ]
    return [part for part in parts if part]


def bracketed(low: float, high: float, *, signs: bool = True) -> str:
    """Write both ends: ``[-0.052, +0.008]``."""
    first, last = (signed(low), signed(high)) if signs else (number(low), number(high))
    return f"[{first}, {last}]"


def signed(value: float) -> str:
    """A change: three digits, and a sign unless it is none."""
    text = f"{value:+.3g}"
    return "0" if float(text) == 0 else text
