"""A table of labels beside files: which sample has which."""

from __future__ import annotations

import csv
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.clusters import KEY, cluster_in
from pytest_evalrun.datasets.listing import find_place
from pytest_evalrun.datasets.values import check_types, columns_found, delimiter_of, read_cell
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.csvtext import CsvRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

ID_COLUMNS = ("id", "file")
LABEL_COLUMNS = ("label",)


@dataclass(frozen=True)
class LabelTable:
    """A file, and what ``reader`` says of it: the columns, where they are not ``id`` or ``file`` and ``label``, what
    stands between them, and what kind of value a column holds."""

    path: Path
    delimiter: str
    id: str | None
    label: str | None
    types: Mapping[str, str]

    @classmethod
    def of(cls, path: Path, dataset: Dataset, settings: Settings) -> LabelTable:
        """Raises PairError for a delimiter that is none."""
        reader = settings.reader
        delimiter = delimiter_of(path, dataset, settings)
        return cls(path, delimiter, reader.get("id"), reader.get("label"), reader.get("types") or {})

    def read(self, ids: Sequence[str]) -> list[Any]:
        """The label of each of the sorted ids; rows of others are passed over, so that datasets may share a table."""
        labels: list[Any] = [None] * len(ids)
        lines = array("q", bytes(8 * len(ids)))
        shared: dict[str, Any] = {}  # one object a distinct label
        for line, name, text, kind in self._rows():
            place = find_place(ids, name, f"{self.path}:{line}")
            if place is None:
                continue
            if lines[place]:
                raise PairError(f"{self.path}: two samples with the id {ids[place]!r}: lines {lines[place]} and {line}")
            if text not in shared:
                shared[text] = read_cell(text, kind, f"{self.path}:{line}: label")
            if text == "" or shared[text] is None:
                raise PairError(f"{self.path}:{line}: label missing for the sample {ids[place]!r}")
            lines[place] = line
            labels[place] = shared[text]
        if missing := lines.count(0):
            more = f" and {missing - 1} more" if missing > 1 else ""
            raise PairError(f"{self.path}: label missing for the sample {ids[lines.index(0)]!r}{more}")
        return labels

    def clusters(self, ids: Sequence[str], column: str) -> list[str]:
        """What another column has of each of the sorted ids. Raises PairError where it has nothing."""
        found = [""] * len(ids)
        for line, name, text, _ in self._rows(column):
            if (place := find_place(ids, name, f"{self.path}:{line}")) is not None:
                found[place] = cluster_in({column: text}, column, f"{self.path}:{line}: sample {name}")
        return found

    def _rows(self, other: str | None = None) -> Iterator[tuple[int, str, str, str]]:
        """The line, the id, the label and its kind; ``other`` is a column in place of the label's."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                table = CsvRows(file, self.path, self.delimiter)
                header = table.header() or []
                id_ = self._column(header, self.id, ID_COLUMNS)
                if other is not None and other not in header:
                    raise PairError(
                        f"{self.path}:1: {KEY}: no column {other!r}; {columns_found(header, self.delimiter)}"
                    )
                label = self._column(header, other or self.label, LABEL_COLUMNS)
                check_types(self.path, header, self.types, self.delimiter)
                kind = self.types.get(header[label], "text")
                for cells in table:
                    yield table.line, cells[id_], cells[label], kind
        except (OSError, csv.Error, UnicodeDecodeError) as error:
            raise PairError(f"{self.path}: labels cannot be read: {error}") from None

    def _column(self, header: list[str], named: str | None, usual: tuple[str, ...]) -> int:
        for name in (named,) if named else usual:
            if name in header:
                return header.index(name)
        wanted, key = named or " or ".join(usual), usual[0]
        found = columns_found(header, self.delimiter)
        raise PairError(f"{self.path}:1: no column {wanted!r}; {found}; name it with reader: {{{key}: ...}}")
