"""Rows put to the samples that they are of, in the order of the dataset, however the program wrote them."""

from __future__ import annotations

from array import array
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_evalrun.programs.tables import Table, TableRow

    Ids = Callable[[], Iterable[str]]

MASK = (1 << 64) - 1


class Placed(NamedTuple):
    """The rows of one sample, by its position from the first of the range."""

    position: int
    rows: list[TableRow]


def place(tables: Sequence[Table], ids: Ids, *, strict: bool) -> Iterator[Placed]:
    """Samples that have rows. ``ids`` gives those of the range, each time anew.

    Rows of other ids are an error where ``strict``, else passed over. Memory grows (by 16 bytes a sample and as many a
    row) only where the rows are not in the order of the dataset.
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
    import numpy as np

    hashes = np.array(array("Q", (_hash(sample_id) for sample_id in ids())), dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    positions, places = array("q"), array("q")
    for number, table in enumerate(tables):
        for row in table.rows():
            at = int(np.searchsorted(ordered, np.uint64(_hash(row.id))))
            if at < len(ordered) and int(ordered[at]) == _hash(row.id):
                positions.append(int(order[at]))
                places.append(number << 48 | row.offset)
            elif strict:
                raise PairError(f"{table.path}:{row.line}: a row of {row.id!r}, a sample that was not asked for")
    by_position = np.argsort(np.array(positions, dtype=np.int64), kind="stable")
    found = ((positions[i], places[i]) for i in by_position.tolist())
    for position, group in groupby(found, key=lambda pair: pair[0]):
        rows = [tables[place >> 48].at(place & (1 << 48) - 1) for _, place in group]
        yield Placed(position, rows)


def _hash(sample_id: str) -> int:
    return hash(sample_id) & MASK
