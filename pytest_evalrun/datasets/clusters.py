"""Which samples belong together: what ``gate_rules.cluster`` names, a column of the data."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import flaw_of, written
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

KEY = "gate_rules.cluster"
LONGEST = 200
WHO_HAS_COLUMNS = (
    "data with columns (csv, jsonl, parquet, hf), files with such a column in their `labels`, or a reader of yours "
    "whose inputs are mappings that have it"
)


def cluster_column(settings: Settings) -> str | None:
    """The column by which samples belong together; None where nobody asks, or no sample is scored by us."""
    column = settings.gate_rules.cluster
    return None if column is None or settings.kind.computes(settings) else column


def check_clusters(reader: Any, dataset: Dataset, settings: Settings) -> None:
    """Raise PairError where samples belong together by a column, and the data have none."""
    if not hasattr(reader, "clusters") and (column := cluster_column(settings)) is not None:
        found = f"found {column!r}, and format {settings.format} has no columns"
        raise PairError(f"dataset {dataset.name}: {KEY}: {found}; accepted: {WHO_HAS_COLUMNS}")


def cluster_name(value: Any) -> str:
    """A value as a text of at most 200 characters, its digest where it is longer.

    Raises ValueError, which says what it is, for one that names no cluster.
    """
    if value is None or value == "":
        raise ValueError("null" if value is None else "empty")
    if flaw := flaw_of(value):
        raise ValueError(flaw)
    text = (
        json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        if isinstance(value, list | dict)
        else written(value)
    )
    return text if len(text) <= LONGEST else hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def cluster_in(columns: Any, column: str, where: str) -> str:
    """The cluster of one sample, of its columns by name. Raises PairError, beginning with ``where``."""
    if not isinstance(columns, dict):
        found = f"the input is of type {type(columns).__name__}, which has no columns"
        raise PairError(f"{where}: {KEY}: found {column!r}; {found}; accepted: {WHO_HAS_COLUMNS}")
    if column not in columns:
        raise PairError(f"{where}: {KEY}: no column {column!r}; columns: {', '.join(map(str, columns)) or 'none'}")
    try:
        return cluster_name(columns[column])
    except ValueError as error:
        raise PairError(f"{where}: {KEY}: {column!r} is {error}; accepted: a value in it for every sample") from None


def digest_of_clusters(names: Iterable[str]) -> str:
    """One digest of the clusters of all samples in their order."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{len(name)} {name}".encode(errors="surrogatepass"))
    return digest.hexdigest()
