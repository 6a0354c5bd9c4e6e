"""Intervals of one proportion: Wilson's, and its clustered form."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


def normal_quantile(share: float) -> float:
    """The standard normal quantile, 1.959963984540054 of 0.975."""
    raise NotImplementedError


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval; always within [0, 1] and around the proportion. ``n`` must not be 0."""
    raise NotImplementedError


def clustered_wilson(
    scores: Sequence[float] | NDArray[np.float64],
    clusters: Sequence[int] | NDArray[np.intp],
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Wilson's interval of a share of rows in clusters, for as many rows as would say as much one by one."""
    raise NotImplementedError
