"""Columns of Arrow, as files of Parquet and datasets of Hugging Face have them: rows whose values are JSON's.

Which values a column has is known from its type, so what cannot travel is refused before the first row is read.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.media import data_url
from pytest_evalrun.datasets.tables import TableReader
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.csvtext import twice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_evalrun.datasets.tables import Row
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

    Convert = Callable[[Any], Any]

# So many rows, or as many as have so many bytes, are in memory at once.
MOST_ROWS = 4096
MOST_BYTES = 16 << 20
# Kinds of columns, by the questions that Arrow answers of them.
_PLAIN = ("is_null", "is_boolean", "is_integer", "is_floating", "is_string", "is_large_string")
_DATES = ("is_timestamp", "is_date", "is_time")
_LISTS = ("is_list", "is_large_list", "is_fixed_size_list")
_FILE = {"bytes", "path"}


@dataclass(frozen=True)
class Part:
    """A file of a dataset: what it is called, its columns, and the rows of those that are read, batch by batch."""

    where: str
    schema: Any
    batches: Iterator[Any]


class ColumnsReader(TableReader):
    """What both kinds of columns share. Only those that the suite names are read, where it names the inputs."""

    unit = "rows"

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        super().__init__(dataset, settings)
        needed(settings.format, "pyarrow")
        self._here, self._before = dataset.path, 0

    @abstractmethod
    def parts(self) -> Iterator[Part]:
        """All of it, in its order."""

    def at(self, number: int) -> str:
        return f"{self._here}: row {number - self._before}"

    def rows(self) -> Iterator[tuple[int, Row]]:
        number = 0
        for part in self.parts():
            self._here, self._before = part.where, number
            kinds = {name: part.schema.field(name).type for name in self.wanted(part.where, part.schema.names)}
            converts = [converter(kind, name, part.where) for name, kind in kinds.items()]
            for batch in part.batches:
                for row in _rows(batch, converts):
                    number += 1
                    yield number, row

    def wanted(self, where: str, names: Sequence[str]) -> list[str]:
        """Those of the columns that are read, in their order. Raises PairError for one that the suite names in vain."""
        if len(set(names)) < len(names):
            raise PairError(f"{where}: the column {twice(names)!r} stands there twice")
        if missing := self.missing_column(names):
            setting, name = missing
            raise PairError(f"{where}: {setting}: no column {name!r}; columns: {', '.join(names) or 'none'}")
        asked = {*self.inputs, self.id_column, self.reference, self.cluster}
        return [name for name in names if name in asked or not self.inputs]


def needed(kind: str, name: str) -> Any:
    """Import a library that a kind of data needs. Raises PairError that says how it is installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise PairError(f'{error.name} is needed for format {kind}: pip install "pytest-evalrun[hf]"') from error


def rows_at_once(rows: int, size: int) -> int:
    """How many rows, of so many with so many bytes in all, are read at once."""
    return max(1, min(MOST_ROWS, MOST_BYTES * rows // max(size, 1)))


def converter(kind: Any, name: str, where: str) -> Convert | None:
    """What makes a value of a column JSON's; None where it is that already.

    Dates are written as ISO 8601 has them, decimals as they stand, and files (a struct of ``bytes`` and ``path``) as
    data URLs. Raises PairError for a type of which no value of JSON is plain.
    """
    from pyarrow import BaseExtensionType, types

    if types.is_float16(kind):
        return float  # some versions have numpy's
    if _is(kind, _PLAIN):
        return None
    if _is(kind, _DATES):
        return lambda value: value.isoformat()
    if types.is_decimal(kind):
        return lambda value: format(value, "f")
    if _is(kind, _LISTS):
        return _list(converter(kind.value_type, f"{name}[]", where))
    if types.is_dictionary(kind):
        return converter(kind.value_type, name, where)
    if types.is_struct(kind):
        return _struct(kind, name, where)
    if types.is_map(kind) and types.is_string(kind.key_type):
        return partial(_mapping, converter(kind.item_type, f"{name}.*", where))
    if isinstance(kind, BaseExtensionType):
        return converter(kind.storage_type, name, where)
    raise PairError(
        f"{where}: column {name!r} holds {kind}, which is no value of JSON; accepted: texts, numbers, dates, lists and "
        "structs of them, files as a struct of bytes and path; leave it out by `inputs: [the columns that are]`"
    )


def _is(kind: Any, questions: Sequence[str]) -> bool:
    from pyarrow import types

    return any(getattr(types, question)(kind) for question in questions)


def _list(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda values: [_converted(convert, value) for value in values]


def _struct(kind: Any, name: str, where: str) -> Convert | None:
    fields = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}
    if fields.keys() == _FILE and _is(fields["bytes"], ("is_binary", "is_large_binary")):
        return partial(_file, name, where)
    converts = {field: converter(of, f"{name}.{field}", where) for field, of in fields.items()}
    if not any(converts.values()):
        return None
    return lambda value: {field: _converted(convert, value[field]) for field, convert in converts.items()}


def _mapping(convert: Convert | None, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: _converted(convert, value) for key, value in pairs}


def _file(name: str, where: str, value: dict[str, Any]) -> str:
    if value["bytes"] is None:
        raise PairError(
            f"{where}: column {name!r} holds the path of a file, {value['path']!r}, and not the file itself; accepted: "
            "its bytes, or format: files for a directory of files"
        )
    return data_url(value["bytes"], value["path"])


def _converted(convert: Convert | None, value: Any) -> Any:
    return value if convert is None or value is None else convert(value)


def _rows(batch: Any, converts: Sequence[Convert | None]) -> Iterator[Row]:
    names = batch.schema.names
    columns = [_column(batch.column(index), convert) for index, convert in enumerate(converts)]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _column(column: Any, convert: Convert | None) -> list[Any]:
    values = column.to_pylist()
    return values if convert is None else [_converted(convert, value) for value in values]
