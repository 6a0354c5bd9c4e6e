"""Why a session may have died."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_evalrun.monitor import death
from pytest_evalrun.monitor.death import UNEXPLAINED, find_cause
from pytest_evalrun.monitor.launch import LaunchState


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("RuntimeError: CUDA out of memory. Tried to allocate 2 GiB", "it ran out of memory"),
        ("numpy.core._exceptions.MemoryError: Unable to allocate", "it ran out of memory"),
        ("OSError: [Errno 28] No space left on device: 'x'", "the disk was full"),
        ("Fatal Python error: Segmentation fault", "a signal ended it"),
        ("worker gw0 ended by SIGKILL", "a signal ended it"),
        ("a pair called killer was unkilled", UNEXPLAINED),
    ],
)
def test_the_logs_tail_tells(tmp_path, line, reason):
    """The sign may stand in the main log, or in that of a pair that ran."""
    (tmp_path / "one.log").write_text(f"begin\n{line}\nmore\n")
    assert find_cause(LaunchState("dead"), [line], [], tmp_path)[0] == reason
    found = find_cause(LaunchState("dead"), ["start"], [tmp_path / "one.log", tmp_path / "none.log"], tmp_path)
    assert found == (reason, "" if reason == UNEXPLAINED else line)


def test_what_was_said_long_before_explains_nothing(tmp_path):
    """A pair that ran out of memory an hour ago did not end the run."""
    log = ["out of memory", *(f"✓ passed: {i}" for i in range(30))]
    assert find_cause(LaunchState("dead"), log, [], tmp_path) == (UNEXPLAINED, "")


def test_a_full_disk_is_seen_without_a_word(tmp_path, monkeypatch):
    """Nothing could be written about it."""
    monkeypatch.setattr(death.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    assert find_cause(LaunchState("dead"), [], [], tmp_path) == ("the disk is full", "")


def test_a_machine_that_was_started_again_ended_all(tmp_path):
    """Whatever the log says."""
    info = SimpleNamespace(started="2001-01-01T00:00:00.000Z")
    assert find_cause(LaunchState("dead", info), ["out of memory"], [], tmp_path)[0] == "the machine was started again"
