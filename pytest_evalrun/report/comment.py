"""The summary as Markdown: the verdict first, and no more than a comment on GitHub or GitLab has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.report.matrix import printable_tables
from pytest_evalrun.report.room import Passage, fitted
from pytest_evalrun.report.text import markdown, markdown_row, number
from pytest_evalrun.report.verdict import beside
from pytest_evalrun.rundir.results import ends
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import counted, first_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_evalrun.report.matrix import Matrix
    from pytest_evalrun.report.rows import Summary, SummaryRow
    from pytest_evalrun.report.verdict import Verdict

# GitHub takes 65,536 characters in a comment; whoever posts the file may want to write something above it.
MOST = 65_000
# Of these so many are kept for what is said of the rest.
TOLD = 2_000
# So many breached gates, and so many errors, stand below the verdict; further down is all that has not passed.
MOST_BAD = 20
# Names are as long as anybody likes, reasons may be pages.
LONGEST_NAME = 300
LONGEST_REASON = 1_000
MOST_NAMED = 3


def to_markdown(summary: Summary, found: Iterable[Matrix], verdict: Verdict, alarms: Iterable[str] = ()) -> str:
    """The summary in at most ``MOST`` characters; every name is shown literally, whatever signs it holds.

    What is left out is said, and where it is: tables of confusion give way first, then the ends of long matrices and
    lists.
    """
    head = [f"# {markdown(verdict.line)}", ""]
    told = [f"- {markdown(_short(line))}" for line in alarms]
    for body, most in ((_bad(verdict), MOST // 3), (_beside(verdict), MOST // 6), (told, MOST // 12)):
        passage = Passage("", [], [*body], more="- … {} more")
        head += [*passage.lines(most), ""] if passage.body else []
    matrices = [_matrix(matrix) for matrix in found]
    not_passed, *others = _lists(summary)
    texts, unprinted = printable_tables(summary)
    tables = [_confusion(table.title, table.rows) for table in texts]
    room = MOST - TOLD - sum(len(line) + 1 for line in head)
    shown = fitted([not_passed, *matrices, *others], room)
    shown |= fitted(tables, room - sum(shown.values()))
    passages = [passage for passage in (*matrices, *tables, not_passed, *others) if passage.body]
    lines = [line for passage in passages if passage in shown for line in (*passage.lines(shown[passage]), "")]
    left = [passage.name for passage in passages if passage not in shown]
    return "\n".join([*head, *lines, *_left_out(left, unprinted)])


def _bad(verdict: Verdict) -> Iterator[str]:
    """The gates that are furthest off, and pairs without a result, each a line."""
    for breach in verdict.breaches[:MOST_BAD]:
        yield f"- {markdown(_short(breach.pair))}: {markdown(_short(breach.explained))}"
    if (left := len(verdict.breaches) - MOST_BAD) > 0:
        yield f"- … {counted(left, 'more breached gate')}"
    for trouble in verdict.troubles[:MOST_BAD]:
        yield f"- {markdown(_short(trouble.pair))}: ERROR: {markdown(trouble.brief)}"
    if (left := len(verdict.troubles) - MOST_BAD) > 0:
        yield f"- … {counted(left, 'more error')}"


def _beside(verdict: Verdict) -> Iterator[str]:
    """Gates that fail nothing, and yet are to be looked at."""
    for name, gates in beside(verdict):
        for gate in gates[:MOST_BAD]:
            yield f"- {name}: {markdown(_short(gate.pair))}: {markdown(_short(gate.explained))}"
        if (left := len(gates) - MOST_BAD) > 0:
            yield f"- {name}: … {counted(left, 'more gate')}"


def _short(text: str, most: int = LONGEST_NAME) -> str:
    """Cut before anything is escaped, so that no escape is ever torn."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _matrix(matrix: Matrix) -> Passage:
    header, *rows = matrix.rows
    means = [markdown_row(rows.pop())] if matrix.dataset_means else []
    legend = ["", markdown(matrix.legend())] if matrix.legend() else []
    title = f"{matrix.suite}: {matrix.metric}"
    return Passage(
        name=title,
        head=[f"## {markdown(title)}", "", *_table_head(header)],
        body=[markdown_row(row) for row in rows],
        foot=[*means, *legend],
        more="| … {} more, in summary.txt |",  # a row too: what follows a table's row is one
    )


def _confusion(title: str, rows: Sequence[Sequence[str]]) -> Passage:
    head = [f"### {markdown(title)}", "", "Rows: reference; columns: prediction.", "", *_table_head(rows[0])]
    return Passage(title, head, [markdown_row(row) for row in rows[1:]])


def _table_head(header: Sequence[str]) -> list[str]:
    return [markdown_row(header), "|".join(["", "---", *["---:"] * (len(header) - 1), ""])]


def _lists(summary: Summary) -> Iterator[Passage]:
    """First what has not passed; then what few people look for. Those that are empty have no body."""
    bad = (row for row in summary.present if row.status != "passed")
    lines = [f"{_called(row)}: {row.status}{_values(row)}" for row in bad]
    yield _list("Not passed", lines, more="- … {} more, in summary.txt; why is in their results")
    yield _list("Unreadable results", [markdown(name) for name in summary.unreadable])
    ended = (row for row in summary.present if row.statuses)
    yield _list("How samples ended", [f"{_called(row)}: {markdown(ends(row.statuses))}" for row in ended])
    gone = [f"{_called(row)}: {row.status}{_values(row)}" for row in summary.gone]
    yield _list("Gone: no longer on disk, outside the means", gone)


def _list(title: str, lines: Sequence[str], more: str = "- … {} more, in summary.txt") -> Passage:
    return Passage(title, [f"## {title}", ""], [f"- {line}" for line in lines], more=more)


def _called(row: SummaryRow) -> str:
    return markdown(first_samples(row.pair, row.limit))


def _values(row: SummaryRow) -> str:
    values = ", ".join(f"{markdown(name)} {number(metric['value'])}" for name, metric in row.metrics.items())
    text = f" ({values})" if values else ""
    why = row.error or row.skipped
    return f"{text}: {markdown(_short(why, LONGEST_REASON))}" if why else text


def _left_out(names: Sequence[str], unprinted: int) -> Iterator[str]:
    """Say what a reader does not see, and where it is."""
    if names:
        some = first_of([markdown(_short(name)) for name in names], MOST_NAMED)
        yield from (f"Too long for a comment, and in summary.txt: {some}.", "")
    if unprinted:
        yield from (f"{unprinted} more tables are in the files under `results/`.", "")
