"""Which pairs of a run a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.report.known import known_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.rundir.layout import RunPaths


def selected(
    paths: RunPaths, matches: Callable[[str], bool] | None, *, failed: bool = False, limits: bool = False
) -> list[KnownPair]:
    """The pairs of a run that is not live, or those that match, with their evaluations of first samples.

    ``limits``: the latter alone. ``failed``: pairs that failed, which an evaluation of first samples is none of.
    """
    known = known_pairs(paths, live=False)  # whoever holds the run to change it makes it look live
    asked = known.limits if limits else (*known.pairs, *known.limits)
    if failed:
        asked = tuple(pair for pair in known.pairs if pair.failed)
    return [pair for pair in asked if matches is None or matches(pair.full_id)]
