"""What a worker is told in one number, and whether this xdist has the parts that our loop takes over."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.plugin.onebyone import Stay
from pytest_evalrun.plugin.xdist.internals import supported
from pytest_evalrun.plugin.xdist.workerloop import (
    LOOK,
    UNLOAD,
    OneAtATime,
    message,
    parse,
    take_orders,
)


@given(st.integers(1, 10**6), st.data())
def test_an_item_and_the_one_after_it_travel_in_one_number(count, data):
    """Which is never one of those that mean something else."""
    index = data.draw(st.integers(0, count - 1))
    successor = data.draw(st.none() | st.integers(0, count - 1))
    number = message(index, successor, count)
    assert number not in (UNLOAD, LOOK)
    assert number >= 0
    assert parse(number, count) == (index, successor)


def test_this_xdist_has_what_the_loop_needs():
    """A version that has not gets its own loop and scheduler."""
    assert supported()


def test_orders_are_taken_only_where_they_will_be_given():
    """The launching process said that its scheduler is ours."""
    for given_input in ({}, {"workerinput": {}}, {"workerinput": {"evalrun_loop": False}}):
        assert not take_orders(SimpleNamespace(**given_input), lambda: None, lambda: None)


class Torun:
    """What a worker's queue holds, in its order; then the word to end."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def get(self):
        return self.numbers.pop(0) if self.numbers else "shutdown"

    def lock(self):
        return nullcontext(self.numbers)

    def put(self, number):
        del number


class WorkerInteractor:
    """As xdist names it; keeps what would be sent."""

    def __init__(self, *numbers):
        self.torun = Torun(*numbers)
        self.channel = SimpleNamespace(setcallback=lambda *args, **keywords: None)
        self.sent = []

    def handle_command(self, command):
        raise AssertionError(command)

    def sendevent(self, name, **fields):
        self.sent.append((name, fields["item_index"]))


Marker = SimpleNamespace(SHUTDOWN="shutdown")


class Notes:
    """Which items run, with which one next, and what is set up and torn down."""

    def __init__(self):
        self.lines = []

    def pytest_runtest_protocol(self, item, nextitem):
        self.lines.append((item.name, None if isinstance(nextitem, Stay) else nextitem.name))

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.lines.append((report.when, report.nodeid.rpartition("::")[2]))


@pytest.fixture
def loop(pytester):
    """Run the loop in this process over the tests of one or two modules; what it noted, and what it sent."""

    def run(numbers, stop=None, **modules):
        pytester.makepyfile(**modules)
        config = pytester.parseconfigure(*[f"{name}.py" for name in modules], "-p", "no:cacheprovider")
        session = pytest.Session.from_config(config)
        config.hook.pytest_sessionstart(session=session)
        session.perform_collect()
        xdist, notes, unloads = WorkerInteractor(*numbers), Notes(), []
        config.pluginmanager.register(xdist, "xdist-worker")
        config.pluginmanager.register(notes)
        session.shouldstop = stop or False
        OneAtATime(config, lambda: unloads.append("unload"), lambda: unloads.append("look")).pytest_runtestloop(session)
        config._ensure_unconfigure()
        return notes.lines, xdist.sent, unloads

    return run


FIRST = """
import pytest

@pytest.fixture(scope="module", autouse=True)
def resource():
    with open("told", "a") as file:
        file.write("up ")
    yield
    with open("told", "a") as file:
        file.write("down ")

def test_a(): pass
def test_b(): pass
"""
FAILING = """
import pytest

@pytest.fixture(scope="session")
def resource():
    yield
    raise RuntimeError("not torn down")

def test_c(resource): pass
"""


def test_each_item_runs_as_it_comes_and_is_told_to_be_done(loop, pytester):
    """With the one after it, where that is known; fixtures of the module live as long as it is."""
    lines, sent, _ = loop([message(0, 1, 2), message(1, None, 2)], test_first=FIRST)
    assert lines == [("test_a", "test_b"), ("test_b", None)]
    assert sent == [("runtest_protocol_complete", 0), ("runtest_protocol_complete", 1)]
    assert (pytester.path / "told").read_text().split() == ["up", "down"]


def test_a_module_that_is_cut_off_is_torn_down(loop, pytester):
    """The worker was told what comes next, and then something else came."""
    numbers = [message(0, 1, 3), message(2, None, 3)]
    lines, _, _ = loop(numbers, test_first=FIRST, test_other="def test_c(): pass")
    assert lines == [("test_a", "test_b"), ("test_c", None)]
    assert (pytester.path / "told").read_text().split() == ["up", "down"]


def test_a_session_fixture_that_fails_at_the_end_is_the_last_items(loop):
    """It would be swallowed: pytest looks at nothing after the last item."""
    lines, _, _ = loop([message(0, None, 1)], test_first=FAILING)
    assert lines == [("test_c", None), ("teardown", "test_c")]


def test_a_worker_gives_its_model_back_when_told(loop):
    """Between items, by its main thread."""
    _, sent, unloads = loop([UNLOAD, message(0, None, 2), LOOK], test_first=FIRST)
    assert (unloads, len(sent)) == (["unload", "look"], 1)


def test_the_word_to_end_goes_before_what_was_sent_earlier(loop):
    """-x elsewhere: a module is sent as a whole, and what of it has not begun does not begin any more."""
    lines, _, _ = loop([message(0, 1, 2), message(1, None, 2), "shutdown"], test_first=FIRST)
    assert lines == []


def test_after_a_stop_nothing_more_runs(loop):
    """-x, or a plugin that has had enough."""
    lines, _, _ = loop([message(0, 1, 2), message(1, None, 2)], stop="enough", test_first=FIRST)
    assert len(lines) == 1
