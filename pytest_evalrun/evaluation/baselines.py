"""The baseline that a gate names, as a side of comparisons: saved and committed, or a run."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.comparison.baselinefile import DIRECTORY, baseline_places, is_baseline_name, read_baseline
from pytest_evalrun.comparison.lookup import BaselineLookup, result_in
from pytest_evalrun.comparison.runside import run_side
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.enginepaths import launched_run
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.runs import run_names
from pytest_evalrun.suite.problems import MOST_SHOWN, some

if TYPE_CHECKING:
    from pytest_evalrun.comparison.side import Side
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.suite.pairs import Pair


def baseline_side(pair: Pair, name: str, paths: PairPaths) -> Side:
    """The pair as its baseline ``name`` has it; ``paths`` are the pair's in the run that is judged.

    A saved baseline comes before a run of that name. Raises PairError where there is neither, or nothing of this pair
    in it, or nothing that can be read.
    """
    own = launched_run(RunPaths(paths.run))
    workdir = WorkDir(own.root.parent)
    found = BaselineLookup(workdir).find(pair, name)
    if found is None:
        raise PairError(_nowhere(pair, name, workdir), brief=f"no baseline {name}")
    if not isinstance(found, RunPaths):
        return read_baseline(found, name)
    if found.root.resolve() in (own.root.resolve(), paths.run.resolve()):
        raise PairError(f"the baseline {name} is the very run that is judged; save it under a name: {_save(name)}")
    files, result = result_in(found, pair)
    return run_side(name, pair.full_id, files, result.metrics, result.fingerprint.get("score", {}))


def _nowhere(pair: Pair, name: str, workdir: WorkDir) -> str:
    """Where was looked, what there is, and how one is made: of the very run that says this."""
    if "/" in name:
        return f"the baseline {name} is no run: {Path(pair.root, name)} has no run.json"
    places = [*baseline_places(Path(pair.root))]
    there = sorted({path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_dir()})
    runs = run_names(workdir)
    near = difflib.get_close_matches(name, [*there, *runs], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    looked = f"{DIRECTORY}/ of {pair.root} and of the directories above it, and among the runs of {workdir.root}"
    found = f"baselines: {some(there, MOST_SHOWN) or 'none'}; runs: {some(runs, MOST_SHOWN) or 'none'}"
    return (
        f"no baseline {name!r}, and no run of that name; looked in {looked}; {hint}there are {found}; "
        f"the scores of this run are kept: {_made_of_them(name)}"
    )


def _made_of_them(name: str) -> str:
    """How the run that is judged becomes the baseline: not by a name that no baseline may have."""
    if is_baseline_name(name):
        return f"`{_save(name)}` makes it of them, then the same command judges"
    return "`evalrun baseline save NAME` makes one of them, its name of letters, digits and . _ -"


def _save(name: str) -> str:
    return f"evalrun baseline save {name}"
