"""When a run that goes on is told of: nothing has finished for too long, or something went wrong in a new way."""

from __future__ import annotations

import os
import time

import pytest

from pytest_evalrun.notify.occasions import MOST_KINDS, PATIENCE, FirstOfAKind, Stalls, age_of_newest


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def stalls_of(clock, expected=None, newest=lambda running: None):
    return Stalls(expected or {}, newest, clock)


def test_a_stall_is_told_once(clock):
    """Until something finishes again; with what runs, the longest first."""
    stalls = stalls_of(clock)
    stalls.started("a")
    clock.wait(10)
    stalls.started("b")
    clock.wait(20)
    assert stalls.look(31) is None
    clock.wait(1)
    stall = stalls.look(31)
    assert (stall.seconds, dict(stall.running)) == (31, {"a": 31, "b": 21})
    assert [*stall.running] == ["a", "b"]
    clock.wait(1000)
    assert stalls.look(31) is None
    stalls.finished("a")
    assert stalls.look(31) is None
    clock.wait(31)
    assert dict(stalls.look(31).running) == {"b": 1052}


def test_each_limit_is_told_by_itself(clock):
    """Those who want to know of it earlier are told earlier."""
    stalls = stalls_of(clock)
    clock.wait(60)
    assert stalls.look(60) is not None
    assert stalls.look(120) is None
    clock.wait(60)
    assert stalls.look(60) is None
    assert stalls.look(120).seconds == 120
    assert stalls.look(float("inf")) is None


def test_what_was_expected_to_take_long_may(clock):
    """A multiple of what was measured of what runs is no stall, however early one wants to know."""
    stalls = stalls_of(clock, {"slow": 1000.0, "quick": 1.0})
    stalls.started("slow")
    stalls.started("quick")
    clock.wait(PATIENCE * 1000 - 1)
    assert stalls.look(60) is None
    clock.wait(1)
    assert stalls.look(60) is not None
    stalls.finished("slow")
    clock.wait(60)
    assert stalls.look(60) is not None


def test_samples_that_come_are_no_stall(clock):
    """One pair may take a day: as long as something comes of it, nobody is told."""
    came = {"a": 5.0}
    stalls = stalls_of(clock, newest=lambda running: min((came[name] for name in running), default=None))
    stalls.started("a")
    clock.wait(60)
    assert stalls.look(60) is None
    clock.wait(54)
    came["a"] = 59.0
    assert stalls.look(60) is None
    clock.wait(1)
    came["a"] = 60.0
    assert stalls.look(60).seconds == 60


def test_first_of_a_kind():
    """Each kind once, and not without an end."""
    first = FirstOfAKind()
    assert [first.is_first(kind) for kind in ("x", "x", "y", "x", "y")] == [True, False, True, False, False]
    assert sum(first.is_first(f"kind {number}") for number in range(100)) == MOST_KINDS - 2


def test_the_age_of_what_was_written_last(tmp_path):
    """Of files that are there; a clock that was set back makes nothing older than it is."""
    assert age_of_newest([tmp_path / "none"]) is None
    for name, age in (("old", 1000), ("new", 100)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, time.time() - age))
    found = age_of_newest([tmp_path / "old", tmp_path / "none", tmp_path / "new"])
    assert 100 <= found < 900
    os.utime(tmp_path / "old", (0, time.time() + 1000))
    assert age_of_newest([tmp_path / "old"]) == 0.0
