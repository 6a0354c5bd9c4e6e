"""Intervals of one proportion: Wilson's, and its clustered form; the normal and the binomial distribution they rest on.

Plain Python but for clusters, for Wilson's interval is made for each pair, however small.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Z95 = 1.959963984540054


@lru_cache(maxsize=256)
def normal_quantile(share: float) -> float:
    """The standard normal quantile, 1.959963984540054 of 0.975."""
    if share == 0.975:  # of nearly all intervals: as ever to the last bit, and without a module that pytest lacks
        return Z95
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)


def normal_share(value: float) -> float:
    """The chance that a standard normal variable is at most ``value``, exact in both tails."""
    return math.erfc(-value / math.sqrt(2)) / 2


def two_sided(confidence: float) -> float:
    """How many standard errors a two-sided interval reaches to each side. Raises ValueError out of ]0, 1[."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}; accepted: more than 0 and less than 1")
    return normal_quantile((1 + confidence) / 2)


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval; always within [0, 1] and around the proportion. ``n`` must not be 0.

    Source: Wilson 1927, JASA 22, 209-212. It has a width for 0 of n, too: up to z^2 / (n + z^2).
    """
    return _wilson(successes / n, n, two_sided(confidence))


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    z2 = z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def clusters_of(clusters: Sequence[int] | NDArray[np.intp] | None) -> NDArray[np.intp] | None:
    """Number the cluster of each row from 0; None where no two rows are of one."""
    if clusters is None or not len(clusters):
        return None
    import numpy as np

    names, places = np.unique(np.asarray(clusters), return_inverse=True)
    return places if len(names) < len(places) else None


def clustered_stderr(values: NDArray[np.float64], places: NDArray[np.intp]) -> float:
    """The standard error of a mean of rows in clusters, numbered from 0: sqrt(C / (C - 1) x sum of s^2) / n, where s
    are the sums of a cluster's residuals. Two clusters are needed.

    Source: Miller 2024, arXiv 2411.00640, eq. 4, with the correction for few clusters, as Inspect's ``stderr`` has it.
    """
    import numpy as np

    sums = np.bincount(places, values - values.mean())
    count = int(places.max()) + 1
    return math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(values)


def clustered_wilson(
    scores: Sequence[float] | NDArray[np.float64],
    clusters: Sequence[int] | NDArray[np.intp] | None,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Wilson's interval of a share of rows in clusters, for as many rows as would say as much one by one.

    That is their number by the design effect: the variance of the share by :func:`clustered_stderr`, over that of
    independent rows. Where all rows are alike, the variance says nothing, and clusters are counted. Where no two rows
    are of one cluster it is the plain interval. Source: Korn and Graubard 1998; Dean and Pagano 2015.
    """
    n, z = len(scores), two_sided(confidence)
    places = clusters_of(clusters)
    share = math.fsum(scores) / n
    if places is None:
        return _wilson(share, n, z)
    import numpy as np

    count = int(places.max()) + 1
    if share in (0, 1) or count < 2:
        return _wilson(share, count, z)
    variance = clustered_stderr(np.asarray(scores, dtype=np.float64), places) ** 2
    effective = share * (1 - share) / variance if variance else n
    return _wilson(share, min(n, max(1.0, effective)), z)


def binomial_chance(count: int, n: int, share: float) -> float:
    """The chance of exactly ``count`` successes among ``n``, for a share within ]0, 1[."""
    if not 0 <= count <= n:
        return 0.0
    ways = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    return math.exp(ways + count * math.log(share) + (n - count) * math.log1p(-share))


def binomial_at_most(count: int, n: int, share: float) -> float:
    """The chance of ``count`` successes or fewer among ``n``: summed from there outwards until nothing is added."""
    if count < 0 or count >= n:
        return float(count >= n)
    if share <= 0 or share >= 1:
        return float(share <= 0)
    if count > n * share:
        return 1 - binomial_at_most(n - count - 1, n, 1 - share)
    odds = (1 - share) / share
    total = term = binomial_chance(count, n, share)
    while count and term > total * 1e-17:
        term *= odds * count / (n - count + 1)
        total += term
        count -= 1
    return min(1.0, total)
