"""Processes that a model started by itself, found by their parents: ended when the model is given up."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.processes import start_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRACE_SECONDS = 1.0


@dataclass
class Stretch:
    """A time in which a model or a test was at work, in the unit in which the system keeps when a process started."""

    begin: float
    end: float = float("inf")

    @classmethod
    def begins(cls) -> Stretch:
        return cls(_now() - 1)  # the system counts in ticks

    def ends(self) -> None:
        self.end = _now() + 1


def _now() -> float:
    if sys.platform != "linux":
        return time.time()
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")


def end_strays(stretches: Sequence[Stretch], record: Callable[[int], object]) -> None:
    """End every descendant of this process that was started in one of these times.

    Others are not ours to end: a server that a fixture of the session started, for one. ``record`` is called with
    each before anything happens to it.
    """
    import psutil

    family = psutil.Process().children(recursive=True)
    strays = [process for process in family if _is_of(process.pid, stretches)]
    for process in strays:
        record(process.pid)
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(strays, timeout=GRACE_SECONDS)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)


def _is_of(pid: int, stretches: Sequence[Stretch]) -> bool:
    started = start_time(pid)
    return started is not None and any(stretch.begin <= started <= stretch.end for stretch in stretches)


def _quietly(act: Callable[[], None]) -> None:
    """It may have ended by itself meanwhile; psutil never signals another process that got its PID."""
    import psutil

    try:
        act()
    except psutil.Error:
        return
