"""Launches that have no run yet: the monitor waits for theirs, and ``stop`` ends them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.screen import print_lines, warn

if TYPE_CHECKING:
    from pytest_evalrun.rundir.launches import LaunchNote

POLL = 0.1


def awaited_run(workdir: Path, run: str) -> Path | None:
    """The run of a launch that begins, once it has one; None where none begins, or one lives in the run already."""
    found = _starting(workdir, run)
    if not found or is_live(workdir, run):
        return None
    launch = found[-1]
    warn([f"process {launch.pid} is starting and has no run yet: waiting for it"])
    while launch in (now := _launches(workdir)):
        time.sleep(POLL)
    run_of = next((other.run for other in now if other.pid == launch.pid), None)
    warn([f"process {launch.pid} has ended"] if run_of is None else [])
    return Path(run_of) if run_of is not None else None


def stop_starting(workdir: Path, run: str, grace: float) -> bool:
    """End the launches that are about to work in a run; whether there were any."""
    from pytest_evalrun.control.stop import stop_launch

    found = _starting(workdir, run)
    for launch in found:
        stop_launch(launch, grace, lambda line: print_lines([line]))
    _launches(workdir)  # whoever had to be killed could not withdraw its note
    return bool(found)


def is_live(workdir: Path, run: str) -> bool:
    """Say whether somebody works in the run that is meant, if there is one."""
    from pytest_evalrun.report.runs import find_run
    from pytest_evalrun.rundir.sessions import session_state

    try:
        return session_state(find_run(run, workdir).paths).word == "live"
    except ConfigError:
        return False


def _starting(workdir: Path, run: str) -> list[LaunchNote]:
    """Whoever asks for the latest run means whichever comes."""
    return [launch for launch in _launches(workdir) if launch.run is None and run in ("latest", launch.wanted)]


def _launches(workdir: Path) -> list[LaunchNote]:
    from pytest_evalrun.rundir.launches import launches

    return launches(workdir)
