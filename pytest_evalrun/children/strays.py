"""Processes that a model started by itself, found by their parents: ended when the model is given up."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.processes import start_time

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_SECONDS = 1.0


def moment() -> float:
    """Now, in the unit in which the system keeps when a process started; a tick earlier, for it counts in ticks."""
    if not Path("/proc/self/stat").exists():
        return time.time() - 1
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") - 1


def end_strays(since: float, record: Callable[[int], object]) -> None:
    """End every descendant of this process that was started at ``since`` (see :func:`moment`) or later.

    Older ones are not ours to end: a server that a fixture of the session started, for one. ``record`` is called
    with each before anything happens to it.
    """
    import psutil

    family = psutil.Process().children(recursive=True)
    strays = [process for process in family if (start_time(process.pid) or 0) >= since]
    for process in strays:
        record(process.pid)
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(strays, timeout=GRACE_SECONDS)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)


def _quietly(act: Callable[[], None]) -> None:
    """It may have ended by itself meanwhile; psutil never signals another process that got its PID."""
    import psutil

    try:
        act()
    except psutil.Error:
        return
