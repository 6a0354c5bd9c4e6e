"""The runs of a work directory, as people name them and as they stand."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.commands import command_line
from pytest_evalrun.report.known import counts
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.runs import RUN_FORMAT, check_format, read_run_json, resolve_run, run_names
from pytest_evalrun.rundir.sessions import session_state
from pytest_evalrun.rundir.tasklist import read_task_list
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.rundir.sessions import SessionState

SHOWN = 5
HEADER = ("run", "state", "passed", "failed", "pending", "running", "started", "command")
WORDS = {"live": "running", "dead": "killed", "ended": "ended", "none": "never started"}


@dataclass(frozen=True)
class FoundRun:
    """A run and the work directory that it lies in; ``remark`` says how it was guessed, where it had to be."""

    workdir: WorkDir
    paths: RunPaths
    remark: str = ""

    @property
    def name(self) -> str:
        return self.paths.root.name


def find_run(wanted: str, workdir: Path) -> FoundRun:
    """The run that ``latest``, a name in the work directory or a path stands for; the newest without a ``latest``.

    Raises ConfigError where there is none, with the nearest names, and for one that a newer version wrote.
    """
    if wanted == "new":
        raise ConfigError("run new: a run is started by pytest; accepted: latest, a run's name, or its directory")
    try:
        is_path = "/" in wanted or wanted in {".", ".."}
        found = _by_path(wanted) if is_path else _by_name(wanted, WorkDir(workdir.absolute()), workdir)
        check_format(found.paths)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; nothing was read or changed") from error
    return found


def called(workdir: WorkDir, paths: RunPaths) -> str | None:
    """Return what ``--eval-run`` must say for this run: nothing where it is the latest."""
    latest = workdir.latest
    return None if latest.is_symlink() and latest.readlink().name == paths.root.name else paths.root.name


def is_run(word: str, workdir: Path) -> bool:
    """Tell whether a word can only mean a run: its name, or a directory that is one."""
    return word == "latest" or word in run_names(WorkDir(workdir)) or os.path.isfile(RunPaths(Path(word)).run_json)  # noqa: PTH113


def _by_path(wanted: str) -> FoundRun:
    """Find a run by its path; ``latest`` is followed, but no link above it: locks are called after the path."""
    path = Path(os.path.abspath(wanted))  # noqa: PTH100 - resolve() would follow the links above too
    if os.path.islink(path):  # noqa: PTH114
        path = path.parent / path.readlink()
    if not os.path.isdir(path):  # noqa: PTH112 - a word may be too long for any file
        raise ConfigError(f"{wanted}: no such run; accepted: latest, a run's name, or its directory")
    return FoundRun(WorkDir(path.parent), RunPaths(path))


def _by_name(wanted: str, workdir: WorkDir, shown: Path) -> FoundRun:
    if wanted == "latest":
        paths = resolve_run(workdir, wanted)
        return FoundRun(workdir, paths) if paths is not None else _newest(workdir, shown)
    names = run_names(workdir)
    if wanted in names:
        return FoundRun(workdir, workdir.run(wanted))
    if not names:
        raise ConfigError(_none(shown))
    near = difflib.get_close_matches(wanted, names, n=SHOWN, cutoff=0.4)
    raise ConfigError(
        f"run {wanted}: not found among {len(names)} in {shown}; "
        f"{'nearest' if near else 'the newest'}: {', '.join(near or names[:SHOWN])}"
    )


def _newest(workdir: WorkDir, shown: Path) -> FoundRun:
    """Find the newest run by its name: the link is gone, the runs may not be."""
    names = run_names(workdir)
    if not names:
        raise ConfigError(_none(shown))
    remark = f"{shown}: nothing says which run is the latest; this is the newest, {names[0]}"
    return FoundRun(workdir, workdir.run(names[0]), remark)


def _none(shown: Path) -> str:
    return f"{shown}: no run here; start one with pytest, or name its directory with --workdir"


@dataclass(frozen=True)
class Overview:
    """One run in a list of runs; ``problem`` says what of it is damaged or cannot be read."""

    name: str
    latest: bool
    state: str
    counts: dict[str, int]
    started: str
    ended: str
    command: str
    problem: str

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    def cells(self) -> tuple[str, ...]:
        """Return the cells under ``HEADER``."""
        counts = tuple(str(self.counts.get(name, "")) for name in ("completed", "failed", "pending", "running"))
        state = f"{self.state}; {self.problem}" if self.problem else self.state
        return f"{self.name}{' (latest)' if self.latest else ''}", state, *counts, self.started, self.command


def overviews(workdir: Path) -> Iterator[Overview]:
    """List every run of a work directory, newest first; a damaged one is shown as that."""
    place = WorkDir(workdir.absolute())
    try:
        list(place.root.iterdir())
        latest = os.readlink(place.latest) if place.latest.is_symlink() else ""  # noqa: PTH115 - text is enough
    except FileNotFoundError:
        latest = ""
    except OSError as error:
        raise ConfigError(f"{workdir}: {error.strerror}") from error
    names = run_names(place)
    if not names:
        raise ConfigError(_none(workdir))
    for name in names:
        yield _overview(place.run(name), name == latest)


def _overview(paths: RunPaths, latest: bool) -> Overview:
    name, problems = paths.root.name, []
    try:
        version = read_run_json(paths)["format"]
        if version > RUN_FORMAT:
            return Overview(name, latest, "?", {}, "", "", "", f"written by a newer version (format {version})")
    except ConfigError:
        problems.append("run.json is damaged")
    tasks = read_task_list(paths.task_list)
    if tasks is None:
        problems.append(".task_list is damaged")
    state = session_state(paths)
    if state.info is None and paths.session_json.exists():
        problems.append("session.json is damaged")
    found = {status.name.lower(): count for status, count in counts(paths, tasks or {}).items()}
    info = state.info
    return Overview(
        name=name,
        latest=latest,
        state=_word(state),
        counts=found,
        started=info.started if info else "",
        ended=(info.ended or "") if info else "",
        command=command_line(info.argv) if info else "",
        problem="; ".join(problems),
    )


def _word(state: SessionState) -> str:
    info = state.info
    if info is not None and state.word == "live" and not info.ended:
        return f"running (PID {info.pid} on {info.host})"
    if info is not None and state.word == "ended" and info.clean is False:
        return f"interrupted by {one_line(info.stopped)}" if info.stopped else "interrupted"
    return WORDS[state.word]
