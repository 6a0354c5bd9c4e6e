"""The summary of a run: CSV for programs, Markdown and text for people."""

from __future__ import annotations

import csv
import gc
import io
import json
import math
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.alarms import alarm_lines
from pytest_evalrun.report.comment import to_markdown
from pytest_evalrun.report.matrix import matrices
from pytest_evalrun.report.plain import render_matrix, to_text
from pytest_evalrun.report.rows import Summary, SummaryRow, read_summary
from pytest_evalrun.report.verdict import verdict_of
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import PairKey

__all__ = ["CSV_COLUMNS", "Summary", "SummaryRow", "render_matrix", "write_merge_summary", "write_summary"]

CSV_COLUMNS = (
    "suite",
    "task",
    "dataset",
    "status",
    "metric",
    "value",
    "samples",
    "predicted",
    "failed",
    "seconds",
    "n",
    "low",
    "high",
    "limit",
)


def write_summary(
    paths: RunPaths,
    gone: Callable[[str, str, str], bool],
    skips: Mapping[str, str] = MappingProxyType({}),
    limits: Mapping[PairKey, bool] = MappingProxyType({}),
) -> Summary:
    """Write summary.csv, .md, .txt and merge_summary.json over all results of the run, as :func:`read_summary` reads
    them.

    Pairs that are gone are listed outside the means.
    """
    with no_collection():
        summary = read_summary(paths, gone, skips, limits)
        found, verdict = list(matrices(summary)), verdict_of(summary)
        alarms = alarm_lines(summary)
        directory = paths.summary
        write_atomic(directory / "summary.csv", to_csv(summary))
        write_atomic(directory / "summary.md", to_markdown(summary, found, verdict, alarms))
        write_atomic(directory / "summary.txt", to_text(summary, found, verdict, alarms))
        write_merge_summary(paths, _merge_summary(paths, summary))
    return summary


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the garbage collector.

    10,000 results are 300,000 objects that stay: looking for cycles among them is a quarter of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def write_merge_summary(paths: RunPaths, values: dict[str, Any]) -> None:
    """merge_summary.json: ``files`` with their rows, ``total_rows``, and what is ``missing`` or ``doubled``.

    What it says of ``programs`` stays until their files are merged anew.
    """
    file = paths.summary / "merge_summary.json"
    write_atomic(file, json.dumps(_programs(file) | values, ensure_ascii=False) + "\n")


def _programs(file: Path) -> dict[str, Any]:
    try:
        values = parse_json(read_file(file))
        return {"programs": values["programs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def to_csv(summary: Summary) -> str:
    """Write one row a pair and metric, one for a pair without metrics. Values stand as they are, nothing rounded."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in summary.rows:
        writer.writerows(_csv_rows(row))
    return file.getvalue()


def _csv_rows(row: SummaryRow) -> Iterator[tuple[Any, ...]]:
    status = "gone" if row.gone else row.status
    head = (row.suite, row.task, row.dataset, status)
    counts = (*(row.samples.get(name) for name in ("total", "predicted", "failed")), row.seconds)
    for name, metric in row.metrics.items():
        interval = metric.get("n"), metric.get("low"), metric.get("high")
        yield (*head, name, metric["value"], *counts, *interval, row.limit)
    for name, value in row.recorded.items():
        # Whoever reads the column expects numbers; `evalrun show` has the others.
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            yield (*head, name, +value, *counts, None, None, None, row.limit)
    if not row.metrics:
        yield (*head, None, None, *counts, None, None, None, row.limit)


def _merge_summary(paths: RunPaths, summary: Summary) -> dict[str, Any]:
    """Count samples as the results have them; the merge itself counts the lines.

    A pair that ended in an error before it was asked anything has no file.
    """
    rows = [row for row in summary.full if (paths.root / row.predictions).is_file()]
    files = [{"file": row.predictions, "rows": _rows(row)} for row in rows]
    missing = [
        {"file": row.predictions, "count": total - _rows(row)}
        for row in rows
        if (total := row.samples.get("total", 0)) > _rows(row)
    ]
    return {"files": files, "total_rows": sum(map(_rows, rows)), "missing": missing, "doubled": []}


def _rows(row: SummaryRow) -> int:
    return row.samples.get("predicted", 0) + row.samples.get("failed", 0)
