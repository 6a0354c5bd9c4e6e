"""The paired bootstrap of values that are no means: of a corpus, by the statistic of each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_evalrun.stats.estimate import IntervalEstimate  # noqa: TC001

if TYPE_CHECKING:
    from typing import TypeAlias

# How often each unit was drawn, draws x n -> the value of each draw; NaN where it is not defined.
ValueOfDraws: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float64]]


def paired_bootstrap(
    n: int,
    before: ValueOfDraws,
    after: ValueOfDraws,
    clusters: NDArray[np.intp] | None = None,
    confidence: float = 0.95,
    keep: float = 1.0,
) -> IntervalEstimate:
    """The same units are drawn on both sides; approximate. The same each time."""
    raise NotImplementedError
