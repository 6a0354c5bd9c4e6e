"""The pairs of a run as its suites have them today: the run names the files, and these may have changed since."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.runs import read_run_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair, Suite

    PairByNames = Callable[[str, str, str], Pair | None]


def pairs_in(paths: RunPaths, found: Iterable[Suite] = ()) -> PairByNames:
    """A pair by its names, as the suites of the run have it today; a suite that is wrong has none."""
    there = {suite.name: suite.pairs for suite in found}

    @cache
    def pairs(suite: str) -> dict[tuple[str, str], Pair]:
        known = there[suite] if suite in there else _discovered(paths, suite)
        return {(pair.task.name, pair.dataset.name): pair for pair in known}

    return lambda suite, task, dataset: pairs(suite).get((task, dataset))


def _discovered(paths: RunPaths, suite: str) -> Sequence[Pair]:
    from pytest_evalrun.suite.discovery import discover  # 0.1 s

    # Relative to the run, as the manifest has it: a copied tree finds its own suites.
    file = (paths.root / read_run_json(paths).get("suites", {}).get(suite, "")).resolve()
    try:
        return discover(file).pairs if os.path.isfile(file) else ()  # noqa: PTH113 - whatever the name is
    except ConfigError:
        return ()
