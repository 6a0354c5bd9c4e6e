"""The words of the progress line, by a clock that the tests turn."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.plugin.lastline import LaunchProgress


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    """``progress(total, …)``; what it wrote is in its ``lines``."""

    def make(total, *, is_tty=True, **more):
        lines = []
        made = LaunchProgress(total, lines.append, is_tty, clock, **more)
        made.lines = lines
        return made

    return make


def test_the_line(progress, clock):
    """Completed, running, elapsed and left, in these words."""
    runs = progress(4, expected={"a": 100, "b": 100, "c": 100, "d": 130})
    for name in "ab":
        runs.started(name)
    clock.now += 100
    for name, following in zip("ab", "cd", strict=True):
        runs.finished(name)
        runs.started(following)
    clock.now += 80.5
    assert runs.line() == "Progress: 2/4 completed, 2 running, elapsed 180.5s, left ~50s"


def test_nothing_known_nothing_said(progress, clock):
    """Before anything has ended nobody can tell how long the rest takes, unless it was measured before."""
    runs = progress(3)
    runs.started("a")
    clock.now += 5
    assert runs.line() == "Progress: 0/3 completed, 1 running, elapsed 5.0s"


def test_the_first_ones_tell_of_the_rest(progress, clock):
    """Where nothing was expected, the mean of what has ended is."""
    runs = progress(5)
    runs.started("a")
    clock.now += 10
    runs.finished("a")
    assert runs.line().endswith("0 running, elapsed 10.0s, left ~40s")
    runs.started("b")
    clock.now += 4
    assert runs.line().endswith("1 running, elapsed 14.0s, left ~36s")


def test_lanes_share_the_work(progress, clock):
    """As many as were ever busy at once will be; but none ends before what it is doing."""
    runs = progress(5, expected=dict.fromkeys("abcde", 30.0))
    assert runs.line().endswith("left ~150s")
    for name in "abc":
        runs.started(name)
    assert runs.line().endswith("left ~50s")
    clock.now += 30
    for name in "abd":
        runs.finished(name)
    runs.started("e", 500)
    assert runs.line().endswith("left ~500s")


def test_expectations_are_corrected(progress, clock):
    """Where what has ended took three times as long as expected, so will the rest."""
    runs = progress(3, expected={"a": 10, "b": 20, "c": 30})
    runs.started("a")
    clock.now += 30
    runs.finished("a")
    assert runs.line().endswith("left ~150s")


def test_what_is_reused_tells_nothing(progress, clock):
    """A thousand pairs that were not run say nothing of how fast the others will be."""
    runs = progress(1001, expected={**{str(i): 0.001 for i in range(1000)}, "long": 60})
    for number in range(1000):
        runs.started(str(number))
        clock.now += 0.05
        runs.finished(str(number))
    assert runs.line().endswith("1000/1001 completed, 0 running, elapsed 50.0s, left ~60s")


def test_overdue(progress, clock):
    """What should have ended is believed to take as long again as it is late."""
    runs = progress(1)
    runs.started("a", expected=10)
    clock.now += 13
    assert runs.line().endswith("left ~3s")


def test_an_item_is_run_again(progress, clock):
    """Its worker died: it is running still, once, and from now."""
    runs = progress(2, expected={"a": 10, "b": 10})
    runs.started("a")
    clock.now += 8
    runs.started("a")
    assert runs.line() == "Progress: 0/2 completed, 1 running, elapsed 8.0s, left ~20s"
    runs.finished("a")
    runs.finished("a")
    assert "1/2 completed, 0 running" in runs.line()


def test_what_ends_without_a_start(progress):
    """A skipped pair may only end; it is counted all the same."""
    runs = progress(1)
    runs.finished("a")
    assert runs.line() == "Progress: 1/1 completed, 0 running, elapsed 0.0s, left ~0s"


def test_hours(progress, clock):
    """Above an hour nobody counts seconds."""
    runs = progress(2)
    runs.started("a", 100_000)
    runs.started("b", 1)
    clock.now += 7503
    assert runs.line().endswith("elapsed 2h 05m, left ~25h 41m")


@pytest.mark.parametrize(("is_tty", "seconds"), [(True, 1), (False, 60)])
def test_how_often(progress, clock, is_tty, seconds):
    """Once a second at most on a terminal, once a minute elsewhere, and not at the very start."""
    runs = progress(1, is_tty=is_tty)
    written = 0
    for _ in range(1000):
        runs.tick()
        written += len(runs.lines[written:])
        clock.now += seconds / 100
    assert written == 9


@given(
    steps=st.lists(st.tuples(st.sampled_from("sf"), st.integers(0, 5), st.floats(0, 100)), max_size=30),
    expected=st.dictionaries(st.sampled_from("012345"), st.floats(0, 1e6)),
)
def test_whatever_happens_the_line_makes_sense(steps, expected):
    """No order of starts and ends makes a count or a time that cannot be."""
    clock = Clock()
    runs = LaunchProgress(6, print, False, clock, expected)
    for what, number, seconds in steps:
        (runs.started if what == "s" else runs.finished)(str(number))
        clock.now += seconds
        words = runs.line().split()
        completed, running = int(words[1].split("/")[0]), int(words[3])
        assert 0 <= completed + running <= 6
        assert "-" not in runs.line()
        assert "nan" not in runs.line()


def test_threads(progress):
    """Lines are made while items start and end."""
    runs = progress(2000)
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            try:
                runs.line()
            except RuntimeError as error:
                wrong.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(2000):
        runs.started(str(number))
        runs.finished(str(number - 5))
    stop.set()
    thread.join()
    assert not wrong
