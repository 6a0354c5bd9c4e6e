"""The summary as Markdown: matrices, tables of confusion, what failed and what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.report.tables import printable_tables
from pytest_evalrun.report.text import markdown, markdown_row, number
from pytest_evalrun.suite.names import first_samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_evalrun.report.matrix import Matrix
    from pytest_evalrun.report.rows import Summary, SummaryRow


def to_markdown(summary: Summary, found: Iterable[Matrix]) -> str:
    """The whole summary; every name is shown literally, whatever signs it holds."""
    lines = ["# Summary", ""]
    lines += _matrices(found)
    lines += _confusions(summary)
    lines += _listed("Not passed", (row for row in summary.present if row.status != "passed"))
    lines += _listed("Gone: no longer on disk, outside the means", summary.gone)
    if summary.unreadable:
        lines += ["## Unreadable results", "", *(f"- {markdown(name)}" for name in summary.unreadable), ""]
    return "\n".join(lines)


def _matrices(found: Iterable[Matrix]) -> Iterator[str]:
    for matrix in found:
        yield from (f"## {markdown(matrix.suite)}: {markdown(matrix.metric)}", "")
        yield from _table(matrix.rows)
        if matrix.legend():
            yield from ("", markdown(matrix.legend()))
        yield ""


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield markdown_row(rows[0])
    yield "|".join(["", "---", *["---:"] * (len(rows[0]) - 1), ""])
    yield from (markdown_row(row) for row in rows[1:])


def _confusions(summary: Summary) -> Iterator[str]:
    tables, left = printable_tables(summary)
    for table in tables:
        yield from (f"### {markdown(table.title)}", "", "Rows: reference; columns: prediction.", "")
        yield from _table(table.rows)
        yield ""
    if left:
        yield from (f"{left} more tables are in the files under `results/`.", "")


def _listed(title: str, rows: Iterable[SummaryRow]) -> Iterator[str]:
    found = list(rows)
    if not found:
        return
    yield from (f"## {title}", "")
    yield from (f"- {markdown(first_samples(row.pair, row.limit))}: {row.status}{_values(row)}" for row in found)
    yield ""


def _values(row: SummaryRow) -> str:
    values = ", ".join(f"{markdown(name)} {number(metric['value'])}" for name, metric in row.metrics.items())
    text = f" ({values})" if values else ""
    why = row.error or row.skipped
    return f"{text}: {markdown(why)}" if why else text
