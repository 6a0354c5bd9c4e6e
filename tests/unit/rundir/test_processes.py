"""Processes: known by PID and start, so that a reused PID is nobody we knew."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.rundir import processes
from pytest_evalrun.rundir.processes import ProcessEntry, ProcessLog, alive, read_processes, start_time

if TYPE_CHECKING:
    from pathlib import Path


def test_log_says_who_worked_on_what(tmp_path: Path) -> None:
    """A process is listed once, with the pair it last turned to; torn lines are skipped."""
    log = ProcessLog(tmp_path / "processes" / "gw0.jsonl")
    log.add(os.getpid())
    log.add(os.getpid(), "s/任务 A/d")
    log.add(1, "s/t/d")
    log.close()
    with (tmp_path / "processes" / "gw0.jsonl").open("ab") as file:
        file.write(b'[]\n{"pid": "x"}\n{"pid": 1, "pg')
    mine, init = read_processes(tmp_path / "processes")
    assert mine == ProcessEntry(os.getpid(), os.getpgid(0), start_time(os.getpid()), "s/任务 A/d")
    assert init.pid == 1
    assert list(read_processes(tmp_path / "missing")) == []


def test_reused_pid_is_another_process() -> None:
    """The same PID with another start is not the process that was meant."""
    me = ProcessEntry(os.getpid(), os.getpgid(0), start_time(os.getpid()))
    assert alive(me)
    assert not alive(replace(me, start_time=1))
    assert not alive(replace(me, start_time=None))


@pytest.mark.parametrize("way", ["/proc", "psutil"])
def test_dead_process_does_not_live(way: str) -> None:
    """A process ends with its death, not only when its parent has asked for its exit code."""
    moment = start_time if way == "/proc" else processes._start_time_by_psutil
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = moment(child.pid)
        assert started is not None
        assert moment(child.pid) == started
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert moment(child.pid) is None, "dead, not reaped"
        child.wait()
        assert moment(child.pid) is None
    assert ProcessLog("/dev/null").add(child.pid)
