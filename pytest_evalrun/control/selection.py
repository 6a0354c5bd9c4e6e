"""A command is about pairs of a run, and the runs beside it may need the same things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.rundir.runs import read_run_json, run_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.runs import FoundRun
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


def other_manifests(found: FoundRun) -> Iterator[tuple[RunPaths, dict[str, Any]]]:
    """The ``run.json`` of each run beside this one; those that cannot be read name nothing."""
    for name in run_names(found.workdir):
        if name != found.name:
            paths = found.workdir.run(name)
            try:
                manifest = read_run_json(paths)
            except ConfigError:
                continue
            yield paths, manifest
