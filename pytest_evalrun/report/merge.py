"""All predictions of a run in one table a suite."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.csvfiles import as_line, count_rows
from pytest_evalrun.report.rows import Summary, read_summary
from pytest_evalrun.report.sampleinputs import Inputs, cell
from pytest_evalrun.report.summary import write_merge_summary
from pytest_evalrun.report.text import natural_key
from pytest_evalrun.rundir.samplelines import SampleLines
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TextIO

    from pytest_evalrun.rundir.layout import RunPaths

COLUMNS = ("suite", "task", "dataset", "index", "id", "status", "prediction", "reference", "error", "seconds")


@dataclass(frozen=True)
class MergedFile:
    """One pair's predictions in a merge: ``rows`` written, samples without a line, lines that a later one replaced.

    ``unread`` is why its inputs could not be read, or not all of them.
    """

    file: str
    rows: int
    missing: int
    first_missing: Sequence[int]
    doubled: int
    first_doubled: Sequence[int]
    broken: Sequence[str]
    unread: str = ""


@dataclass(frozen=True)
class Merge:
    """The tables that were merged, and where they lie; ``kept`` are those that stayed as they were, and their rows."""

    tables: tuple[Path, ...]
    files: tuple[MergedFile, ...]
    kept: dict[Path, int] = field(default_factory=dict)

    @property
    def total_rows(self) -> int:
        return sum(file.rows for file in self.files)

    def to_json(self) -> dict[str, Any]:
        missing = [(f.file, f.missing, f.first_missing) for f in self.files if f.missing]
        doubled = [(f.file, f.doubled, f.first_doubled) for f in self.files if f.doubled]
        return {
            "files": [{"file": file.file, "rows": file.rows} for file in self.files],
            "total_rows": self.total_rows,
            "missing": [{"file": name, "count": n, "first": list(first)} for name, n, first in missing],
            "doubled": [{"file": name, "count": n, "first": list(first)} for name, n, first in doubled],
        }


@dataclass(frozen=True)
class _Source:
    """A predictions file and the raw names of its pair; ``total`` is None while the pair has no result."""

    path: Path
    file: str
    names: tuple[str, str, str]
    total: int | None
    inputs: Inputs


def merge_predictions(
    paths: RunPaths, suite: str | None = None, inputs: Callable[[str, str, str], Inputs] = lambda *_: Inputs()
) -> Merge:
    """Stream every pair's predictions into ``summary/<suite>_merged.csv``, in dataset order; not those of a limit.

    The columns that a model is asked with stand behind ours, by their names; ``inputs`` knows them by a pair's names.

    A line that cannot be read is named, and the rest merged. merge_summary.json says what is missing and doubled. A
    table is not replaced by a poorer one: with fewer rows, where samples are missing.
    """
    summary = read_summary(paths, lambda *_: False)
    chosen = {
        directory: sources
        for directory, sources in _sources(paths, summary, inputs).items()
        if suite is None or suite in (directory, sources[0].names[0])
    }
    if suite is not None and not chosen:
        known = ", ".join(sources[0].names[0] for sources in _sources(paths, summary, inputs).values()) or "none"
        raise ConfigError(f"suite {suite}: {paths.predictions} has no predictions of it; it has those of: {known}")
    tables = []
    files: list[MergedFile] = []
    kept: dict[Path, int] = {}
    for directory, sources in chosen.items():
        tables.append(paths.summary / f"{directory}_merged.csv")
        merged, rows = _merge_suite(tables[-1], sources)
        files += merged
        if rows:
            kept[tables[-1]] = rows
    merge = Merge(tuple(tables), tuple(files), kept)
    write_merge_summary(paths, merge.to_json())
    return merge


def _sources(paths: RunPaths, summary: Summary, inputs: Callable[[str, str, str], Inputs]) -> dict[str, list[_Source]]:
    """Predictions files by suite directory. Safe names stand in for a pair that has no result yet."""
    rows = {row.predictions: row for row in summary.rows}
    found: dict[str, list[_Source]] = {}
    for path in paths.predictions.glob("*/*/*.jsonl"):
        if path.name.endswith((".scores.jsonl", ".judged.jsonl")):
            continue
        file = path.relative_to(paths.root).as_posix()
        row = rows.get(file)
        directory, task, name = path.relative_to(paths.predictions).parts
        names = (row.suite, row.task, row.dataset) if row else (directory, task, name.removesuffix(".jsonl"))
        if (row.limit if row else PairKey(*names).limit) is not None:
            continue
        source = _Source(path, file, names, row.samples.get("total", 0) if row else None, inputs(*names))
        found.setdefault(directory, []).append(source)
    for sources in found.values():
        sources.sort(key=lambda source: [natural_key(name) for name in source.names])
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def _merge_suite(table: Path, sources: list[_Source]) -> tuple[list[MergedFile], int]:
    """Written aside and renamed: a reader meets a whole table or the one before. The rows of that one, if it stays."""
    table.parent.mkdir(parents=True, exist_ok=True)
    aside = table.with_name(f".{table.name}.{os.getpid()}")
    try:
        with aside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            added = tuple(dict.fromkeys(name for source in sources for name in source.inputs.columns))
            file.write(as_line((*COLUMNS, *added)))
            merged = [_merge_file(file, source, added) for source in sources]
        rows = count_rows(table) if any(file.missing for file in merged) else 0
        if rows > sum(file.rows for file in merged):
            return merged, rows
        aside.replace(table)
    finally:
        aside.unlink(missing_ok=True)
    return merged, 0


def _merge_file(table: TextIO, source: _Source, added: Sequence[str]) -> MergedFile:
    lines = SampleLines(source.path)
    places = [source.inputs.columns.index(name) if name in source.inputs.columns else None for name in added]
    for line, asked in source.inputs.beside(lines.ordered()):
        own = (cell(line.get(column)) for column in COLUMNS[3:])
        cells = (*source.names, *own, *(None if place is None else asked[place] for place in places))
        table.write(as_line("" if value is None else str(value) for value in cells))
    total = lines.expected if source.total is None else source.total
    return MergedFile(
        file=source.file,
        rows=lines.rows,
        missing=max(0, total - lines.rows),
        first_missing=lines.first_missing(total),
        doubled=lines.doubled,
        first_doubled=lines.first_doubled,
        broken=lines.broken,
        unread="; ".join(source.inputs.problems),
    )
