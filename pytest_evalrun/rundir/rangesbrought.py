"""What programs have made in a run, as another tells of it: their files have other places there."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.bringing import bring_tree
from pytest_evalrun.rundir.lines import read_file
from pytest_evalrun.rundir.shards import RangeFiles, read_range, read_ranges
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk
    from pytest_evalrun.rundir.layout import PairPaths
    from pytest_evalrun.rundir.shards import WorkerArgs


def bring_ranges(disk: Disk, theirs: PairPaths, ours: PairPaths) -> None:
    """Bring the records of a pair's ranges, after the files that they name; done twice, it is the same.

    They count where their generation is that of the predictions, which by then have their fingerprint here.
    """
    if not theirs.programs.is_dir():
        return
    bring_tree(disk, theirs.program_files, ours.program_files)
    files, source = RangeFiles(ours, disk), RangeFiles(theirs, disk)
    generation = files.generation()
    for record in read_ranges(theirs.programs):
        moved = _moved(record, theirs.run, ours.run, generation)
        if read_range(ours.worker_args(moved.low, moved.high)) != moved:
            files.write(moved)
    if args := _read_args(theirs.args):
        known = _read_args(ours.args)
        if known.get("generation") == generation:  # what an earlier one has begun is no stranger's
            args["began"] = min(args["began"], known["began"])
        args["generation"] = generation
        if args != known:
            files.write_args(args)
    if (config := source.scheduler_config()) and config != files.scheduler_config():
        files.write_scheduler_config(config)


def _moved(record: WorkerArgs, old: Path, new: Path, generation: str) -> WorkerArgs:
    before, after = f"{os.fspath(old)}/", f"{os.fspath(new)}/"

    def at(name: str) -> str:
        return after + name.removeprefix(before) if name.startswith(before) else name

    return replace(record, files=tuple(map(at, record.files)), pattern=at(record.pattern), generation=generation)


def _read_args(path: Path) -> dict[str, Any]:
    """What holds for all ranges of a pair; empty where nothing is known, or it is damaged."""
    with suppress(OSError, ValueError):
        values = parse_json(read_file(path))
        if isinstance(values, dict) and isinstance(values.get("began"), int | float):
            return values
    return {}
