"""95 % intervals: Wilson's for proportions, a seeded percentile bootstrap over samples for the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    # rows of sample positions, one row a draw -> the statistic of each draw; NaN where it is not defined
    Statistic = Callable[[NDArray[np.intp]], NDArray[np.float64]]

Z95 = 1.959963984540054
MAX_DRAWS = 2_000
MAX_CELLS = 20_000_000  # draws x samples: a fifth of a second
CHUNK_CELLS = 1_000_000  # drawn at once: 8 MB an array
SEED = 20_000


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval; always within [0, 1] and around the proportion. ``n`` must not be 0."""
    share = successes / n
    z2 = Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


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


def bootstrap_mean(values: Sequence[float] | NDArray[np.float64], value: float) -> tuple[float, float]:
    """Interval of the mean of ``values``, which is ``value``."""
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    return bootstrap(value, len(data), lambda rows: data[rows].mean(axis=1))


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


def interval_of_mean(scores: Sequence[float], value: float) -> tuple[float, float]:
    """Wilson's interval when every score is 0 or 1, the bootstrap's otherwise."""
    ones = as_share(scores)
    return bootstrap_mean(scores, value) if ones is None else wilson(ones, len(scores))
