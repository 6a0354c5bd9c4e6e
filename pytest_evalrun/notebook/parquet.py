"""DataFrames as Parquet files, for whoever reads a run without us: DuckDB, Polars, another language."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import encoded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd


def check_pyarrow() -> None:
    """Raise ConfigError where there is nothing that writes such files."""
    if find_spec("pyarrow") is None:
        raise ConfigError("to_parquet: pyarrow is not installed; pip install pyarrow")


def write_frames(frames: Iterable[tuple[str, pd.DataFrame]], directory: Path) -> list[Path]:
    """Write each DataFrame into the file of its name, which is replaced in one step; one is in memory at a time."""
    return [_write(frame, directory / f"{name}.parquet") for name, frame in frames]


def _write(frame: pd.DataFrame, path: Path) -> Path:
    of_any_kind = [str(name) for name in frame.columns if frame[name].dtype == object]
    file = io.BytesIO()
    frame.assign(**{name: _texts(frame[name]) for name in of_any_kind}).to_parquet(file)
    write_atomic(path, file.getvalue())
    return path


def _texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Values of any kind, for a column that has one: as they are where all are texts, else each as JSON."""
    import pandas as pd

    texts = list(values)
    if not all(value is None or isinstance(value, str) for value in texts):
        texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in texts]
    # Half a character, which Arrow does not hold, is its escape.
    whole = [None if text is None else encoded(text).decode() for text in texts]
    return pd.Series(whole, index=values.index, dtype="string")
