"""What a run came to, in one line and in the few things behind it: the same in every report and message."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE
from pytest_evalrun.comparison.side import finite
from pytest_evalrun.report.gatewords import ToldGate, is_advice, is_undecided, told_gate
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.costs import amounts_of, money
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.report.rows import Summary, SummaryRow

# Worst first: the first of them that there is, is the word of the whole. Behind each, what is said of the pairs.
WORDS = {
    "error": "ended in an error",
    "failed": "failed",
    "pending": "without a result yet",
    "passed": "passed",
    "skipped": "skipped",
}
NOTHING = "nothing"
BAD = ("error", "failed")
UNREADABLE = "its result cannot be read: it is damaged; the same command evaluates the pair again"
UNWRITTEN = "it ended in an error; its log says in which"
# A reason may be a page with a traceback in it; what is shown of it in one line is no longer than this.
LONGEST_REASON = 200


@dataclass(frozen=True)
class Breach(ToldGate):
    """A gate that does not hold; where its interval allows both, its value or the suite decided so."""

    @property
    def text(self) -> str:
        """As it is told of any gate: ``top1 0.9100 < 0.9400 (min)``; and whether its interval leaves it open."""
        return f"{super().text}{'; undecided' if self.word == INCONCLUSIVE else ''}"


@dataclass(frozen=True)
class Trouble:
    """A pair that came to no result, and why."""

    pair: str
    reason: str

    @property
    def brief(self) -> str:
        """The reason's first line, cut where it is long."""
        line = one_line(self.reason.strip().partition("\n")[0])
        return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"


@dataclass(frozen=True)
class Verdict:
    """``word`` is one of ``WORDS``, or ``nothing``; ``counts`` says of how many pairs which of them holds.

    ``breaches`` are worst first, ``troubles`` in natural order. ``first`` counts evaluations of first samples that this
    launch made; with ``limited`` there is nothing else, and ``counts`` are those. ``outdated``: how many of the pairs
    with an error still show the values of an earlier evaluation. ``gone``: pairs with a result that are no longer on
    disk and count for nothing. ``seconds`` of all results together, None where nobody knows. ``costs``: currency →
    what their answers cost. ``undecided`` are the gates whose interval allows both, whether or not they hold;
    ``advisory`` those that are past their limit and fail nothing.
    """

    word: str
    counts: Mapping[str, int]
    breaches: tuple[Breach, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    first: Mapping[str, int] = field(default_factory=dict)
    limited: bool = False
    outdated: int = 0
    gone: int = 0
    seconds: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    undecided: tuple[ToldGate, ...] = ()
    advisory: tuple[ToldGate, ...] = ()

    @property
    def good(self) -> bool:
        """Something was judged, and nothing of it was bad."""
        return self.word == "passed"

    @property
    def total(self) -> int:
        """How many pairs were counted."""
        return sum(self.counts.values())

    @property
    def cost(self) -> str:
        """What the answers cost, for people; empty where nothing has a price."""
        return " and ".join(money(amount, currency) for currency, amount in sorted(self.costs.items()))

    @property
    def line(self) -> str:
        """The verdict for whoever was not there: its word, how many pairs of how many, and what is behind it.

        ``FAILED: 2 of 12 pairs failed (3 gates breached); 9 passed, 1 skipped``.
        """
        if not self.total:
            return _joined(["NOTHING: no pair has a result", *self._beside()])
        own = self.counts.get(self.word, 0)
        if not own:  # pairs are well, an evaluation of first samples is not
            return _joined([f"{self.word.upper()}: {self._beside()[0]}", _listed(self.counts), *self._beside()[1:]])
        share = _share(own, self.total)
        what = {"error": self._of_errors(), "failed": f" ({self._of_gates()})"}.get(self.word, "")
        behind = [_listed(self.counts, without=self.word)]
        if self.word == "error" and self.breaches:
            behind.append(self._of_gates())
        only = ", by their first samples alone" if self.limited else ""
        return _joined([f"{self.word.upper()}: {share} {WORDS[self.word]}{what}{only}", *behind, *self._beside()])

    def _of_gates(self) -> str:
        return f"{counted(len(self.breaches), 'gate')} breached"

    def _of_errors(self) -> str:
        return f" ({self.outdated} of them with values of an earlier evaluation)" if self.outdated else ""

    def _beside(self) -> list[str]:
        """What counts for nothing, or only where it is bad."""
        found = []
        if self.first and not self.limited:
            found.append(
                f"{counted(sum(self.first.values()), 'evaluation')} of first samples alone: {_listed(self.first)}"
            )
        if self.gone:
            found.append(f"{counted(self.gone, 'pair')} gone from disk")
        if self.undecided:
            found.append(f"{counted(len(self.undecided), 'gate')} undecided")
        return found


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part)


def _share(count: int, total: int) -> str:
    if count == total:
        return "the only pair" if total == 1 else f"all {total} pairs"
    return f"{count} of {total} pairs"


def _listed(counts: Mapping[str, int], without: str = "") -> str:
    return ", ".join(f"{counts[word]} {text}" for word, text in WORDS.items() if word != without and counts.get(word))


def verdict_of(summary: Summary) -> Verdict:
    """Judge all pairs of a run that are still on disk, those without a result too.

    Where this launch made evaluations of first samples: they count alone where there is nothing else, and beside whole
    ones where they are bad.
    """
    whole = [row for row in summary.full if not row.gone]
    first = [row for row in summary.present if row.limit is not None]
    counts = Counter(row.status for row in whole)
    counts.update(summary.lacking.values())
    damaged = [Trouble(name, UNREADABLE) for name in summary.unreadable]
    counts["error"] += len(damaged)
    looks = Counter(row.status for row in first)
    limited = bool(first) and not any(counts[word] for word in ("error", "failed", "passed"))
    if limited:
        counts = looks
    found = [word for word in WORDS if counts[word] or (word in BAD and looks[word])]
    rows = [*whole, *first]
    return Verdict(
        word=found[0] if found else NOTHING,
        counts={word: counts[word] for word in WORDS if counts[word]},
        breaches=tuple(
            sorted((breach for row in rows if row.status == "failed" for breach in _breaches(row)), key=_worst_first)
        ),
        undecided=tuple(sorted(_chosen(rows, is_undecided), key=_worst_first)),
        advisory=tuple(sorted(_chosen(rows, is_advice), key=_worst_first)),
        troubles=tuple(sorted([*_troubles(rows, summary.lacking), *damaged], key=_by_name)),
        first={word: looks[word] for word in WORDS if looks[word]},
        limited=limited,
        outdated=sum(row.outdated for row in whole),
        gone=len(summary.gone),
        seconds=_seconds(rows),
        costs=_costs(rows),
    )


def _worst_first(breach: ToldGate) -> tuple[Any, ...]:
    return -breach.severity, natural_key(breach.pair), breach.metric, breach.kind


def _by_name(trouble: Trouble) -> tuple[Any, ...]:
    return natural_key(trouble.pair)


def beside(verdict: Verdict) -> Iterator[tuple[str, tuple[ToldGate, ...]]]:
    """The gates that fail nothing and that somebody should look at, by what they are called."""
    yield "undecided", tuple(gate for gate in verdict.undecided if gate.holds)
    yield "advisory", verdict.advisory


def _breaches(row: SummaryRow) -> Iterator[Breach]:
    """The gates that a row's values miss; it has failed by them, and not by an error."""
    return (Breach(**vars(told_gate(row, gate))) for gate in row.gates if not gate.get("holds"))


def _chosen(rows: Iterable[SummaryRow], wanted: Callable[[Mapping[str, Any]], bool]) -> Iterator[ToldGate]:
    """Gates of pairs that were judged: where the last evaluation ended in an error, its gates say nothing."""
    for row in rows:
        if row.status in ("passed", "failed"):
            yield from (told_gate(row, gate) for gate in row.gates if wanted(gate))


def _troubles(rows: Sequence[SummaryRow], lacking: Mapping[str, str]) -> Iterator[Trouble]:
    for row in rows:
        if row.status == "error":
            yield Trouble(first_samples(row.pair, row.limit), row.error or UNWRITTEN)
    for name, how in lacking.items():
        if how == "error":
            yield Trouble(name, UNWRITTEN)


def _seconds(rows: Sequence[SummaryRow]) -> float | None:
    known = [seconds for row in rows if (seconds := finite(row.seconds)) is not None]
    return sum(known) if known else None


def _costs(rows: Sequence[SummaryRow]) -> dict[str, float]:
    found: Counter[str] = Counter()
    for usage in filter(None, (row.usage for row in rows)):
        found.update(amounts_of(usage))
    return dict(found)
