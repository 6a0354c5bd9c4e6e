"""The main log as a monitor reads it."""

from __future__ import annotations

import pytest

from pytest_evalrun.monitor.follow import KEPT, LogTail
from pytest_evalrun.rundir.events import MainLog


@pytest.fixture
def log(tmp_path):
    return MainLog(tmp_path / "task_run.log"), LogTail(tmp_path / "task_run.log")


@pytest.mark.parametrize("pair", ["echo/a/one", "echo/a: b/one: two"])
def test_why_a_pair_failed(log, pair):
    """The note of the last failure, without the pair's name before it; a name may hold a colon."""
    writer, reader = log
    writer.write("ERROR", f"✗ error: {pair}: RuntimeError: boom")
    reader.look()
    assert reader.notes[pair] == "RuntimeError: boom"
    writer.write("ERROR", f"✗ failed: {pair}: {pair}: 1 gate breached")
    reader.look()
    assert reader.notes[pair] == "1 gate breached"


def test_the_last_lines_are_kept(log):
    """New lines are new once, and old ones make room."""
    writer, reader = log
    assert not reader.look()
    for i in range(KEPT + 5):
        writer.write("INFO", f"line {i}")
    assert reader.look()
    assert len(reader.new) == KEPT + 5
    assert len(reader.lines) == KEPT
    assert not reader.look()
    assert reader.new == []


def test_the_last_session_begins_with_its_start(log):
    """What an earlier session said explains nothing about this one."""
    writer, reader = log
    for number in (1, 2):
        writer.write("INFO", f"run x started by process {number}")
        writer.write("ERROR", f"trouble {number}")
    reader.look()
    assert [line.rpartition("] ")[2] for line in reader.last_session()] == ["run x started by process 2", "trouble 2"]
