"""Values that are no means, of resamples: what a sample adds is a row of numbers, counted as often as it was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.metrics.checks import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_evalrun.stats.resampling import ValueOfDraws

    ValueOfSums = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def table_of(metric: str, rows: Sequence[Any], columns: int) -> NDArray[np.float64]:
    """Statistics of samples as a table of numbers. Raises PairError for what this metric has not told."""
    import numpy as np

    try:
        table = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    except (TypeError, ValueError, OverflowError):  # no numbers, or not as many of each sample
        table = np.empty((0, 0))
    if table.shape[1] != columns or not np.isfinite(table).all():
        first = describe(rows[0]) if rows else "none"
        raise PairError(
            f"metric {metric}: its statistics are not {columns} finite numbers a sample; the first: {first}"
        )
    return table


def values_of_sums(table: NDArray[np.float64], value: ValueOfSums) -> ValueOfDraws:
    """The value of each draw by the sums of its rows; ``value`` is given those, a row a draw."""

    def values(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        import numpy as np

        return np.asarray(value(draws.astype(np.float64) @ table), dtype=np.float64)

    return values


def check_statistic(made: Any, ref: str) -> bool:
    """Tell whether a user's metric says what samples add to its value. Raises ConfigError for half of it."""
    has = {name: callable(getattr(made, name, None)) for name in ("statistic", "values_of")}
    if len(there := [name for name, is_there in has.items() if is_there]) == 1:
        raise ConfigError(f"metric {ref}: it has {there[0]} alone; accepted: statistic and values_of, or neither")
    return bool(there)
