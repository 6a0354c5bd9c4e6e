"""The betting interval of a bounded mean (Waudby-Smith and Ramdas 2024, JRSS B 86, 1-27): valid at every n."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def betting_interval(
    values: NDArray[np.float64], low: float, high: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The two-sided interval of the mean of values within ``[low, high]``; the same each time."""
    raise NotImplementedError


def betting_tail(values: NDArray[np.float64], low: float, high: float, mean: float = 0.0) -> float:
    """The one-sided p-value of "the true mean is at least ``mean``": small where it is less."""
    raise NotImplementedError
