"""Which files of a run belong to a pair, and which to the run itself, by the names that the layout gives them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.aside import SUFFIXES
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.layout import PairPaths, RunPaths, WorkDir
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Below these a pair has a directory of its own too: shards, and what a user's tests recorded.
_WITH_DIRECTORIES = ("predictions", "results", "state", "shards", "logs/infer", "logs/eval")
# What SQLite leaves beside a database.
_DATABASE = ("", "-wal", "-shm", "-journal")


def state_files(key: PairKey) -> list[str]:
    """List what says that a pair is done or under way; the marker first, so that nothing vouches for what goes next."""
    pair = PairPaths(Path(), key)
    return [str(pair.marker), str(pair.state), f"state/{'/'.join(key)}"]


def evaluated_files(key: PairKey) -> list[str]:
    """List what an evaluation came to; the fingerprint last: killed in between, a launch sees that something is off."""
    pair = PairPaths(Path(), key)
    place = "/".join(key)
    files = [str(pair.predictions), str(pair.scores), str(pair.result), str(pair.fragment)]
    return [*files, f"predictions/{place}", f"results/{place}", str(pair.agent_directory), str(pair.fingerprint)]


def all_files(key: PairKey) -> list[str]:
    """Everything of a pair: its files as the layout has them, and what was put aside of them."""
    pair = PairPaths(Path(), key)
    named = [name for name, value in vars(PairPaths).items() if isinstance(value, cached_property)]
    paths = [str(getattr(pair, name)) for name in named if not name.startswith("_")]
    paths += [f"{directory}/{'/'.join(key)}" for directory in _WITH_DIRECTORIES]
    ordered = [*state_files(key), *paths]
    return list(dict.fromkeys(f"{path}{suffix}" for path in ordered for suffix in ("", *SUFFIXES)))


def attempt_files(run: RunPaths, names: Iterable[str]) -> list[str]:
    """List what jobs of earlier launches may still have of these files: the next launch would take it over."""
    kept = [attempt.root for attempt in EnginePaths(run).attempts() if attempt.run.predictions.is_dir()]
    places = [attempt.relative_to(run.root) for attempt in kept]
    return [str(place / name) for name in names for place in places]


def run_files(names: Iterable[str]) -> Iterator[str]:
    """Pick the names in a run directory that are ours; what a user has put there is not.

    ``run.json`` comes last but for the locks: a clean that was killed can be started again.
    """
    run = RunPaths(Path())
    ours = {path.parts[0] for path in _properties(run)}
    ours |= {Path(path).parts[0] for path in all_files(PairKey("s", "t", "d"))}
    ours |= {run.worker_events("w").parts[0], EnginePaths(run).root.parts[0]}
    last = [run.run_json.name, run.members_lock.name, run.session_lock.name]
    # What begins and ends so was on its way to become another file when its writer was killed.
    found = [name for name in names if name in ours or (name.startswith(".") and name.endswith(".tmp"))]
    yield from (name for name in found if name not in last)
    yield from (name for name in last if name in found)


def workdir_files() -> list[str]:
    """List what outlives the runs of a work directory, but for ``latest`` and ``.gitignore``."""
    work = WorkDir(Path())
    kept = [path.name for path in _properties(work) if path.name not in (work.latest.name, work.gitignore.name)]
    return [f"{name}{suffix}" for name in kept for suffix in (_DATABASE if name.endswith(".db") else ("",))]


def _properties(place: RunPaths | WorkDir) -> Iterator[Path]:
    for name, value in vars(type(place)).items():
        if isinstance(value, property | cached_property) and isinstance(path := getattr(place, name), Path):
            yield path
