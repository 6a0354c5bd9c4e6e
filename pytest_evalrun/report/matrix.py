"""Tasks x datasets: one matrix a suite and metric, with means over what was measured.

Beside them stand tables that come with a metric (a confusion matrix), as far as a person would read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.text import natural_key, number
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.report.rows import Summary, SummaryRow

# Beyond these nobody reads a summary; the tables stay whole in the results.
MOST_LABELS = 30
MOST_TABLES = 100
BREACHED = "✗"
UNDECIDED = "?"
OUTDATED = "!"
MISSING = "-"
MEAN = "mean"
LEGEND = {
    BREACHED: f"{BREACHED} breaches its gate",
    UNDECIDED: f"{UNDECIDED} undecided: too few samples, or an interval with both sides of its gate in it",
    OUTDATED: f"{OUTDATED} of an earlier evaluation, the last one ended in an error",
    MISSING: f"{MISSING} not evaluated",
    " of ": "(n of N) n of N samples or pairs behind the value",
}


@dataclass(frozen=True)
class Matrix:
    """One metric of one suite, each cell a text: ``cells[task][dataset]``.

    Means are there where there is more than one thing to take them over; a mean over less than its whole row or
    column says of how many.
    """

    suite: str
    metric: str
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    task_means: tuple[str, ...]
    dataset_means: tuple[str, ...]
    overall: str

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The whole table: a header, one row a task that starts with its name, means last."""
        lines = [("", *self.datasets), *((task, *cells) for task, cells in zip(self.tasks, self.cells, strict=True))]
        if self.dataset_means:
            lines.append((MEAN, *self.dataset_means))
        if self.task_means:
            ends = (MEAN, *self.task_means, *([self.overall] if self.dataset_means else []))
            lines = [(*line, end) for line, end in zip(lines, ends, strict=True)]
        return lines

    def legend(self) -> str:
        """Explain the signs that occur in the cells."""
        cells = {cell for row in self.rows[1:] for cell in row[1:]}
        # What is missing is a cell of its own; the other signs stand behind a value, in which a dash may be.
        signs = [sign for sign in LEGEND if sign in cells or (sign != MISSING and any(sign in cell for cell in cells))]
        return f"Signs: {'; '.join(LEGEND[sign] for sign in signs)}" if signs else ""


def matrices(summary: Summary) -> Iterator[Matrix]:
    """The matrices of every suite, metrics in the order in which the pairs name them.

    What comes with a table of its own (a confusion matrix) is shown by that, and not by a number once more.
    Evaluations of the first N samples stand in matrices of their own: their values belong into no mean of full ones.
    """
    for suite, rows in groups(summary):
        named = [(name, metric) for row in rows for name, metric in row.metrics.items()]
        tables = {name for name, metric in named if table_of(metric) is not None}
        for metric in dict.fromkeys(name for name, _ in named if name not in tables):
            yield _matrix(suite, metric, concerned(rows, metric))


def groups(summary: Summary) -> Iterator[tuple[str, list[SummaryRow]]]:
    """The rows of each suite; those of first samples apart, under a name that says so."""
    groups: dict[str, list[SummaryRow]] = {}
    for row in summary.present:
        groups.setdefault(first_samples(row.suite, row.limit), []).append(row)
    yield from groups.items()


def concerned(rows: list[SummaryRow], metric: str) -> list[SummaryRow]:
    """Select the rows of a metric: those of tasks and of datasets that have it, or that have no metric at all.

    A pair that ended in an error has no metrics, and must still show in the matrices where it would have stood.
    """
    having = [row for row in rows if metric in row.metrics]
    others = [row for row in rows if row.metrics and metric not in row.metrics]
    if not others:
        return rows
    no_tasks = {row.task for row in others} - {row.task for row in having}
    no_datasets = {row.dataset for row in others} - {row.dataset for row in having}
    return [row for row in rows if row.task not in no_tasks and row.dataset not in no_datasets]


def _matrix(suite: str, metric: str, rows: list[SummaryRow]) -> Matrix:
    tasks = tuple(dict.fromkeys(row.task for row in rows))
    datasets = tuple(sorted({row.dataset for row in rows}, key=natural_key))
    found = {(row.task, row.dataset): row for row in rows}
    grid = [[found.get((task, dataset)) for dataset in datasets] for task in tasks]
    return Matrix(
        suite=suite,
        metric=metric,
        tasks=tasks,
        datasets=datasets,
        cells=tuple(tuple(_cell(row, metric) for row in line) for line in grid),
        task_means=tuple(_mean(line, metric) for line in grid) if len(datasets) > 1 else (),
        dataset_means=tuple(_mean(line, metric) for line in zip(*grid, strict=True)) if len(tasks) > 1 else (),
        overall=_mean([row for line in grid for row in line], metric),
    )


def _cell(row: SummaryRow | None, metric: str) -> str:
    if row is None:
        return MISSING
    if metric not in row.metrics:
        return row.status if row.status in {"error", "skipped", "pending"} else MISSING
    found = row.metrics[metric]
    text = number(found["value"])
    total = row.samples.get("total", 0)
    # What is made of all answers to a sample has one value a sample.
    if found.get("n", total) < total and found["n"] * row.generations != total:
        text += f" ({found['n']} of {total})"
    if row.outdated:
        text += f" {OUTDATED}"
    elif row.status == "error":  # evaluated, and not judged
        text += " error"
    if metric in row.breached:
        text += f" {BREACHED}"
    return f"{text} {UNDECIDED}" if metric in row.undecided else text


def _mean(rows: Sequence[SummaryRow | None], metric: str) -> str:
    values = [row.metrics[metric]["value"] for row in rows if row is not None and metric in row.metrics]
    if not values:
        return MISSING
    text = number(sum(values) / len(values))
    return text if len(values) == len(rows) else f"{text} ({len(values)} of {len(rows)})"


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
    """Return the cells as text; the header first."""
    labels = [one_line(label) for label in table["labels"]]
    body = (
        (label, *(str(cell) if isinstance(cell, int) else number(cell) for cell in row))
        for label, row in zip(labels, table["rows"], strict=False)
    )
    return (("", *labels), *body)
