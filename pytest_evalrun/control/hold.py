"""Hold a run alone for as long as something is taken away from it; nothing is written, so a refusal costs nothing."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.report.commands import command_line
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.sessions import session_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_evalrun.rundir.layout import RunPaths

POLL = 0.05


def refuse_live(paths: RunPaths) -> None:
    """Raises RunBusy while a session lives on the run, naming it."""
    state = session_state(paths)
    if state.word == "live":
        who = "a session that has only just started" if state.info is None or state.info.ended else None
        info = state.info
        if who is None and info is not None:
            who = f"PID {info.pid} on {info.host} since {info.started} ({command_line(info.argv)})"
        raise RunBusy(f"{paths.root} is live: {who}; end it first: evalrun stop {paths.root.name}")


@contextmanager
def holding(paths: RunPaths, *, dry_run: bool) -> Iterator[None]:
    """``held``, or only the question whether it could be: looking must change nothing, no lock's file either."""
    refuse_live(paths)
    with nullcontext() if dry_run else held(paths):
        yield


@contextmanager
def held(paths: RunPaths, wait: float = 0.0) -> Iterator[None]:
    """Both locks of the run, as a session has them: no launch begins meanwhile, and no worker of an old one writes.

    Raises RunBusy where somebody has them, and still has after so many seconds.
    """
    session, members = _locks(paths, time.monotonic() + wait)
    try:
        yield
    finally:
        members.close()
        session.close()


def _locks(paths: RunPaths, until: float) -> tuple[FileLock, FileLock]:
    while True:
        try:
            refuse_live(paths)
            session = _take(paths.session_lock)
            try:
                return session, _take(paths.members_lock)
            except BaseException:
                session.close()
                raise
        except RunBusy:
            if time.monotonic() >= until:
                raise
        time.sleep(POLL)


def _take(path: Path) -> FileLock:
    try:
        lock = FileLock(path)
        if lock.take():
            return lock
    except OSError as error:
        raise ConfigError(f"{path}: cannot be locked: {error.strerror}; nothing was changed") from error
    lock.close()
    raise RunBusy(
        f"{path.parent}: processes of a session still work in it; end them first: evalrun stop {path.parent.name}"
    )
