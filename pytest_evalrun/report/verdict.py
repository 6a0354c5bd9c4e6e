"""What a run came to, in one line and in the few things behind it: the same in every report and message."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.report.text import number
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.report.rows import Summary, SummaryRow

# Worst first: the first of them that there is, is the word of the whole.
WORDS = ("error", "failed", "pending", "passed", "skipped")
NOTHING = "nothing"


@dataclass(frozen=True)
class Breach:
    """A gate that does not hold: ``value`` misses ``limit`` by ``by``; ``kind`` is that of the gate."""

    pair: str
    metric: str
    kind: str
    value: float
    limit: float
    by: float

    @property
    def text(self) -> str:
        """Metric, value and limit, without the pair."""
        return f"{self.metric} {number(self.value)}, {self.kind} {number(self.limit)}"

    @property
    def severity(self) -> float:
        """How far it is off, as a share of the limit: metrics of different scales stand in one list."""
        return abs(self.by) / (abs(self.limit) or 1.0)


@dataclass(frozen=True)
class Trouble:
    """A pair that came to no result, and why."""

    pair: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """``word`` is one of ``WORDS``, or ``nothing``; ``breaches`` are worst first; ``seconds`` of all pairs together.

    ``cost`` and ``currency`` are those of all pairs that have a price.
    """

    word: str
    counts: Mapping[str, int]
    breaches: tuple[Breach, ...]
    troubles: tuple[Trouble, ...]

    @property
    def good(self) -> bool:
        """Something was judged, and nothing of it was bad."""
        return self.word == "passed"

    @property
    def line(self) -> str:
        """The verdict: its word, how many pairs of how many, and what is behind it."""
        total = sum(self.counts.values())
        if not total:
            return "NOTHING: no pair has a result"
        counts = ", ".join(f"{self.counts[word]} {word}" for word in WORDS if self.counts.get(word))
        breached = f"; {counted(len(self.breaches), 'gate')} breached" if self.breaches else ""
        return f"{self.word.upper()}: {counted(total, 'pair')}: {counts}{breached}"


def verdict_of(summary: Summary) -> Verdict:
    """Judge all pairs of a run that are still on disk; evaluations of first samples alone count for nothing."""
    rows = [row for row in summary.full if not row.gone]
    counts = Counter(row.status for row in rows)
    word = next((word for word in WORDS if counts[word]), NOTHING)
    breaches = sorted((breach for row in rows for breach in _breaches(row)), key=lambda one: -one.severity)
    return Verdict(word, counts, tuple(breaches), tuple(_troubles(rows)))


def _breaches(row: SummaryRow) -> Iterator[Breach]:
    name = first_samples(row.pair, row.limit)
    for gate in row.gates:
        if not gate["holds"] and gate["metric"] in row.metrics:
            value = row.metrics[gate["metric"]]["value"]
            yield Breach(name, gate["metric"], gate["kind"], value, gate["limit"], gate["by"])


def _troubles(rows: list[SummaryRow]) -> Iterator[Trouble]:
    for row in rows:
        if row.status == "error":
            yield Trouble(row.pair, row.error or "")
