"""The summary as plain text, and as lines for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.conclusion import INCONCLUSIVE
from pytest_evalrun.report.matrix import MEAN, MISSING, Matrix, matrices, printable_tables
from pytest_evalrun.report.text import columns, display_width, number
from pytest_evalrun.report.verdict import beside
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pytest_evalrun.report.rows import Summary, SummaryRow
    from pytest_evalrun.report.verdict import Verdict

# A terminal is for what fits on a page or two; the files have the rest.
MOST_LINES = 40
# So many suites are named that have no table there.
MOST_OTHERS = 5


def to_text(summary: Summary, found: Iterable[Matrix], verdict: Verdict, alarms: Iterable[str] = ()) -> str:
    """The verdict, the matrices and the pairs, one line a pair and metric, aligned."""
    lines = [verdict.line, ""]
    for passage in (_open(verdict), map(one_line, alarms)):
        lines += [*told, ""] if (told := list(passage)) else []
    lines += [line for matrix in found for line in (*_explained(matrix, _table(matrix)), "")]
    lines += _confusions(summary)
    lines += columns([HEADER, *(line for row in summary.present for line in _pair_rows(row))], right=(5, 6, 7))
    if summary.gone:
        gone = [line for row in summary.gone for line in _pair_rows(row)]
        lines += ["", "gone: no longer on disk, outside the means", *columns([HEADER, *gone], right=(5, 6, 7))]
    if summary.unreadable:
        lines += ["", "unreadable results", *map(one_line, summary.unreadable)]
    return "\n".join(lines) + "\n"


def _open(verdict: Verdict) -> Iterator[str]:
    """Gates that their intervals leave open, breached or not, and those that fail nothing."""
    open_ones = [("breached", tuple(gate for gate in verdict.breaches if gate.word == INCONCLUSIVE))]
    for name, gates in (*open_ones, *beside(verdict)):
        yield from (one_line(f"{name}: {gate.pair}: {gate.explained}") for gate in gates)


def render_matrix(summary: Summary, width: int) -> list[str]:
    """The matrices for a terminal of this width; one that does not fit becomes a list, and a long one is cut."""
    lines: list[str] = []
    for matrix in matrices(summary):
        table = _table(matrix)
        if any(display_width(line) > width for line in table):
            table = _as_list(matrix)
        lines += [*_explained(matrix, _cut(table)), ""]
    lines += _the_confusion(summary, width)
    return lines[:-1]


def selected_lines(summary: Summary, suites: Collection[str], width: int) -> list[str]:
    """The matrices of the suites that were selected, and one line for what else is in the files."""
    rest = Counter(row.suite for row in summary.present if row.suite not in suites)
    others = [f"{one_line(suite)} ({counted(count, 'pair')})" for suite, count in rest.most_common(MOST_OTHERS)]
    more = [counted(len(rest) - MOST_OTHERS, "more suite")] if len(rest) > MOST_OTHERS else []
    also = [f"also in summary.md: {', '.join([*others, *more])}"] if rest else []
    return [*render_matrix(summary.among(suites), width), *also]


def _the_confusion(summary: Summary, width: int) -> list[str]:
    """The one table of confusion that there is, where it fits; of several a person chooses."""
    tables, left = printable_tables(summary)
    if not tables and not left:
        return []
    lines = list(_confusions(summary))
    if len(tables) == 1 and not left and all(display_width(line) <= width for line in lines):
        return lines
    return [f"{counted(len(tables) + left, 'table')} of confusion: summary.txt, or evalrun show PAIR", ""]


HEADER = ("suite", "task", "dataset", "status", "metric", "value", "n", "seconds")


def _pair_rows(row: SummaryRow) -> Iterator[tuple[str, ...]]:
    head = (row.suite, row.task, first_samples(row.dataset, row.limit), row.status)
    seconds = "" if row.seconds is None else number(row.seconds)
    for name, metric in row.metrics.items():
        yield (
            *head,
            name,
            number(metric["value"]),
            f"{metric.get('n', '?')} of {row.samples.get('total', '?')}",
            seconds,
        )
    if not row.metrics:
        yield (*head, "", "", "", seconds)


def _explained(matrix: Matrix, table: list[str]) -> list[str]:
    """Set a title above a table, and below it what its signs mean."""
    legend = matrix.legend()
    return [f"{one_line(matrix.suite)}: {one_line(matrix.metric)}", *table, *([f"  {legend}"] if legend else [])]


def _table(matrix: Matrix) -> list[str]:
    rows = matrix.rows
    return columns(rows, right=range(1, len(rows[0])))


def _as_list(matrix: Matrix) -> list[str]:
    """The value first: a long name then wraps without tearing the columns."""
    cells = [
        (cell, f"{task}/{dataset}")
        for task, line in zip(matrix.tasks, matrix.cells, strict=True)
        for dataset, cell in zip(matrix.datasets, line, strict=True)
        if cell != MISSING
    ]
    overall = [(matrix.overall, MEAN)] if matrix.task_means or matrix.dataset_means else []
    return columns([*cells, *overall], right=(0,))


def _cut(lines: list[str]) -> list[str]:
    """The first lines of what is too long, and the last: means stand there."""
    if len(lines) <= MOST_LINES:
        return lines
    left = len(lines) - MOST_LINES + 1
    return [*lines[: MOST_LINES - 2], f"… {left} more in summary.txt", lines[-1]]


def _confusions(summary: Summary) -> Iterator[str]:
    tables, left = printable_tables(summary)
    for table in tables:
        yield f"{one_line(table.title)} (rows: reference; columns: prediction)"
        yield from columns(table.rows, right=range(1, len(table.rows[0])))
        yield ""
    if left:
        yield from (f"{left} more tables are in the files under results/", "")
