"""Parquet: a file, or those of a directory in the order of their names; a row is a sample."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_evalrun.datasets.columns import ColumnsReader, Part, rows_at_once
from pytest_evalrun.datasets.tables import named
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

EVERY = "*.parquet"
# What is read ahead of a file: without it a whole row group is.
BUFFER = 1 << 20
# How the files of a split are called where it has several of them.
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.parquet")


class ParquetReader(ColumnsReader):
    """Read batch by batch. ``reader: {files: "test-*.parquet"}`` chooses among the files of a directory."""

    accepted: ClassVar[frozenset[str]] = frozenset({"files"})

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        super().__init__(dataset, settings)
        self._pattern = _pattern(settings.reader.get("files"), dataset.name)

    @cached_property
    def files(self) -> list[Path]:
        """All files of the dataset, sorted. Raises PairError where they are those of several splits, or some lack."""
        if not self.path.is_dir():
            return [self.path]
        with named(self.path):
            found = sorted(path for path in self.path.glob(self._pattern or EVERY) if path.is_file())
        if not found:
            raise PairError(f"{self.path}: the dataset is empty: no file is called {self._pattern or EVERY}")
        self._check_splits(found)
        return found

    def kind(self) -> list[Any]:
        return ["parquet"]

    def remembered(self, hashes: Hashes, kind: str) -> dict[str, Any]:
        if len(self.files) == 1:
            return hashes.derived(self.files[0], kind, self.measure)
        # The facts of all are remembered with the first of them, for as long as none of them changes.
        content = hashes.tree(self.path, [str(file.relative_to(self.path)) for file in self.files])
        return hashes.derived(self.files[0], f"{kind} {content}", self.measure)

    def size(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    def parts(self) -> Iterator[Part]:
        from pyarrow.parquet import ParquetFile

        for file in self.files:
            with _read(file), ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as table:
                schema = table.schema_arrow
                yield Part(str(file), schema, self._batches(file, table, self.wanted(str(file), schema.names)))

    def _batches(self, file: Path, table: Any, columns: list[str]) -> Iterator[Any]:
        groups = [table.metadata.row_group(index) for index in range(table.num_row_groups)]
        at_once = rows_at_once(table.metadata.num_rows, sum(group.total_byte_size for group in groups))
        with _read(file):
            yield from table.iter_batches(at_once, columns=columns)

    def _check_splits(self, files: list[Path]) -> None:
        parts = [found.groups() for file in files if (found := _PART.fullmatch(file.name))]
        splits = sorted({(split, count) for split, _, count in parts})
        if len({split for split, _ in splits}) > 1 and self._pattern is None:
            names = ", ".join(split for split, _ in splits)
            raise PairError(
                f"{self.path}: the files of several splits, {names}; accepted: those of one, as by "
                f'`reader: {{files: "{splits[0][0]}-*.parquet"}}`'
            )
        for split, count in splits:
            there = sum(found[0] == split and found[2] == count for found in parts)
            if there != int(count):
                raise PairError(f"{self.path}: {there} of {int(count)} files {split}-…-of-{count}.parquet are there")


def _pattern(pattern: Any, name: str) -> str | None:
    plain = isinstance(pattern, str) and pattern and not Path(pattern).is_absolute() and ".." not in Path(pattern).parts
    if pattern is not None and not plain:
        raise PairError(
            f"dataset {name}: reader: files is {pattern!r}; accepted: a pattern of names in the directory, {EVERY}"
        )
    return pattern if plain else None


@contextmanager
def _read(file: Path) -> Iterator[None]:
    """What is wrong with the content of a file is told of it; what a device reports has a number, and may pass."""
    import pyarrow as pa

    try:
        with named(file):
            yield
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise PairError(f"{file}: not a file of Parquet that can be read: {error}") from None
