"""The page of a run, of its rows and of what is known of each pair besides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE
from pytest_evalrun.report.alarms import alarm_lines
from pytest_evalrun.report.gatewords import judged_words, told_gate
from pytest_evalrun.report.html.details import anchor_of, joined_detail
from pytest_evalrun.report.html.grids import GridMaker, scatters
from pytest_evalrun.report.html.model import GateNote, Page, PageProblem, PairHead
from pytest_evalrun.report.html.past import NO_PAST, PairPast
from pytest_evalrun.report.html.safejson import shown
from pytest_evalrun.report.matrix import table_of
from pytest_evalrun.report.text import number
from pytest_evalrun.report.verdict import beside, verdict_of
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import counted, first_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.report.html.fragments import Fragment
    from pytest_evalrun.report.rows import Summary, SummaryRow
    from pytest_evalrun.report.verdict import Verdict
    from pytest_evalrun.suite.pairs import PairKey

# Problems whose reasons a person reads; of more there is the list of pairs.
MOST_PROBLEMS = 200
MOST_REASON = 600
PROBLEMS = ("error", "failed")


@dataclass(frozen=True)
class PairFacts:
    """What is known of a pair besides its row: ``fragment`` without samples, None where it could not be made."""

    past: PairPast = NO_PAST
    fragment: Fragment | None = field(default=None, repr=False)

    @property
    def before(self) -> Mapping[str, float]:
        """The values that the pair is compared with: of another run where that has it, else the last of its history."""
        fragment = self.fragment
        return fragment.before if fragment is not None and fragment.against is not None else self.past.before


NO_FACTS = PairFacts()


@dataclass(frozen=True)
class PageFacts:
    """What the page says of its run: ``made`` is when, ``against`` the run that it is compared with."""

    run: str
    made: str
    command: str = ""
    against: str | None = None
    left_out: tuple[str, ...] = ()


def page_of(summary: Summary, about: PageFacts, facts: Mapping[PairKey, PairFacts]) -> Page:
    """Put the page together; rows that are not shown, or whose pairs are gone, are not on it."""

    def anchor(row: SummaryRow) -> str:
        return anchor_of(row.key)

    def before(row: SummaryRow) -> Mapping[str, float]:
        return facts.get(row.key, NO_FACTS).before

    verdict = verdict_of(summary)
    return Page(
        run=one_line(about.run),
        made=about.made,
        command=one_line(about.command),
        verdict=verdict,
        against=about.against,
        problems=tuple(_problems(summary, verdict)),
        grids=tuple(GridMaker(before, anchor).grids(summary)),
        scatters=tuple(scatters(summary, anchor)),
        heads=tuple(_head(row, facts.get(row.key, NO_FACTS).past) for row in summary.present),
        left_out=about.left_out,
        notes=tuple(_notes(summary, verdict)),
        alarms=tuple(map(one_line, alarm_lines(summary))),
    )


def _notes(summary: Summary, verdict: Verdict) -> Iterator[GateNote]:
    """Gates that their intervals leave open and that hold, then those that are advisory: the first of each."""
    anchors = {first_samples(row.pair, row.limit): anchor_of(row.key) for row in summary.present}
    for word, gates in beside(verdict):
        for gate in gates[:MOST_PROBLEMS]:
            yield GateNote(one_line(gate.pair), anchors.get(gate.pair, ""), word, _cut(gate.explained))


def _problems(summary: Summary, verdict: Verdict) -> Iterator[PageProblem]:
    """Pairs in trouble, those without a result of which the run knows no more too, then breached ones, worst first."""
    severity: dict[str, float] = {}
    for breach in verdict.breaches:
        severity.setdefault(breach.pair, breach.severity)
    bad = [row for row in summary.present if row.status in PROBLEMS]
    bad.sort(key=lambda row: -severity.get(_name(row), 0.0))
    listed = {_name(row) for row in bad}
    found = [PageProblem(_name(row), anchor_of(row.key), row.status, reason_of(row)) for row in bad]
    others = ((one_line(one.pair), one.brief) for one in verdict.troubles)
    found += [PageProblem(pair, "", "error", reason) for pair, reason in others if pair not in listed]
    found.sort(key=lambda problem: PROBLEMS.index(problem.status))
    yield from found[:MOST_PROBLEMS]


def reason_of(row: SummaryRow) -> str:
    """Why a pair is in the list of problems, on one line."""
    breaches = [_breach(row, gate) for gate in row.gates if not gate["holds"]]
    return _cut(one_line("; ".join([*([row.error] if row.error else []), *breaches])))


def _breach(row: SummaryRow, gate: Mapping[str, Any]) -> str:
    told = told_gate(row, gate)
    text = f"{gate['metric']} {number(gate['value'])}, {gate['kind']} {number(gate['limit'])}"
    more = [told.interval, f"undecided: {told.why}" if told.word == INCONCLUSIVE else ""]
    return ", ".join(filter(None, [text, *more]))


def _cut(reason: str) -> str:
    return reason if len(reason) <= MOST_REASON else f"{reason[:MOST_REASON]}…"


def _head(row: SummaryRow, past: PairPast) -> PairHead:
    metric = next((name for name, value in row.metrics.items() if table_of(value) is None), "")
    return PairHead(anchor_of(row.key), _name(row), row.status, samples_text(row), past.spark(metric), metric)


def samples_text(row: SummaryRow) -> str:
    """How many samples a pair has, and what became of them where not all was well."""
    total, failed = row.samples.get("total", 0), row.samples.get("failed", 0)
    missing = total - row.samples.get("predicted", 0) - failed
    told = [f"{failed:,} failed"] * (failed > 0) + [f"{missing:,} not asked"] * (missing > 0)
    return ", ".join([f"{total:,} sample{'' if total == 1 else 's'}", *told])


def _name(row: SummaryRow) -> str:
    return one_line(first_samples(row.pair, row.limit))


def detail_json(row: SummaryRow, facts: PairFacts, samples: Sequence[bytes] | None) -> bytes:
    """All of a pair's detail as JSON; ``samples`` are those that there is room for, None where not even for the rest.

    Who asks for samples otherwise gives none of them here.
    """
    fragment, past = facts.fragment, facts.past
    head: dict[str, Any] = {
        "anchor": anchor_of(row.key),
        "id": _name(row),
        "status": row.status,
        "error": None if row.error is None else one_line(row.error),
        "skipped": None if row.skipped is None else one_line(row.skipped),
        "judged": [judged_words(row, gate) for gate in row.gates],
    }
    if fragment is None or samples is None:
        why = "its result has no detail" if fragment is None else "there was no room for more in this page"
        return joined_detail(head, b"{}", _NOTHING | {"total": row.samples.get("total", 0), "note": why}, [])
    head |= {"history": past.told, "changes": [*fragment.changes, *past.changes()], "against": fragment.against}
    tail = {"total": fragment.total, "note": note_of(len(samples), fragment)}
    return joined_detail(shown(head), fragment.detail, tail, list(samples))


_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("histogram", "usage", "statuses", "against")),
    **{name: [] for name in ("gates", "changes", "tables", "history", "scored", "binary", "files")},
    **{name: {} for name in ("environment", "seconds", "counts", "better")},
}


def note_of(count: int, fragment: Fragment) -> str:
    """Which samples are shown where these are not all."""
    if count == fragment.total:
        return ""
    return (
        f"{count:,} of {fragment.total:,} samples: flipped, failed, wrong, worst and best ones first, then a spread "
        "over all; the files have the others"
    )


def left_out_lines(fewer: int, without: Sequence[str], problems: int) -> Iterator[str]:
    """What there was no room for, and where it is."""
    if problems > MOST_PROBLEMS:
        yield f"{problems - MOST_PROBLEMS:,} more pairs failed or ended in an error: see the list of pairs"
    if fewer:
        yield f"{counted(fewer, 'pair')} with fewer samples than the run has; all are linked as files in each pair"
    if without:
        yield f"{counted(len(without), 'pair')} without samples, for want of room: {first_of(without, 5)}"
