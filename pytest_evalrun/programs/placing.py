"""Rows put to the samples that they are of, in the order of the dataset, however the program wrote them."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_evalrun.programs.tables import Table, TableRow
    from pytest_evalrun.rundir.sampleids import SampleIds

    Ids = Callable[[], Iterable[str]]


class Placed(NamedTuple):
    """The rows of one sample, by its position from the first of the range."""

    position: int
    rows: list[TableRow]


def place(tables: Sequence[Table], ids: Ids, *, strict: bool) -> Iterator[Placed]:
    """Give the samples that have rows. ``ids`` gives those of the range, each time anew.

    Rows of other ids are an error where ``strict``, else passed over. Memory does not grow with the rows; where they
    are not in the order of the dataset, ids and places of rows go to a temporary file.
    """
    if _in_order(tables, ids):
        yield from _matched(tables, ids)
    else:
        yield from _sorted(tables, ids, strict)


def _rows(tables: Sequence[Table]) -> Iterator[TableRow]:
    for table in tables:
        yield from table.rows()


def _in_order(tables: Sequence[Table], ids: Ids) -> bool:
    known = iter(ids())
    current: str | None = None
    for row in _rows(tables):
        while current != row.id:
            current = next(known, None)
            if current is None:
                return False
    return True


def _matched(tables: Sequence[Table], ids: Ids) -> Iterator[Placed]:
    known = enumerate(ids())
    for row_id, rows in groupby(_rows(tables), key=lambda row: row.id):
        position = next(position for position, sample_id in known if sample_id == row_id)
        yield Placed(position, list(rows))


def _sorted(tables: Sequence[Table], ids: Ids, strict: bool) -> Iterator[Placed]:
    from pytest_evalrun.rundir.sampleids import SampleIds, scratch  # sqlite3, which most results need not

    with closing(scratch()) as database, closing(SampleIds(ids())) as known:
        database.execute("CREATE TABLE rows (place INTEGER PRIMARY KEY, position, file, offset)")
        found = _positions(tables, known, strict)
        database.execute("BEGIN")
        database.executemany("INSERT INTO rows (position, file, offset) VALUES (?, ?, ?)", found)
        database.execute("COMMIT")
        ordered = database.execute("SELECT position, file, offset FROM rows ORDER BY position, place")
        for position, rows in groupby(_rows_at(tables, ordered), key=lambda found: found[0]):
            yield Placed(position, [row for _, row in rows])


def _rows_at(tables: Sequence[Table], places: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, TableRow]]:
    """Read rows with one file open at a time, for as long as they are in it."""
    for number, group in groupby(places, key=lambda place: place[1]):
        with open_file(tables[number].path) as file:
            for position, _, offset in group:
                yield position, tables[number].at(file, offset)


def _positions(tables: Sequence[Table], known: SampleIds, strict: bool) -> Iterator[tuple[int, int, int]]:
    for file, table in enumerate(tables):
        for row in table.rows():
            position = known.position(row.id)
            if position is not None:
                yield position, file, row.offset
            elif strict:
                raise PairError(f"{table.path}:{row.line}: a row of {row.id!r}, a sample that was not asked for")
