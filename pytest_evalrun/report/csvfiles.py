"""CSV files that programs wrote, row by row: nothing that is wrong with one of them stops the reading of the others.

The csv module, not pandas: both read 35 MB a second and only this one says which row has too few fields, keeps every
value as it is, and needs 10 MB of memory instead of 125.
"""

from __future__ import annotations

import codecs
import csv
import re
from typing import TYPE_CHECKING

from pytest_evalrun.suite.csvtext import CsvRows
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    Column = tuple[str, int]

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTED = re.compile('[,"\r\n]')


class Complaints:
    """What is wrong with a file, each kind once, with how often and where first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int | str | None]] = {}

    def add(self, kind: str, where: int | str | None = None) -> None:
        """``where`` is a line, or an id. ``kind`` may have ``{n}``, which becomes the number."""
        count, first = self._found.get(kind, (0, where))
        self._found[kind] = count + 1, first

    def lines(self) -> list[str]:
        return [_line(kind, count, first) for kind, (count, first) in self._found.items()]


def _line(kind: str, count: int, first: int | str | None) -> str:
    text = kind.format(n=counted(count, "row")) if "{n}" in kind else kind
    if first is None:
        return text
    place = f"line {first}" if isinstance(first, int) else f"id {first}"
    return f"{text} (first: {place})" if count > 1 else f"{text} ({place})"


class CsvFile:
    """One file: ``header`` after it was asked for, then rows as cells and as the text that they had.

    Bytes that are not UTF-8 pass through as they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw: list[str] = []

    def rows(self, notes: Complaints) -> Iterator[tuple[list[str], str]]:
        """The header first, then every good row. What is left out is in ``notes``."""
        if self.path.is_fifo():  # it would let us wait for ever
            notes.add("it is no file")
            return
        try:
            with self.path.open(encoding=self._encoding(notes), errors="surrogateescape", newline="") as file:
                yield from self._read(file, notes)
        except FileNotFoundError:
            notes.add("it vanished")
        except OSError as error:
            notes.add(f"it cannot be read: {error.strerror}")
        except UnicodeError as error:
            notes.add(f"its text ends in the middle: {error}")

    def _encoding(self, notes: Complaints) -> str:
        with self.path.open("rb") as file:
            start = file.read(2)
        if start in _UTF16:
            notes.add("it is UTF-16; merged as UTF-8")
            return "utf-16"
        return "utf-8-sig"

    def _read(self, file: TextIO, notes: Complaints) -> Iterator[tuple[list[str], str]]:
        reader = CsvRows(self._lines(file), strict=False)
        header = self._header(reader, notes)
        if header is None:
            return
        yield header, ""
        held, line = None, reader.line
        for cells, text in self._records(reader, notes):
            if held is not None and _is_good(*held, len(header), line, notes):
                yield held
            held, line = (cells, text), reader.line
        if held is not None and not _is_torn(*held, len(header), line, notes):
            if _is_good(*held, len(header), line, notes):
                yield held
        elif held is None:
            notes.add("it has a header and no rows")

    def _lines(self, file: TextIO) -> Iterator[str]:
        """Remembers what the reader took since it gave its last row."""
        for line in file:
            self._raw.append(line)
            yield line

    def _header(self, reader: CsvRows, notes: Complaints) -> list[str] | None:
        for header, _ in self._records(reader, notes):
            names = list(dict.fromkeys(name for name in header if header.count(name) > 1))
            if names:
                notes.add(f"several columns are called {', '.join(map(repr, names))}")
            return header
        notes.add("it is empty")
        return None

    def _records(self, reader: CsvRows, notes: Complaints) -> Iterator[tuple[list[str], str]]:
        self._raw.clear()
        try:
            while (cells := reader.next()) is not None:
                text = "".join(self._raw)
                self._raw.clear()
                if cells:
                    yield cells, text
        except csv.Error as error:
            notes.add(f"read up to line {reader.line}: {error}")


def count_rows(path: Path) -> int:
    """How many rows a merged table has; none where there is no such file, or it cannot be read."""
    return max(0, sum(1 for _ in CsvFile(path).rows(Complaints())) - 1)


def _is_good(cells: list[str], text: str, width: int, line: int, notes: Complaints) -> bool:
    if len(cells) != width:
        notes.add(f"{{n}} left out: not as many fields as the {width} of the header", line)
        return False
    if not text.isascii() and not _is_utf8(text):
        notes.add("{n} not in UTF-8; merged as they are", line)
    return True


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_torn(cells: list[str], text: str, width: int, line: int, notes: Complaints) -> bool:
    """The last row of a writer that was killed: no end of line and too few fields, or a quote that stays open."""
    if (text.endswith(("\n", "\r")) or len(cells) >= width) and not _is_open(text):
        return False
    notes.add(f"its last row is torn ({len(cells)} of {width} fields) and left out", line)
    return True


def _is_open(text: str) -> bool:
    try:
        rows = CsvRows([text])
        while rows.next() is not None:
            pass
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def columns_of(header: Sequence[str]) -> list[Column]:
    """Columns that share a name are told apart by their number."""
    seen: dict[str, int] = {}
    found = []
    for name in header:
        found.append((name, seen.get(name, 0)))
        seen[name] = seen.get(name, 0) + 1
    return found


def as_line(cells: Iterable[str]) -> str:
    """A line of CSV; values are read from it exactly as they were.

    csv.writer of Python 3.11 leaves a carriage return unquoted where lines end in a newline alone.
    """
    line = ",".join(f'"{c.replace(chr(34), chr(34) * 2)}"' if _QUOTED.search(c) else c for c in cells)
    return f"{line}\n" if line else '""\n'


def as_bytes(text: str) -> bytes:
    """What a file had; text that was not UTF-8 included."""
    return text.encode("utf-8", "surrogateescape")


def with_newline(text: str) -> str:
    """The text of a row, whatever its line end was."""
    if text.endswith("\r\n"):
        return f"{text[:-2]}\n"
    return text if text.endswith("\n") else f"{text.removesuffix(chr(13))}\n"
