"""A check whether a run still says what it said when it was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.markers import read_marker
from pytest_evalrun.rundir.results import iter_results
from pytest_evalrun.rundir.runs import check_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths


@dataclass(frozen=True)
class Problem:
    """One thing that does not hold; ``file`` is relative to the run."""

    file: str
    text: str


def verify_run(paths: RunPaths) -> list[Problem]:
    """Check the format of the run, each result, and by hash every file that a marker vouches for."""
    return [*_format(paths), *_results(paths), *_markers(paths)]


def _format(paths: RunPaths) -> Iterator[Problem]:
    try:
        check_format(paths)
    except ConfigError as error:
        yield Problem("run.json", str(error))


def _results(paths: RunPaths) -> Iterator[Problem]:
    for path, result in iter_results(paths.results):
        if result is None:
            yield _problem(paths, path, "cannot be read; the pair will be scored again")


def _markers(paths: RunPaths) -> Iterator[Problem]:
    for path in sorted((paths.root / "state").glob("*/*/*.complete.state")):
        marker = read_marker(path)
        reason = "cannot be read; the pair will be scored again" if marker is None else marker.holds(paths.root, True)
        if reason is not None:
            yield _problem(paths, path, reason)


def _problem(paths: RunPaths, path: Path, text: str) -> Problem:
    return Problem(path.relative_to(paths.root).as_posix(), text)
