"""Processes: known by PID and start, so that a reused PID is nobody we knew."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.rundir import processes
from pytest_evalrun.rundir.processes import Living, ProcessEntry, ProcessLog, alive, start_time

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
    mine, init = Living(tmp_path / "processes").look()
    assert mine == ProcessEntry(os.getpid(), os.getpgid(0), start_time(os.getpid()), "s/任务 A/d")
    assert init.pid == 1
    assert Living(tmp_path / "missing").look() == []


def test_a_look_costs_what_was_written_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a history no line is read twice, nobody who is dead is kept, and a file that is another one is read anew."""
    file = tmp_path / "gw0.jsonl"
    log = ProcessLog(file)
    for number in range(1000):
        log.add(2**22 + number, "s/t/past")
    living, parsed = Living(tmp_path), []
    monkeypatch.setattr(processes, "_parse", lambda line, parse=processes._parse: parsed.append(line) or parse(line))
    assert living.look() == []
    assert len(parsed) == 1000
    log.add(os.getpid(), "s/t/now")
    assert [entry.pair for entry in living.look()] == ["s/t/now"] == [entry.pair for entry in living.look()]
    assert len(parsed) == 1001
    assert sum(map(len, living._found.values())) == 1
    log.close()
    file.rename(tmp_path / "old")
    log = ProcessLog(file)
    log.add(os.getppid(), "s/t/anew")
    log.close()
    assert {entry.pid for entry in living.look()} == {os.getpid(), os.getppid()}
    assert len(parsed) == 1002


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
