"""Which pairs of a run a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.report.known import known_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.report.known import Known
    from pytest_evalrun.rundir.layout import RunPaths


def selected(paths: RunPaths, matches: Callable[[str], bool] | None, *, failed: bool = False) -> list[Known]:
    """The pairs of a run that is not live, or those that match; of them all, or those that failed."""
    return [
        pair
        for pair in known_pairs(paths, live=False).pairs  # whoever holds the run to change it makes it look live
        if (matches is None or matches(pair.full_id)) and (pair.failed or not failed)
    ]
