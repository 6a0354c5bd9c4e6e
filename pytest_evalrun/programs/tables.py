"""Rows that a program wrote, from CSV or JSON lines: each with its id and its place, whatever state the file is in."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pytest_evalrun.datasets.values import from_json
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.suite.csvtext import CsvRows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

BOM = b"\xef\xbb\xbf"


class TableRow(NamedTuple):
    """A row. ``values`` has every column, the id's too; ``offset`` is where the row begins in its file."""

    id: str
    values: dict[str, Any]
    line: int
    offset: int


class Table(Protocol):
    """A file of rows. ``torn`` says where its end is torn off, once all rows were read."""

    path: Path
    torn: str | None

    def rows(self) -> Iterator[TableRow]:
        """Read all rows; without ``whole`` those before the first that is not sound. Raises PairError."""

    def at(self, file: BinaryIO, offset: int) -> TableRow:
        """Read the row that begins there, in the opened file."""


class _File:
    """``whole``: the program has ended well, so what is not sound is its fault; else it was interrupted."""

    kind = ""

    def __init__(self, path: Path, id_column: str, whole: bool) -> None:
        self.path = path
        self.id_column = id_column
        self.whole = whole
        self.torn: str | None = None

    def rows(self) -> Iterator[TableRow]:
        try:
            with open_file(self.path) as file:
                yield from self._rows(_Lines(file, self.whole))
        except UnicodeDecodeError as error:
            if self.whole:
                byte = error.object[error.start]
                raise PairError(f"{self.path}: not UTF-8: byte {byte:#04x} ({error.reason})") from None
        except OSError as error:
            raise PairError(f"{self.path}: the results cannot be read: {error.strerror}") from None

    def _rows(self, lines: _Lines) -> Iterator[TableRow]:
        raise NotImplementedError

    def _lacks(self, columns: list[str]) -> PairError:
        return PairError(f"{self.path}: no column {self.id_column!r} for the ids; columns: {', '.join(columns)}")


class CsvTable(_File):
    """A table with a header row, whose cells are text."""

    kind = "csv"
    _header: list[str] | None = None

    def at(self, file: BinaryIO, offset: int) -> TableRow:
        assert self._header is not None, "offsets come from rows"
        file.seek(offset)
        following = iter(CsvRows(_Lines(file, True)).next, None)
        return self._row(next(filter(None, following), []), 0, offset)

    def _rows(self, lines: _Lines) -> Iterator[TableRow]:
        table = CsvRows(lines, self.path)
        try:
            self._header = self._checked(table.header() or [])
            offset = lines.position
            for cells in table if self._header else ():
                yield self._row(cells, table.line, offset)
                offset = lines.position
        except (csv.Error, PairError) as error:
            if isinstance(error, PairError) and self._header is None:
                raise  # with such columns the file is of no use, torn or not
            if lines.torn:
                self.torn = f"{self.path}:{table.line}: the last line is torn"
            elif self.whole and isinstance(error, PairError):
                raise
            elif self.whole:
                raise PairError(f"{self.path}:{table.line}: not a row of CSV: {error}") from None

    def _checked(self, names: list[str]) -> list[str]:
        if names and self.id_column not in names:
            if self.whole:
                raise self._lacks(names)
            return []
        return names

    def _row(self, cells: list[str], line: int, offset: int) -> TableRow:
        assert self._header is not None
        values = dict(zip(self._header, cells, strict=True))
        return TableRow(values[self.id_column], values, line, offset)


class JsonlTable(_File):
    """A table of one JSON object a line."""

    kind = "jsonl"

    def at(self, file: BinaryIO, offset: int) -> TableRow:
        file.seek(offset)
        return self._row(file.readline().decode(), 0, offset)

    def _rows(self, lines: _Lines) -> Iterator[TableRow]:
        offset = lines.position
        for number, text in enumerate(lines, 1):
            if not text.isspace():
                try:
                    row = self._row(text, number, offset)
                except ValueError as error:
                    if lines.torn:
                        self.torn = f"{self.path}:{number}: the last line is torn"
                    elif self.whole:
                        raise PairError(f"{self.path}:{number}: not a line of JSON: {error}") from None
                    return
                yield row
            offset = lines.position

    def _row(self, text: str, line: int, offset: int) -> TableRow:
        values = from_json(text)
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__}, not an object")  # noqa: TRY004 - as bad as no JSON
        if self.id_column not in values:
            raise self._lacks(list(values))
        return TableRow(str(values[self.id_column]), values, line, offset)


class _Lines:
    """Read lines as text; in a file that is not whole only those that were ended, for the last value may be cut."""

    def __init__(self, file: BinaryIO, whole: bool) -> None:
        self._file = file
        self._whole = whole
        self.position = file.tell()
        self.torn = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline()
        self.torn = bool(raw) and not raw.endswith(b"\n")
        if not raw or (self.torn and not self._whole):
            raise StopIteration
        text = (raw.removeprefix(BOM) if self.position == 0 else raw).decode()
        self.position += len(raw)
        return text


TABLES: dict[str, type[CsvTable] | type[JsonlTable]] = {"csv": CsvTable, "jsonl": JsonlTable}
