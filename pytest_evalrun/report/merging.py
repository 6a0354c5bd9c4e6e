"""The CSV files that the programs of one pair wrote, as one file in the order of their ids."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.report.csvfiles import Complaints, CsvFile, as_bytes, as_line, columns_of, with_newline
from pytest_evalrun.rundir.durable import Replacement
from pytest_evalrun.rundir.sampleids import SampleIds, scratch
from pytest_evalrun.suite.csvtext import CsvRows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pytest_evalrun.report.csvfiles import Column

# How many ids are named of those that are missing or doubled.
NAMED = 20
WRITE_AT_ONCE = 2000
# By what rows are sorted, for each order that there is.
_KEYS = {"range": "place", "number": "number", "position": "position", "text": "id"}
_NUMBER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Kind:
    """What the suite says of the files: which column has the id, and what ranges and rows mean."""

    id_column: str | None = None
    rows: str = "one"  # or any: 0..k an id
    by: str = "position"  # or id: low and high are values of id_column


@dataclass(frozen=True)
class RangeFile:
    """A file that a program wrote, and the range ``[low, high)`` for which it counts; rows of others are left out."""

    file: Path
    low: int
    high: int


@dataclass(frozen=True)
class MergedPart:
    """How many rows of a file were merged, and what is wrong with it."""

    file: str
    rows: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Merged:
    """What came of it. ``table`` is None where no file has a header or it was refused.

    ``missing`` and ``doubled`` are None where nobody knows. ``order`` is number, position (of the dataset), text, or
    range where rows have no id; ``expected`` counts the ids of the dataset.
    """

    table: Path | None
    files: tuple[MergedPart, ...]
    columns: tuple[str, ...] = ()
    order: str = ""
    expected: int | None = None
    missing: int | None = None
    first_missing: tuple[str, ...] = ()
    doubled: int | None = None
    first_doubled: tuple[tuple[str, int], ...] = ()

    @property
    def total(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def problems(self) -> list[str]:
        return [f"{file.file}: {problem}" for file in self.files for problem in file.problems]

    def to_json(self) -> dict[str, Any]:
        doubled = [{"id": name, "rows": rows} for name, rows in self.first_doubled]
        return {
            "files": [{"file": f.file, "rows": f.rows, "problems": list(f.problems)} for f in self.files],
            "total": self.total,
            "columns": list(self.columns),
            "order": self.order,
            "expected": self.expected,
            "missing": None if self.missing is None else {"count": self.missing, "first": list(self.first_missing)},
            "doubled": None if self.doubled is None else {"count": self.doubled, "first": doubled},
        }


def merge_parts(
    parts: Iterable[RangeFile],
    table: Path,
    kind: Kind,
    expected: Iterable[str] | None = None,
    base: Path | None = None,
    *,
    refuse: Callable[[Merged], bool] = lambda _: False,
    shown: Callable[[str], str] = str,
) -> Merged:
    """Merge ``parts`` into ``table``: by number where all ids are integers, else in dataset order, else as text.

    ``expected`` are the ids in dataset order, where they are known. Files are named relative to ``base``. ``refuse`` is
    asked with all that is known before the table is written; then it stays what it is. ``shown`` makes of a row's text
    what may be shown of it: a program may have written down a secret. Rows wait on disk, beside the table,
    so that memory does not grow with them.
    """
    table.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        rows = opened.enter_context(closing(scratch(table.parent)))
        ids = None if expected is None else opened.enter_context(closing(SampleIds(expected, table.parent)))
        return _Merge(parts, kind, ids, base, shown, rows).into(table, refuse)


@dataclass
class _Source:
    """A file with all ranges for which it counts, and what reading it has told."""

    file: Path
    ranges: list[tuple[int, int]]
    notes: Complaints = field(default_factory=Complaints)
    header: list[str] = field(default_factory=list)
    rows: int = 0

    def covers(self, value: int) -> bool:
        for low, high in self.ranges:  # noqa: SIM110 - any() of a generator, once a row, is a tenth of all
            if low <= value < high:
                return True
        return False


def _sources_of(parts: Iterable[RangeFile]) -> list[_Source]:
    """One for each file, in the order of their first ranges."""
    found: dict[Path, _Source] = {}
    for part in sorted(parts, key=lambda part: (part.low, part.high)):
        found.setdefault(part.file, _Source(part.file, [])).ranges.append((part.low, part.high))
    return list(found.values())


class _Row(NamedTuple):
    """``position`` is the sample's, and ``place`` that of its neighbour where the dataset does not have it."""

    id: str
    number: int | None
    position: int | None
    place: int
    text: str


class _Merge:
    """Every file is read once: its rows are placed in a database, out of which the table is written in order."""

    def __init__(
        self,
        parts: Iterable[RangeFile],
        kind: Kind,
        ids: SampleIds | None,
        base: Path | None,
        shown: Callable[[str], str],
        database: sqlite3.Connection,
    ) -> None:
        self.kind = kind
        self.ids = ids
        self.base = base
        self.sources = _sources_of(parts)
        self._shown = shown
        self._database = database
        self._all_numbers = True
        self._seen = bytearray(ids.count // 8 + 1) if ids is not None else None
        self._doubled = 0
        self._first_doubled: list[tuple[str, int]] = []

    def into(self, table: Path, refuse: Callable[[Merged], bool]) -> Merged:
        self._place()
        columns = list(dict.fromkeys(each for source in self.sources for each in columns_of(source.header)))
        order = self._order()
        self._compare()
        found = self._merged(None, columns, order)
        if not columns or refuse(found):
            return found
        self._write(table, columns, order)
        return self._merged(table, columns, order)

    # ------------------------------------------------------------------ rows are placed

    def _place(self) -> None:
        """Rows of one key stay in the order of their files' ranges, and in a file as they came."""
        self._database.execute(
            "CREATE TABLE rows (place INTEGER PRIMARY KEY, number, position, id BLOB, file, line BLOB)"
        )
        self._database.execute("BEGIN")
        for file, source in enumerate(self.sources):
            self._database.executemany(
                "INSERT INTO rows (number, position, id, file, line) VALUES (?, ?, ?, ?, ?)", self._placed(file, source)
            )
        self._database.execute("COMMIT")

    def _placed(self, file: int, source: _Source) -> Iterator[tuple[int | None, int, bytes, int, bytes]]:
        for row in self._rows(source):
            source.rows += 1
            self._all_numbers = self._all_numbers and row.number is not None
            if row.position is not None and self._seen is not None:
                self._seen[row.position >> 3] |= 1 << (row.position & 7)
            yield row.number, row.place, as_bytes(row.id), file, as_bytes(row.text)

    def _rows(self, source: _Source) -> Iterator[_Row]:
        """The rows that count: those of the source's ranges."""
        table = CsvFile(source.file).rows(source.notes)
        source.header, _ = next(table, ([], ""))
        column = self._id_index(source)
        if column is None:
            return
        place = source.ranges[0][0]
        if self.ids is not None and (self.kind.by == "position" or source is self.sources[0]):
            self.ids.seek(place if self.kind.by == "position" else 0)
        for cells, text in table:
            row = self._row(cells, text, column, place)
            place = row.place
            if self._counts(source, row):
                yield row

    def _id_index(self, source: _Source) -> int | None:
        name = self.kind.id_column
        if name is None:
            return -1
        if name in source.header:
            return source.header.index(name)
        if source.header:
            source.notes.add(f"left out: it has no column {name!r}; columns: {', '.join(source.header)}")
            source.header = []
        return None

    def _row(self, cells: list[str], text: str, column: int, place: int) -> _Row:
        if column < 0:
            return _Row("", None, None, place, text)
        name = cells[column]
        number = int(name) if _NUMBER.fullmatch(name) else None
        position = self.ids.position(name) if self.ids is not None else None
        return _Row(name, number, position, place if position is None else position, text)

    def _counts(self, source: _Source, row: _Row) -> bool:
        if self.kind.id_column is None:
            return True
        if self.kind.by == "id" and row.number is None:
            source.notes.add("{n} left out: the id is no integer", row.id)
            return False
        if self.ids is not None and row.position is None:
            source.notes.add("{n} with an id that the dataset does not have", row.id)
        place = row.number if self.kind.by == "id" else row.position
        if place is None or source.covers(place):
            return True
        source.notes.add("{n} of other ranges left out", row.id)
        return False

    def _order(self) -> str:
        if self.kind.id_column is None:
            return "range"
        if self._all_numbers:
            return "number"
        return "position" if self.ids is not None else "text"

    def _compare(self) -> None:
        """Columns that are not those of the first file that has any."""
        first = next((source for source in self.sources if source.header), None)
        for source in self.sources:
            if first is None or not source.header or source.header == first.header:
                continue
            more = [name for name in source.header if name not in first.header]
            less = [name for name in first.header if name not in source.header]
            words = [f"it lacks {', '.join(less)}"] if less else []
            words += [f"it has {', '.join(more)} besides"] if more else []
            difference = "; ".join(words) or "they stand in another order, or another number of times"
            source.notes.add(f"its columns are not those of {first.file.name}: {difference}")

    # ------------------------------------------------------------------ and written

    def _write(self, table: Path, columns: list[Column], order: str) -> None:
        replacement = Replacement(str(table))
        try:
            replacement.write(as_bytes(as_line([name for name, _ in columns])))
            lines = self._doubles(self._sorted(columns, order))
            while chunk := b"".join(islice(lines, WRITE_AT_ONCE)):
                replacement.write(chunk)
            replacement.put()
        except BaseException:
            replacement.drop()
            raise

    def _sorted(self, columns: list[Column], order: str) -> Iterator[tuple[bytes, bytes]]:
        """Ids and lines in order. Only keys are sorted; the lines stay where they were placed."""
        shapes = [None if columns_of(s.header) == columns else _shape(s.header, columns) for s in self.sources]
        self._database.execute(f"CREATE INDEX by_key ON rows ({_KEYS[order]})")
        ordered = f"SELECT id, file, line FROM rows INDEXED BY by_key ORDER BY {_KEYS[order]}, place"  # noqa: S608 - ours
        for name, file, line in self._database.execute(ordered):
            text = line.decode("utf-8", "surrogateescape")
            if (shape := shapes[file]) is None:
                text = with_newline(text)
            else:
                cells = CsvRows([text], strict=False).next() or []
                text = as_line(cells[i] if i >= 0 else "" for i in shape)
            yield name, as_bytes(self._shown(text))

    def _doubles(self, lines: Iterator[tuple[bytes, bytes]]) -> Iterator[bytes]:
        """The lines, while ids that come again are counted: they lie beside each other."""
        previous, rows = b"", 0
        for name, line in chain(lines, [(None, b"")]):
            if name == previous:
                rows += 1
            else:
                if rows > 1:
                    self._doubled += 1
                    if len(self._first_doubled) < NAMED:
                        self._first_doubled.append((previous.decode("utf-8", "surrogateescape"), rows))
                previous, rows = name or b"", 1
            yield line

    # ------------------------------------------------------------------ what is told

    def _merged(self, table: Path | None, columns: list[Column], order: str) -> Merged:
        files = tuple(MergedPart(self._name_of(s.file), s.rows, tuple(s.notes.lines())) for s in self.sources)
        expected = self.ids.count if self.ids is not None else None
        found = Merged(table, files, tuple(name for name, _ in columns), order, expected)
        if self.kind.rows != "one":
            return found
        missing, first = self._missing(found.total)
        named = self.kind.id_column is not None
        doubled = (self._doubled, tuple(self._first_doubled)) if named else (None, ())
        return Merged(table, files, found.columns, order, expected, missing, first, *doubled)

    def _missing(self, total: int) -> tuple[int | None, tuple[str, ...]]:
        """By the dataset's ids where they are known; by ranges of positions there is at least a number."""
        if self.ids is not None and self._seen is not None and self.kind.id_column is not None:
            seen = self._seen
            count = self.ids.count - sum(byte.bit_count() for byte in seen)
            gaps = (i for i in range(self.ids.count) if not seen[i >> 3] >> (i & 7) & 1)
            return count, tuple(self.ids.at(i) for i in islice(gaps, min(NAMED, count)))
        if self.kind.by == "position":
            wanted = sum(high - low for source in self.sources for low, high in source.ranges)
            return max(0, (self.ids.count if self.ids is not None else wanted) - total), ()
        return None, ()

    def _name_of(self, file: Path) -> str:
        """With forward slashes, relative where it lies below the base."""
        if self.base is not None and file.is_relative_to(self.base):
            return file.relative_to(self.base).as_posix()
        return file.as_posix()


def _shape(header: list[str], columns: list[Column]) -> list[int]:
    """For each column of the table where the file has it; -1 for what it has not."""
    places = {column: place for place, column in enumerate(columns_of(header))}
    return [places.get(column, -1) for column in columns]
