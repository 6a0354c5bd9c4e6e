"""Which pairs of a run are no longer on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.runs import read_run_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.rundir.layout import RunPaths


def gone_from_disk(paths: RunPaths) -> Callable[[str, str, str], bool]:
    """Ask the suites that the run's manifest names; pairs of a suite that it does not name are not gone.

    Raises ConfigError where a suite's file is there and wrong: then nobody can say what is gone.
    """
    from pytest_evalrun.suite.discovery import discover

    there: dict[str, set[tuple[str, str]]] = {}
    for name, file in read_run_json(paths).get("suites", {}).items():
        pairs = discover(Path(file)).pairs if Path(file).is_file() else ()
        there[name] = {(pair.task.name, pair.dataset.name) for pair in pairs}
    return lambda suite, task, dataset: suite in there and (task, dataset) not in there[suite]
