"""The rule of `nel gate` (NVIDIA NeMo Evaluator, commit ac66aff5), beside which docs/gates.md sets ours.

It makes a 95 % interval of the paired differences: Student's t, or the normal law over clusters where samples have a
category. PASS where the largest drop in it is allowed, BREACH where the smallest is not; below 10 pairs no answer. A
drop that is allowed as a share of the value is held against the value alone.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 10
PASS, BREACH, INSUFFICIENT = "PASS", "BREACH", "INSUFFICIENT"


def nel_verdict(
    differences: NDArray[np.float64],
    margin: float,
    clusters: NDArray[np.intp] | None = None,
    most: float = math.inf,
) -> str:
    """What it says of ``after - before``, more is better; ``most`` is the drop of the value that a share allows."""
    n = len(differences)
    if n < LEAST:
        return INSUFFICIENT
    mean = float(differences.mean())
    if -mean > most:
        return BREACH
    if clusters is None or clusters.max() == 0:
        width = t_quantile(n - 1) * float(differences.std(ddof=1)) / math.sqrt(n)
    else:
        sums = np.bincount(clusters, differences - mean)
        width = 1.959963984540054 * math.sqrt(len(sums) / (len(sums) - 1) * float(sums @ sums)) / n
    # It rounds what it found to six digits, and so do we: 0.05 is then no more than 0.05.
    smallest, largest = round(-mean - width, 6), round(-mean + width, 6)
    if smallest > margin:
        return BREACH
    return PASS if largest <= margin else INSUFFICIENT


def nel_of_flips(
    n: int, lost: NDArray[np.float64], won: NDArray[np.float64], margin: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where it says PASS and where BREACH of so many flips among ``n`` 0/1 scores."""
    if n < LEAST:
        return np.zeros(len(lost), bool), np.zeros(len(lost), bool)
    mean = (won - lost) / n
    width = t_quantile(n - 1) * np.sqrt(np.maximum((lost + won) / n - mean**2, 0) / (n - 1))
    return np.round(-mean + width, 6) <= margin, np.round(-mean - width, 6) > margin


@cache
def t_quantile(freedom: int) -> float:
    """Of 97.5 %."""
    from scipy import stats

    return float(stats.t.ppf(0.975, df=freedom))
