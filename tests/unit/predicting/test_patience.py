"""When a pair is given up whose requests are all refused; and when not."""

from __future__ import annotations

import pytest

from pytest_evalrun.predicting import patience
from pytest_evalrun.predicting.loop import HOPELESS_SECONDS
from pytest_evalrun.predicting.patience import WORKED_ON_SECONDS, Patience


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    return clock


def refuse(told, clock, seconds, after=None, every=1.0):
    """Ask and be refused, again and again for so long; whether it was over the last time."""
    for _ in range(int(seconds / every)):
        told.asked("a")
        clock.now += every
        over = told.refused("a", after)
    return over


def test_who_refuses_everything_for_a_minute_is_given_up(clock):
    """Counted from the first refusal."""
    told = Patience()
    assert not refuse(told, clock, HOPELESS_SECONDS)
    assert refuse(told, clock, 1)


def test_an_answer_begins_it_anew(clock):
    """However late it comes."""
    told = Patience()
    refuse(told, clock, 2 * HOPELESS_SECONDS)
    told.asked("b")
    told.answered("b")
    assert not refuse(told, clock, HOPELESS_SECONDS)


def test_one_refusal_after_a_long_wait_says_nothing(clock):
    """A model may take minutes for an answer, and fail at its first."""
    told = Patience()
    told.asked("a")
    clock.now += 10 * HOPELESS_SECONDS
    assert not told.refused("a", None)


@pytest.mark.parametrize(("end", "over"), [("nothing", False), ("answered", False), ("ended", True), ("refused", True)])
def test_nothing_is_given_up_while_a_request_is_worked_on(clock, end, over):
    """Answers may take longer than that, while others are refused."""
    told = Patience()
    told.asked("long")
    refuse(told, clock, HOPELESS_SECONDS)
    assert not refuse(told, clock, WORKED_ON_SECONDS)
    if end != "nothing":
        getattr(told, end)("long", *([None] if end == "refused" else []))
    assert refuse(told, clock, WORKED_ON_SECONDS) is over


def test_a_pause_that_is_asked_for_is_believed(clock):
    """However long, and however often: until it is over nothing can be answered."""
    told = Patience()
    for _ in range(5):
        assert not refuse(told, clock, 1, after=3 * HOPELESS_SECONDS)
        clock.now += 3 * HOPELESS_SECONDS
