"""95 % intervals: Wilson's for proportions, a seeded percentile bootstrap over samples for the rest.

Where a sample has several rows, as of several generations, its rows are a *cluster*: they say less than as many
samples would. ``clusters`` is the sample of each row; without it, or where no sample has two rows, rows are samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_evalrun.stats.proportions import clustered_wilson
from pytest_evalrun.stats.proportions import clusters_of as clusters_of
from pytest_evalrun.stats.proportions import wilson as wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    # rows of sample positions, one row a draw -> the statistic of each draw; NaN where it is not defined
    Statistic = Callable[[NDArray[np.intp]], NDArray[np.float64]]

MAX_DRAWS = 2_000
MAX_CELLS = 20_000_000  # draws x samples: a fifth of a second
CHUNK_CELLS = 1_000_000  # drawn at once: 8 MB an array
SEED = 20_000


def bootstrap(value: float, n: int, statistic: Statistic, cells: int = MAX_CELLS) -> tuple[float, float]:
    """Percentile interval of ``statistic`` over resamples of ``n`` samples; the same each time.

    There are never more than 2,000 draws, and draws x samples stays within ``cells``. So that large datasets keep
    their 2,000 draws, a resample has at most ``cells / 2,000`` samples; its deviation from the value is then scaled
    by the square root of the share drawn (the m-out-of-n bootstrap).
    """
    import numpy as np

    if n < 2:
        return value, value
    size = min(n, cells // MAX_DRAWS)
    rng = np.random.default_rng(SEED)
    rows = chunks(MAX_DRAWS, size)
    draws = np.concatenate([statistic(rng.integers(0, n, (count, size))) for count in rows])
    return percentiles(value, draws, math.sqrt(size / n))


def bootstrap_sums(
    value: float,
    sums: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    clusters: Sequence[int] | None = None,
) -> tuple[float, float]:
    """Percentile interval of a statistic of sums over samples, as of counts that a corpus metric is made of.

    ``sums`` has a row a sample, or a row each that ``clusters`` has; ``statistic`` is given the sums of each draw, a
    row a draw. Draws are made as by :func:`bootstrap`.
    """
    import numpy as np

    places = clusters_of(clusters)
    units = sums if places is None else cluster_sums(sums, places)
    n = len(units)
    if n < 2:
        return value, value
    size = min(n, MAX_CELLS // MAX_DRAWS)
    rng = np.random.default_rng(SEED)
    drawn = [_drawn_sums(units, rng.integers(0, n, (count, size))) for count in chunks(MAX_DRAWS, size)]
    return percentiles(value, statistic(np.concatenate(drawn)), math.sqrt(size / n))


def _drawn_sums(units: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    import numpy as np

    draws, size = rows.shape
    n = len(units)
    if n > size:
        return np.stack([column[rows].sum(axis=1) for column in units.T], axis=1)
    times = np.bincount((rows + np.arange(draws)[:, None] * n).ravel(), minlength=draws * n)
    return np.asarray(times.reshape(draws, n) @ units)


def cluster_sums(values: NDArray[np.float64], places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Add up the rows of each cluster."""
    import numpy as np

    return np.stack([np.bincount(places, column) for column in values.T], axis=1)


def share_interval(
    successes: int, scores: Sequence[float] | NDArray[np.float64], clusters: Sequence[int] | None
) -> tuple[float, float]:
    """Wilson's interval of a share of rows in clusters, for as many rows as would say as much one by one.

    ``successes`` of them are 1. Where no two rows are of one cluster it is the plain interval.
    """
    places = clusters_of(clusters)
    return wilson(successes, len(scores)) if places is None else clustered_wilson(scores, places)


def bootstrap_mean(
    values: Sequence[float] | NDArray[np.float64], value: float, clusters: Sequence[int] | None = None
) -> tuple[float, float]:
    """Interval of the mean of ``values``, which is ``value``."""
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    if clusters_of(clusters) is not None:
        return bootstrap_sums(value, np.stack([data, np.ones_like(data)], axis=1), _ratio, clusters)
    return bootstrap(value, len(data), lambda rows: data[rows].mean(axis=1))


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[:, 0] / sums[:, 1]


def percentiles(value: float, draws: NDArray[np.float64], scale: float = 1.0) -> tuple[float, float]:
    """The middle 95 % of the draws that are defined, their deviation from ``value`` scaled."""
    import numpy as np

    defined = draws[np.isfinite(draws)]
    if not defined.size:
        return value, value
    low, high = np.percentile(defined, (2.5, 97.5))
    return value + (float(low) - value) * scale, value + (float(high) - value) * scale


def chunks(draws: int, width: int) -> Iterator[int]:
    """Cut ``draws`` rows of ``width`` into runs that fit in memory."""
    step = max(1, CHUNK_CELLS // width)
    for start in range(0, draws, step):
        yield min(step, draws - start)


def as_share(scores: Sequence[float]) -> int | None:
    """Count the scores that are 1 if all are 0 or 1, else None."""
    ones = 0
    for score in scores:
        if score == 1:
            ones += 1
        elif score != 0:
            return None
    return ones


def interval_of_mean(
    scores: Sequence[float], value: float, clusters: Sequence[int] | None = None
) -> tuple[float, float]:
    """Wilson's interval when every score is 0 or 1, the bootstrap's otherwise."""
    ones = as_share(scores)
    return bootstrap_mean(scores, value, clusters) if ones is None else share_interval(ones, scores, clusters)
