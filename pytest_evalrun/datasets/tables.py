"""Tables: a row of a CSV file, or a line of a JSONL file, is a sample."""

from __future__ import annotations

import csv
import hashlib
import json
from abc import ABC, abstractmethod
from contextlib import contextmanager
from itertools import islice, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_evalrun.datasets.clusters import KEY, cluster_column, cluster_in, cluster_name, digest_of_clusters
from pytest_evalrun.datasets.protocol import Identity, Sample
from pytest_evalrun.datasets.unique import Repeats
from pytest_evalrun.datasets.values import (
    check_types,
    columns_found,
    delimiter_of,
    flaw_of,
    from_json,
    is_writable,
    read_cell,
)
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.csvtext import CsvRows
from pytest_evalrun.suite.jsontext import TooDeep

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

    Row = Mapping[str, Any]

_encode = json.JSONEncoder(sort_keys=True).encode
# Digests are taken over so many rows at once; another number would make every digest another.
CHUNK = 64


class TableReader(ABC):
    """What all kinds of tables share: which column is the id, which the reference, and which the input."""

    missing: Any = None  # the reference that is none, besides null
    accepted: ClassVar[frozenset[str]] = frozenset()  # what `reader:` may hold
    unit: ClassVar[str] = "lines"

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self.path = Path(dataset.path)
        self.where = dataset.path
        self.id_column = settings.id_column
        self.reference = settings.reference
        self.inputs = settings.inputs
        self.cluster = cluster_column(settings)
        self._spoken_for = {self.id_column, self.reference}

    @abstractmethod
    def rows(self) -> Iterator[tuple[int, Row]]:
        """Every row with the line that it ends on, from 1."""

    @abstractmethod
    def kind(self) -> list[Any]:
        """What the identity depends on besides the file's content."""

    def at(self, number: int) -> str:
        """The place of the row that ends there, for messages."""
        return f"{self.where}:{number}"

    def size(self) -> int:
        """How many bytes hold the rows, about."""
        return self.path.stat().st_size

    def remembered(self, hashes: Hashes, kind: str) -> dict[str, Any]:
        """What :meth:`measure` finds, until the content changes."""
        return hashes.derived(self.path, kind, self.measure)

    def __iter__(self) -> Iterator[Sample]:
        return starmap(Sample, self._parts())

    def _parts(self) -> Iterator[tuple[int, str, Any, Any]]:
        """Index, id, input and reference of each row; what most rows have is taken here, without a call for each."""
        column: Any = self.inputs[0] if len(self.inputs) == 1 else None
        wanted: Any = self.reference
        for index, (line, row) in enumerate(self.rows()):
            name = str(index) if self.id_column is None else self._id(index, line, row)
            value = row[column] if column in row else self._input(line, row)
            reference = row.get(wanted)
            if type(reference) is not str or not reference:
                reference = self._reference(line, row)
            yield index, name, value, reference

    def identity(self, hashes: Hashes) -> Identity:
        """Read once and remembered until the file changes. Raises PairError for a table that cannot be evaluated."""
        clusters = [] if self.cluster is None else [{"cluster": self.cluster}]
        kind = _encode([*self.kind(), self.id_column, self.reference, list(self.inputs), *clusters])
        with named(self.path):
            found = self.remembered(hashes, kind)
        return Identity(found["inputs"], found["references"], found["count"], found.get("clusters", ""))

    def clusters(self) -> Iterator[str]:
        """The cluster of each row, of whatever column."""
        assert self.cluster is not None, "somebody asks for it"
        for index, (line, row) in enumerate(self.rows()):
            try:
                name = cluster_name(row[self.cluster])
            except (KeyError, ValueError):  # which is told
                name = cluster_in({**row}, self.cluster, f"{self.at(line)}: sample {self._id(index, line, row)}")
            yield name

    def missing_column(self, names: Collection[str]) -> tuple[str, str] | None:
        """The first setting that names a column which is not among these, and that column."""
        ones = {"id_column": self.id_column, "reference": self.reference}
        settings = [*ones.items(), *(("inputs", name) for name in self.inputs), (KEY, self.cluster)]
        return next(((setting, name) for setting, name in settings if name is not None and name not in names), None)

    def measure(self) -> dict[str, Any]:
        """Digests of inputs and references apart, and how many rows there are; all of them are read."""
        inputs, references = hashlib.sha256(), hashlib.sha256()
        repeats = Repeats(self.size()) if self.id_column is not None else None
        count, parts = 0, self._parts()
        while chunk := list(islice(parts, CHUNK)):
            count += len(chunk)
            inputs.update(_encode([(name, value) for _, name, value, _ in chunk]).encode())
            references.update(_encode([reference for _, _, _, reference in chunk]).encode())
            if repeats:
                repeats.add(name for _, name, _, _ in chunk)
        if not count:
            raise PairError(f"{self.where}: the dataset is empty; a {self.kind()[0]} dataset needs at least one row")
        if repeats:
            repeats.confirm(self._ids(), self.where, self.unit)
        digest = references.hexdigest() if self.reference is not None else ""
        found = {"inputs": inputs.hexdigest(), "references": digest, "count": count}
        return found if self.cluster is None else found | {"clusters": digest_of_clusters(self.clusters())}

    def _ids(self) -> Iterator[tuple[str, int]]:
        return ((self._id(index, line, row), line) for index, (line, row) in enumerate(self.rows()))

    def _id(self, index: int, line: int, row: Row) -> str:
        if self.id_column is None:
            return str(index)
        value = self._cell(line, row, self.id_column, "id_column")
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise PairError(f"{self.at(line)}: id_column {self.id_column!r} holds {value!r}; an id is a text or int")
        if isinstance(value, str) and not is_writable(value):
            raise PairError(f"{self.at(line)}: id_column {self.id_column!r} holds {value!r}: half a character")
        return str(value)

    def _input(self, line: int, row: Row) -> Any:
        if len(self.inputs) == 1:
            return self._cell(line, row, self.inputs[0], "inputs")
        if self.inputs:
            return {name: self._cell(line, row, name, "inputs") for name in self.inputs}
        columns = {name: value for name, value in row.items() if name not in self._spoken_for}
        if not columns:
            raise PairError(f"{self.at(line)}: no column is left to be the input; columns: {', '.join(row)}")
        return columns

    def _reference(self, line: int, row: Row) -> Any:
        if self.reference is None:
            return None
        value = self._cell(line, row, self.reference, "reference")
        if value is None or value == self.missing:
            found = "null" if self.missing is None else "empty"
            raise PairError(f"{self.at(line)}: label missing: {self.reference!r} is {found}")
        if type(value) is not str and (flaw := flaw_of(value)):
            raise PairError(f"{self.at(line)}: label missing: {self.reference!r} is {flaw}")
        return value

    def _cell(self, line: int, row: Row, column: str, setting: str) -> Any:
        try:
            return row[column]
        except KeyError:
            raise PairError(
                f"{self.at(line)}: {setting}: no column {column!r}; columns: {', '.join(map(str, row))}"
            ) from None


class CsvReader(TableReader):
    """A CSV file with a header row; cells are text, but in the columns of which ``types`` says something else."""

    missing = ""
    accepted = frozenset({"delimiter", "types"})

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        super().__init__(dataset, settings)
        self.delimiter = delimiter_of(self.path, dataset, settings)
        self.types = dict(settings.reader.get("types") or {})

    def kind(self) -> list[Any]:
        return ["csv", self.delimiter, self.types]

    def rows(self) -> Iterator[tuple[int, Row]]:
        with named(self.path), self.path.open(encoding="utf-8-sig", newline="") as file:
            table = CsvRows(file, self.path, self.delimiter)
            try:
                header = self._header(table.header())
                for cells in table:
                    yield table.line, self._row(table.line, header, cells)
            except csv.Error as error:
                raise PairError(f"{self.path}:{table.line}: not a row of CSV: {error}") from None

    def _header(self, names: list[str] | None) -> list[str]:
        if names is None:
            raise PairError(f"{self.path}: the dataset is empty; a csv dataset starts with a header row")
        if missing := self.missing_column(names):
            setting, name = missing
            found = columns_found(names, self.delimiter)
            raise PairError(f"{self.path}:1: {setting}: no column {name!r}; {found}")
        check_types(self.path, names, self.types, self.delimiter)
        return names

    def _row(self, line: int, header: list[str], cells: list[str]) -> Row:
        row: dict[str, Any] = dict(zip(header, cells, strict=True))
        for name, kind in self.types.items():
            row[name] = read_cell(row[name], kind, f"{self.path}:{line}: types.{name}")
        return row


class JsonlReader(TableReader):
    """A file with a JSON object a line."""

    def kind(self) -> list[Any]:
        return ["jsonl"]

    def rows(self) -> Iterator[tuple[int, Row]]:
        with named(self.path), self.path.open("rb") as file:
            for line, text in enumerate(file, 1):
                if not text.isspace():
                    yield line, self._row(line, text)

    def _row(self, line: int, text: bytes) -> Row:
        try:
            row = from_json(text.decode("utf-8-sig" if line == 1 else "utf-8"))
        except TooDeep as error:
            raise PairError(f"{self.path}:{line}: not a line of JSON that can be read: {error}") from None
        except ValueError as error:  # UnicodeDecodeError is one too
            raise PairError(f"{self.path}:{line}: not a line of JSON: {error}") from None
        if not isinstance(row, dict):
            raise PairError(f"{self.path}:{line}: a {type(row).__name__}; a jsonl dataset has one object a line")
        return row


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Faults of the file itself name it and are not tried again; what a device reports may pass, and is."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise PairError(f"{path}: the dataset cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PairError(f"{path}: not UTF-8: byte {error.object[error.start]:#04x} ({error.reason})") from None
