"""DataFrames of given columns: the same dtypes whatever the values are, and where there are none."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from pytest_evalrun.notebook.columns import ANY, CATEGORY, TIME
from pytest_evalrun.rundir.lines import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from pytest_evalrun.notebook.columns import FrameColumn


def frame_of(columns: Sequence[FrameColumn], values: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Make a DataFrame of the values of each column, by its name.

    A value that its column cannot hold, as a damaged file may have it, is none there.
    """
    import pandas as pd

    return pd.DataFrame({column.name: _series(column, values[column.name]) for column in columns}, copy=False)


def frame_of_rows(columns: Sequence[FrameColumn], rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a DataFrame of rows; what a row does not name is none."""
    found = list(rows)
    return frame_of(columns, {column.name: [row.get(column.name) for row in found] for column in columns})


def _series(column: FrameColumn, values: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    if column.dtype == TIME:
        return _moments(values)
    if column.dtype == ANY:
        return pd.Series(values, dtype=object)
    if column.dtype == CATEGORY:
        return pd.Series(_categories(column.words, values))
    if values.count(None) == len(values):
        return pd.Series(pd.NA, index=range(len(values)), dtype=column.dtype)
    try:
        return pd.Series(values, dtype=column.dtype)
    except (TypeError, ValueError, OverflowError):
        return pd.Series(list(map(_KEPT[column.dtype], values)), dtype=column.dtype)


def _categories(words: Sequence[str], values: Sequence[Any]) -> pd.Categorical[Any]:
    import pandas as pd

    codes = {word: code for code, word in enumerate(words)}
    try:
        found = list(map(codes.get, values, repeat(-1)))
    except TypeError:  # a list has no hash
        found = [codes.get(value, -1) if isinstance(value, str) else -1 for value in values]
    return pd.Categorical.from_codes(found, dtype=pd.CategoricalDtype(list(words)))


def _moments(values: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    def moments(values: Iterable[Any]) -> pd.Series[Any]:
        texts = pd.Series([value if isinstance(value, str) else None for value in values], dtype=object)
        return pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").astype(TIME)

    try:
        return moments(values)
    except ValueError:  # a year that nanoseconds do not reach
        return moments(value if _is_near(value) else None for value in values)


def _is_near(value: Any) -> bool:
    return isinstance(value, str) and "1700" < value[:4] < "2200"


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and -1e300 < value < 1e300 else None


def _whole_number(value: Any) -> int | None:
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    """Half a character, which no column of Arrow's can hold, is its escape."""
    return encoded(value).decode() if isinstance(value, str) else None


_KEPT: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "Float64": _number,
    "Int64": _whole_number,
    "boolean": _truth,
}
