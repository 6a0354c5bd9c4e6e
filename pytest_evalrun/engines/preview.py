"""What a launch would submit, for people: a table of units, the very command, what runs here; and the scripts."""

from __future__ import annotations

import heapq
import os
import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_evalrun.engines.script import write_script
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.planning.plan import duration
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.suite.printable import counted, first_of, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.engines.protocol import Engine, Job, Resources
    from pytest_evalrun.rundir.jobfiles import JobFile

# So many names are shown of models, and of items that run here.
MOST_NAMES = 3
HEADER = ("unit", "items", "expected", "needs", "models")
SUBMIT = "submit.sh"
_OURS = re.compile(r"u\d+\.(json|sh|log)|submit\.sh")


@dataclass(frozen=True)
class PreviewedUnit:
    """A unit as it would be submitted; ``guessed``: nothing was measured of some of its items."""

    job: Job
    spec: JobFile
    models: tuple[str, ...]
    guessed: bool = False


def preview_lines(
    units: Sequence[PreviewedUnit], engine: Engine, at_once: int, here: Mapping[str, Sequence[str]]
) -> list[str]:
    """Tell what would be submitted, the longest first as they come, and what would run in the launch itself.

    ``here`` are node ids of items by the reason why they need no job. Raises ConfigError where the engine cannot say
    its command.
    """
    if not units:
        return [f"nothing to submit to {engine.name}", *_here(here)]
    commands = [f"  $ {line}" for command in submit_commands(units, engine, at_once) for line in command.splitlines()]
    return [*_table(units), _total(units, engine, at_once), "submitted by", *commands, *_here(here)]


def submit_commands(units: Sequence[PreviewedUnit], engine: Engine, at_once: int) -> list[str]:
    """Ask the engine for its commands, one for each resource class."""
    return [engine.preview(jobs, at_once) for jobs in _classes(units)]


def _classes(units: Sequence[PreviewedUnit]) -> list[list[Job]]:
    """The jobs of each resource class, which are submitted together."""
    classes: dict[Resources, list[Job]] = {}
    for unit in units:
        classes.setdefault(unit.job.resources, []).append(unit.job)
    return list(classes.values())


def resources_text(resources: Resources) -> str:
    """Say in a few words what a job needs: ``2 GPUs of 80 GB, board 1, --constraint=a100``."""
    memory = f" of {resources.gpu_memory:g} GB" if resources.gpu_memory else ""
    gpus = counted(resources.gpus, "GPU") + memory if resources.gpus else ""
    custom = [f"{name} {amount:g}" for name, amount in resources.custom]
    return one_line(", ".join(filter(None, (gpus, *custom, resources.flags)))) or "-"


# ------------------------------------------------------------------ the lines


def _table(units: Sequence[PreviewedUnit]) -> list[str]:
    rows = [HEADER, *map(_row, units)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (1, 2)
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(unit: PreviewedUnit) -> tuple[str, ...]:
    minutes = unit.job.minutes
    expected = "?" if minutes is None else f"{'~' if unit.guessed else ''}{duration(minutes * 60)}"
    models = first_of([*map(one_line, unit.models)], MOST_NAMES) or "-"
    return unit.spec.unit, str(len(unit.spec.items)), expected, resources_text(unit.job.resources), models


def _total(units: Sequence[PreviewedUnit], engine: Engine, at_once: int) -> str:
    """Sum it up; the end is that of jobs that all start as soon as they may."""
    items = sum(len(unit.spec.items) for unit in units)
    models = {model for unit in units for model in unit.models}
    seconds = [(unit.job.minutes or 0.0) * 60 for unit in units]
    guessed = sum(unit.guessed or unit.job.minutes is None for unit in units)
    told = f"; of {counted(guessed, 'unit')} guessed" if guessed else ""
    return (
        f"{counted(len(units), 'job')} for {engine.name}, at most {at_once} at once: {counted(items, 'item')} of"
        f" {counted(len(models), 'model')}, {duration(sum(seconds))} in all,"
        f" about {duration(_makespan(seconds, at_once))} where none has to wait for the cluster{told}"
    )


def _makespan(seconds: Sequence[float], at_once: int) -> float:
    lanes = [0.0] * max(1, min(at_once, len(seconds)))
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(lanes, lanes[0] + one)
    return max(lanes)


def _here(here: Mapping[str, Sequence[str]]) -> list[str]:
    reasons = {reason: ids for reason, ids in here.items() if ids}
    if not reasons:
        return []
    count = sum(map(len, reasons.values()))
    lines = [
        f"  {one_line(reason)}: {counted(len(ids), 'item')} ({first_of([*map(one_line, ids)], MOST_NAMES)})"
        for reason, ids in reasons.items()
    ]
    return [f"{counted(count, 'item')} would run here", *lines]


# ------------------------------------------------------------------ the scripts


def write_scripts(directory: Path, units: Sequence[PreviewedUnit], engine: Engine, at_once: int) -> list[str]:
    """Write each unit's script and file, and the commands that would submit them; say how many, and where.

    ``engine`` was made for this directory, in which it may have one of its own, called by its name.
    Raises ConfigError for a directory that has files of others, or that cannot be written.
    """
    moved = [_moved(unit, directory) for unit in units]
    commands = "".join(f"{command}\n" for command in submit_commands(moved, engine, at_once))
    try:
        _clear(directory, engine)
        for unit in moved:
            file = directory / f"{unit.spec.unit}.json"
            unit.spec.write(file)
            write_script(unit.job, unit.spec, file)
        for jobs in _classes(moved):
            engine.prepare(jobs)
        write_atomic(directory / SUBMIT, os.fsencode(f"#!/bin/bash\n{commands}"))
    except OSError as error:
        raise ConfigError(f"--eval-scripts {directory}: cannot be written: {error.strerror}") from None
    written = counted(len(moved), "script")
    return [f"{written} in {one_line(str(directory))}; {SUBMIT} there has what would submit them to {engine.name}"]


def _moved(unit: PreviewedUnit, directory: Path) -> PreviewedUnit:
    name = unit.spec.unit
    return replace(unit, job=replace(unit.job, script=directory / f"{name}.sh", log=directory / f"{name}.log"))


def _clear(directory: Path, engine: Engine) -> None:
    """Remove what was written here before: fewer units than then would leave some of both."""
    directory.mkdir(parents=True, exist_ok=True)
    there = sorted(directory.iterdir())
    if foreign := [path.name for path in there if not (_OURS.fullmatch(path.name) or _is_engines(path, engine))]:
        raise ConfigError(
            f"--eval-scripts {directory}: has other files ({one_line(first_of(foreign, MOST_NAMES))});"
            " accepted: a directory that is not there yet, empty, or has scripts of before alone"
        )
    for path in there:
        shutil.rmtree(path) if _is_engines(path, engine) else path.unlink()


def _is_engines(path: Path, engine: Engine) -> bool:
    return path.name == engine.name and path.is_dir() and not path.is_symlink()
