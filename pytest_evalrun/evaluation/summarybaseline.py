"""Baselines of which the value alone is known: numbers, and the CSV files of earlier summaries."""

from __future__ import annotations

import csv
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from pytest_evalrun.suite.gates import Gate
    from pytest_evalrun.suite.pairs import Pair


def baseline_value(pair: Pair, name: str, gate: Gate) -> float:
    """The value that a drop of the metric is measured from. Raises PairError where the file does not tell."""
    if not isinstance(gate.baseline, str):
        assert gate.baseline is not None
        return float(gate.baseline)
    path = Path(pair.root, gate.baseline)
    try:
        values = _read_baseline(str(path), path.stat().st_mtime_ns)
    except OSError as error:
        raise PairError(f"gate on {name}: the baseline {path} cannot be read: {error.strerror}") from None
    row = pair.suite, pair.task.name, pair.dataset.name, name
    limit = pair.settings.limit
    found = values.get((*row, str(limit or "")), values.get((*row, "")))
    if found is None:
        raise PairError(f"{path}: no row for {pair.full_id} and metric {name}; copy a summary.csv that has one")
    return found


@lru_cache(maxsize=16)
def _read_baseline(path: str, _mtime_ns: int) -> dict[tuple[str, ...], float]:
    """A committed copy of some run's ``summary.csv``: suite, task, dataset, metric and limit → value.

    Earlier versions wrote no limit, and called such datasets ``clean.limit-10``, which no dataset is called.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = [row for row in csv.DictReader(file) if row["value"]]
            where = ("suite", "task", "dataset", "metric")
            return {(*(row[name] for name in where), row.get("limit") or ""): _finite(row["value"]) for row in rows}
        except (KeyError, ValueError, TypeError) as error:
            raise PairError(f"{path}: not a copy of a summary.csv: {error}") from None


def _finite(text: str) -> float:
    """From NaN nothing ever drops. Raises ValueError."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the value {text!r} is no number")
    return number
