"""Tables that come with a metric (a confusion matrix), as far as a person would read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.text import number
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.report.rows import Summary, SummaryRow

# Beyond these nobody reads a summary; the tables stay whole in the results.
MOST_LABELS = 30
MOST_TABLES = 100


@dataclass(frozen=True)
class TextTable:
    """One pair's table of one metric; ``rows[0]`` is the header."""

    title: str
    rows: tuple[tuple[str, ...], ...]


def printable_tables(summary: Summary) -> tuple[list[TextTable], int]:
    """The tables to print, and how many are left to the result files."""
    found: list[TextTable] = []
    left = 0
    for row, (name, table) in ((pair, table) for pair in summary.present for table in tables_of(pair)):
        if len(table["labels"]) > MOST_LABELS or len(found) == MOST_TABLES:
            left += 1
        else:
            found.append(TextTable(f"{first_samples(row.pair, row.limit)}: {name}", cells_of(table)))
    return found, left


def tables_of(row: SummaryRow) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The metrics of a pair that come with a table, which says more than their value."""
    for name, metric in row.metrics.items():
        if (table := table_of(metric)) is not None:
            yield name, table


def table_of(metric: Mapping[str, Any]) -> Mapping[str, Any] | None:
    table = metric.get("table")
    return table if isinstance(table, dict) and {"labels", "rows"} <= table.keys() else None


def cells_of(table: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """As text; the header first."""
    labels = [one_line(label) for label in table["labels"]]
    body = (
        (label, *(str(cell) if isinstance(cell, int) else number(cell) for cell in row))
        for label, row in zip(labels, table["rows"], strict=False)
    )
    return (("", *labels), *body)
