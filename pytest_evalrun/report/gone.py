"""Which pairs of a run are no longer on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.rundir.runs import read_run_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.discovery import Suite
    from pytest_evalrun.suite.pairs import Pair


def gone_from_disk(paths: RunPaths, found: Iterable[Suite] = ()) -> Callable[[str, str, str], bool]:
    """Ask the suites that the run's manifest names; pairs of a suite that it does not name are not gone.

    ``found`` are suites that were discovered already. Raises ConfigError where a suite's file is there and wrong:
    then nobody can say what is gone.
    """
    from pytest_evalrun.suite.discovery import discover

    there = {suite.name: _names(suite.pairs) for suite in found}
    for name, file in read_run_json(paths).get("suites", {}).items():
        if name not in there:
            path = paths.root / file  # relative, so that a copied tree finds its own suites
            there[name] = _names(discover(path.resolve()).pairs if path.is_file() else ())
    return lambda suite, task, dataset: suite in there and (task, dataset) not in there[suite]


def _names(pairs: Iterable[Pair]) -> set[tuple[str, str]]:
    return {(pair.task.name, pair.dataset.name) for pair in pairs}
