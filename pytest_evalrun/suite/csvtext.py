"""CSV that somebody else wrote: its cells may be longer than the module csv allows by itself."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# By itself it stops at 128 KB, which a long answer has; without any limit one stray quote would fill the memory.
LONGEST_CELL = 64 << 20


def next_row(table: Iterator[list[str]]) -> list[str] | None:
    """The next row of a csv.reader, None at the end.

    The limit of a cell belongs to the whole process: it is given back between two rows.
    """
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        return next(table, None)
    finally:
        csv.field_size_limit(before)
