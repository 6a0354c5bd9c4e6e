"""A pair of a run as a side: its scores beside the references that its predictions carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.rundir.layout import PairPaths


def run_side(
    name: str, pair: str, paths: PairPaths, metrics: Mapping[str, Mapping[str, Any]], scoring: Mapping[str, Any]
) -> Side:
    """Whose rows raise PairError where scores or predictions are damaged or gone. Memory holds no samples."""
    raise NotImplementedError
