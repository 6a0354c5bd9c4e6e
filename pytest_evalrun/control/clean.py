"""Remove what a run has made: the files of some pairs, or all of it, and nothing that somebody else has put there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.control.files import all_files, attempt_files, run_files, workdir_files
from pytest_evalrun.control.opendirectory import OpenDirectory, Size
from pytest_evalrun.control.outputs import Outside, outside_directories
from pytest_evalrun.control.tasks import change_states
from pytest_evalrun.control.written import Written, written
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.mergerun import merged_table
from pytest_evalrun.rundir.jobs import read_jobs
from pytest_evalrun.rundir.runs import read_run_json, run_names
from pytest_evalrun.rundir.tasklist import Status
from pytest_evalrun.rundir.tasklock import TaskListLock
from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.report.known import KnownPair
    from pytest_evalrun.report.runs import FoundRun

GITIGNORE = b"*\n"


@dataclass(frozen=True)
class Cleaning:
    """A plan of what goes: ``run`` names below the run, ``work`` names below its work directory, directories outside.

    ``pairs`` is None where the whole run goes; ``left`` is what lies in the run and is not ours.
    """

    pairs: Sequence[KnownPair] | None
    run: dict[str, Size] = field(default_factory=dict)
    work: dict[str, Size] = field(default_factory=dict)
    outside: dict[Outside, Written] = field(default_factory=dict)
    left: Sequence[str] = ()

    @property
    def size(self) -> Size:
        """All of it."""
        outside = [found.size for found in self.outside.values()]
        return sum([*self.run.values(), *self.work.values(), *outside], Size())

    @property
    def total(self) -> str:
        """How much, for a person."""
        return _shown(self.size)

    def lines(self, found: FoundRun) -> Iterator[str]:
        """One line for each thing that goes, then for what stays although it was asked for."""
        for name, size in self.run.items():
            yield f"{_here(found.paths.root / name)}  {_shown(size)}"
        for name, size in self.work.items():
            yield f"{_here(found.workdir.root / name)}  {_shown(size)}"
        for place, there in self.outside.items():
            if there.names or not (place.kept or there.others):
                yield f"{_here(place.path)}  {_shown(there.size)}"
            if place.kept or there.others:
                yield f"{_here(place.path)}  stays: {place.kept or there.complaint()}"
        for name in self.left:
            yield f"{_here(found.paths.root / name)}  stays: it is no file of a run"


def plan_clean(found: FoundRun, pairs: Sequence[KnownPair] | None) -> Cleaning:
    """List what would go with these pairs, or with the whole run where they are None."""
    if "created" not in read_run_json(found.paths):
        raise ConfigError(f"{found.paths.run_json} was not written by a launch of this plugin; nothing was changed")
    chosen = None if pairs is None else {pair.key for pair in pairs}
    outside = {place: _written(found, place) for place in outside_directories(found, chosen)}
    with OpenDirectory(found.paths.root) as tree:
        there = tree.names()
        if pairs is not None:
            names = [name for pair in pairs for name in all_files(pair.key)]
            names += attempt_files(found.paths, names)
            names += filter(None, (merged_table(found.paths, pair.key) for pair in pairs))
            return Cleaning(pairs, run=_sizes(tree, names), outside=outside)
        _refuse_while_jobs_run(found)
        run = _sizes(tree, run_files(there))
    return Cleaning(None, run, _work(found), outside, [name for name in there if name not in run])


def _refuse_while_jobs_run(found: FoundRun) -> None:
    """Their directories would go: they would fail, and whoever waits for them would not know why."""
    jobs = read_jobs(found.paths)
    running = [unit.name for unit in jobs.units if unit.is_open and unit.living is not None] if jobs is not None else []
    if running:
        raise ConfigError(
            f"jobs of {counted(len(running), 'unit')} may still run in {found.paths.root} ({', '.join(running[:3])}); "
            "end them with `evalrun stop`, or go on with the same command"
        )


def clean(found: FoundRun, plan: Cleaning) -> None:
    """Do it, while the run is held."""
    for place in plan.outside:
        if place.kept is None:
            with OpenDirectory(place.root, follow=True) as tree:
                for name in _written(found, place).names:
                    tree.remove(f"{place.name}/{name}")
                tree.prune_below(place.name)
    with OpenDirectory(found.paths.root) as tree:
        for name in plan.run:
            tree.remove(name)
            tree.prune(name)
    if plan.pairs is None:
        _clean_workdir(found, plan)
    else:
        places = {pair.place for pair in plan.pairs if pair.limit is None}
        change_states(found.workdir, found.paths, lambda at, state: Status.PENDING if at in places else state)


def _clean_workdir(found: FoundRun, plan: Cleaning) -> None:
    TaskListLock(found.workdir.root).cleanup()
    with OpenDirectory(found.workdir.root, follow=True) as tree:
        tree.prune(found.name)
        for name in plan.work:
            tree.remove(name)
    if plan.work and not run_names(found.workdir):
        try:
            found.workdir.root.rmdir()
        except OSError:
            pass  # somebody keeps something there


def _work(found: FoundRun) -> dict[str, Size]:
    """``latest`` where it points to this run; with the last run also what outlives each of them.

    A run that was copied elsewhere lies in no work directory: what is beside it is not ours.
    """
    names: list[str] = []
    work = found.workdir
    pointed = work.latest.is_symlink() and os.readlink(work.latest) == found.name  # noqa: PTH115
    if pointed:
        names.append(work.latest.name)
    ours = _is_ours(found)
    if (pointed or ours) and run_names(work) == [found.name]:
        names += [*workdir_files(), *([work.gitignore.name] if ours else [])]
    with OpenDirectory(work.root, follow=True) as tree:
        return _sizes(tree, names)


def _is_ours(found: FoundRun) -> bool:
    try:
        return found.workdir.gitignore.read_bytes() == GITIGNORE
    except OSError:
        return False


def _sizes(tree: OpenDirectory, names: Sequence[str] | Iterator[str]) -> dict[str, Size]:
    sizes = {name: tree.size(name) for name in names}
    return {name: size for name, size in sizes.items() if size is not None}


def _written(found: FoundRun, place: Outside) -> Written:
    return Written(Size()) if place.kept is not None else written(found.paths, place, place.owners)


def _shown(size: Size) -> str:
    return f"{counted(size.files, 'file')}, {amount(size.bytes)}"


def amount(count: float) -> str:
    """Bytes, for a person."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"


def _here(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
