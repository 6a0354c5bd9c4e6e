"""p-values of many comparisons at once: Holm, Benjamini and Hochberg."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: below alpha each is an alarm, a false one among them with chance alpha."""
    raise NotImplementedError


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: of those below alpha a share of alpha is false."""
    raise NotImplementedError
