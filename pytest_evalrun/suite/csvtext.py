"""CSV that somebody else wrote, whoever that was and whatever for: read row by row in one place."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# By itself the module csv stops at 128 KB, which a long answer has; without any limit one stray quote would fill the
# memory.
LONGEST_CELL = 64 << 20


class CsvRows:
    """A header and rows, as cells, of lines of text that whoever opened the file has decoded; ``path`` names it.

    Where the text is no CSV csv.Error is raised, by all methods, and ``line`` is where.
    """

    def __init__(
        self, lines: Iterable[str], path: Path | str = "", delimiter: str = ",", *, strict: bool = True
    ) -> None:
        self._path = path
        self._reader = csv.reader(lines, delimiter=delimiter, strict=strict)
        self._width = 0

    @property
    def line(self) -> int:
        """The line that the last row ends on, from 1."""
        return self._reader.line_num

    def next(self) -> list[str] | None:
        """The next row, of whatever width, an empty one of a blank line; None at the end."""
        before = csv.field_size_limit(LONGEST_CELL)
        try:
            return next(self._reader, None)
        finally:
            csv.field_size_limit(before)  # it belongs to the whole process

    def header(self) -> list[str] | None:
        """The first row. Raises PairError where two columns have one name."""
        names = self.next()
        if names and (name := twice(names)) is not None:
            raise PairError(f"{self._path}:1: two columns are called {name!r}")
        self._width = len(names or ())
        return names

    def __iter__(self) -> Iterator[list[str]]:
        """The rows below the header, but blank ones. Raises PairError for one that is not as wide as the header."""
        while (cells := self.next()) is not None:
            if cells and len(cells) != self._width:
                where = f"{self._path}:{self.line}"
                raise PairError(f"{where}: the row has {len(cells)} columns, the header {self._width}")
            if cells:
                yield cells


def twice(names: Sequence[str]) -> str | None:
    """The first name that stands there more than once."""
    return next((name for name in names if names.count(name) > 1), None) if len(set(names)) != len(names) else None
