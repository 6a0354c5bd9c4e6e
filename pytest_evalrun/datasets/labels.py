"""A table of labels beside files: which sample has which."""

from __future__ import annotations

import csv
from array import array
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.listing import find_place
from pytest_evalrun.datasets.values import parse_cell
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ID_COLUMNS = ("id", "file")
LABEL_COLUMNS = ("label",)


def read_labels(path: Path, ids: Sequence[str], columns: tuple[str | None, str | None]) -> list[Any]:
    """The label of each of the sorted ids; rows of other samples are passed over, so that datasets may share a table.

    ``columns``: the names of the id's and the label's column, where they are not ``id`` or ``file`` and ``label``.
    """
    labels: list[Any] = [None] * len(ids)
    lines = array("q", bytes(8 * len(ids)))
    shared: dict[str, Any] = {}  # one object a distinct label
    for line, name, text in _rows(path, columns):
        place = find_place(ids, name, f"{path}:{line}")
        if place is None:
            continue
        if lines[place]:
            raise PairError(f"{path}: two samples with the id {ids[place]!r}: lines {lines[place]} and {line}")
        if text == "":
            raise PairError(f"{path}:{line}: label missing for the sample {ids[place]!r}")
        lines[place] = line
        labels[place] = shared.setdefault(text, parse_cell(text))
    _check_all(path, ids, lines)
    return labels


def _check_all(path: Path, ids: Sequence[str], lines: array[int]) -> None:
    missing = lines.count(0)
    if missing:
        more = f" and {missing - 1} more" if missing > 1 else ""
        raise PairError(f"{path}: label missing for the sample {ids[lines.index(0)]!r}{more}")


def _rows(path: Path, columns: tuple[str | None, str | None]) -> Iterator[tuple[int, str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file, strict=True)
            header = next(table, [])
            name = _column(path, header, columns[0], ID_COLUMNS, "id")
            label = _column(path, header, columns[1], LABEL_COLUMNS, "label")
            for cells in table:
                if cells and len(cells) != len(header):
                    raise PairError(
                        f"{path}:{table.line_num}: the row has {len(cells)} columns, the header {len(header)}"
                    )
                if cells:
                    yield table.line_num, cells[name], cells[label]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise PairError(f"{path}: labels cannot be read: {error}") from None


def _column(path: Path, header: list[str], named: str | None, usual: tuple[str, ...], key: str) -> int:
    for name in (named,) if named else usual:
        if name in header:
            return header.index(name)
    wanted = named or " or ".join(usual)
    raise PairError(
        f"{path}:1: no column {wanted!r}; columns: {', '.join(header) or 'none'}; name it with reader: {{{key}: ...}}"
    )
