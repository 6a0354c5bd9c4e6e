"""One module a kind of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from pytest_evalrun.datasets.protocol import Reader
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

NAMES = frozenset({"files", "csv", "jsonl"})

# What `reader:` may hold for each built-in format; a user's own reader gets whatever stands there.
OPTIONS = {
    "files": frozenset({"id", "label", "delimiter", "types"}),
    "csv": frozenset({"delimiter", "types"}),
    "jsonl": frozenset[str](),
}


def create_reader(dataset: Dataset, settings: Settings, root: str) -> Reader:
    """The reader of a dataset: built in by ``format``, or the user's own where ``format`` names a path."""
    if settings.format not in NAMES:
        from pytest_evalrun.datasets.user import UserReader

        return UserReader(dataset, settings, root)
    _check_options(dataset, settings)
    if settings.format == "files":
        from pytest_evalrun.datasets.files import FilesReader

        return FilesReader(dataset, settings)
    from pytest_evalrun.datasets import tables

    return tables.CsvReader(dataset, settings) if settings.format == "csv" else tables.JsonlReader(dataset, settings)


def _check_options(dataset: Dataset, settings: Settings) -> None:
    accepted = OPTIONS[settings.format]
    if unknown := settings.reader.keys() - accepted:
        words = ", ".join(sorted(accepted)) or "none"
        raise PairError(
            f"dataset {dataset.name}: reader: unknown key {', '.join(sorted(unknown))} for format {settings.format}; "
            f"accepted: {words}"
        )
