"""A line below pytest's own, in a pseudo-terminal: nothing of what pytest writes is lost, and nothing of ours stays."""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import select
import struct
import sys
import termios
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.planning.costs import Estimate
from pytest_evalrun.plugin import lastline
from pytest_evalrun.plugin.lastline import TerminalScreen, last_line, seconds_of
from pytest_evalrun.suite.pairs import Cut, Dataset, Pair, Task

sys.path.insert(0, str(Path(__file__).parents[2]))
from paper import Paper

WIDTH = 40


class Console:
    """A pseudo-terminal with a reporter of pytest's that writes there."""

    def __init__(self, config, width=WIDTH):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.reporter = pytest.TerminalReporter(config, self.stream)
        self.paper = Paper(width)
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def screen(self, *, drawn=True):
        return TerminalScreen(self.reporter, os.dup(self.stream.fileno()), drawn=drawn)

    def write(self, text):
        self.reporter.write(text, flush=True)

    def read(self):
        """What is there at the moment; whether there was anything."""
        there = bool(select.select([self.master], [], [], 0)[0])
        if there:
            self.paper.feed(self.decoder.decode(os.read(self.master, 65536)))
        return there

    @property
    def text(self):
        """All that was written, while nobody writes."""
        while self.read():
            pass
        return self.paper.text

    def close(self):
        self.stream.close()
        os.close(self.master)


@pytest.fixture
def console(pytestconfig):
    made = Console(pytestconfig)
    yield made
    made.close()


@pytest.fixture
def wide(pytestconfig):
    made = Console(pytestconfig, 120)
    yield made
    made.close()


@pytest.fixture
def screen(console):
    made = console.screen()
    yield made
    made.close()


def test_the_line_is_rewritten_where_it_stands(console, screen):
    """A new line replaces the old, the rest of a longer one too."""
    screen.draw("Progress: 1/4 and more")
    screen.draw("Progress: 2/4")
    assert console.text == "Progress: 2/4"


def test_pytest_takes_the_line_away(console, screen):
    """What pytest writes stands where it would have stood."""
    console.write("first\n")
    screen.draw("Progress: 1/4")
    assert console.text == "first\nProgress: 1/4"
    console.write("second\n")
    assert console.text == "first\nsecond\n"


def test_a_begun_line_is_gone_on_with(console, screen):
    """Letters and names that wait for their word stay; the line stands below them."""
    console.write("test_a.py ..")
    screen.draw("Progress: 1/4")
    assert console.text == "test_a.py ..\nProgress: 1/4"
    screen.draw("Progress: 2/4")
    console.write("F")
    assert console.text == "test_a.py ..F\n"


@pytest.mark.parametrize("text", ["x" * 50, "任务 " * 6, "任务" * 12, "\x1b[32mPASSED\x1b[0m done", "old status\rnew"])
def test_odd_begun_lines(console, screen, text):
    """Longer than the terminal, wide letters, colours, rewritten by pytest: the cursor comes back to its place."""
    plain = Paper(WIDTH)
    console.write(text)
    screen.draw("Progress: 1/4")
    console.write("!")
    assert console.text.rstrip("\n") == plain.feed(text + "!").text.rstrip("\n")


def test_where_the_last_column_is_filled_nothing_is_drawn(console, screen):
    """Nobody knows on which line the cursor is then."""
    console.write("x" * WIDTH)
    screen.draw("Progress: 1/4")
    assert console.text == "x" * WIDTH


def test_a_line_longer_than_the_terminal_is_cut(console, screen):
    """It would wrap, and could not be taken away."""
    screen.draw("Progress: " + "x" * 100)
    assert console.text == ("Progress: " + "x" * 100)[: WIDTH - 1]
    screen.clear()
    assert console.text == ""


def test_what_pytest_does_not_flush_comes_out_before(console, screen):
    """xdist never flushes its last status: it comes out at once, and our line below it."""
    console.reporter.write("2 workers")
    assert console.text == "2 workers"
    screen.draw("Progress: 1/4")
    assert console.text == "2 workers\nProgress: 1/4"


@pytest.fixture
def saying(console):
    made = console.screen(drawn=False)
    yield made
    made.close()


def test_what_would_be_captured_is_not_flushed(console, saying, tmp_path):
    """At -n0 the stream's own descriptor leads into a file of pytest's while a test runs."""
    terminal = os.dup(console.stream.fileno())
    console.reporter.write("half")
    with (tmp_path / "captured").open("w") as file:
        os.dup2(file.fileno(), console.stream.fileno())
        saying.say("Progress: 1/4")
        os.dup2(terminal, console.stream.fileno())
    os.close(terminal)
    assert (tmp_path / "captured").read_text() == ""
    assert console.text == "\nProgress: 1/4\n"
    console.reporter.flush()
    assert console.text == "\nProgress: 1/4\nhalf"


def test_said_lines_stay(console, saying):
    """Where nothing is rewritten, a begun line is ended, and pytest begins it again."""
    saying.say("Progress: 1/4")
    console.reporter.currentfspath = "suite"
    console.write("test_a.py ..")
    saying.say("Progress: 2/4")
    assert console.reporter.currentfspath is None
    console.write("test_a.py .\n")
    assert console.text == "Progress: 1/4\ntest_a.py ..\nProgress: 2/4\ntest_a.py .\n"


def test_the_end(console):
    """The line goes, pytest's writer is as it was, and a late timer writes nothing."""
    screen = console.screen()
    screen.draw("Progress: 4/4")
    screen.close()
    screen.close()
    screen.draw("Progress: 4/4")
    assert console.text == ""
    console.reporter.write_line("all that pytest says")
    assert console.text == "all that pytest says\n"
    assert console.reporter._tw.write.__func__ is type(console.reporter._tw).write


def test_a_terminal_that_is_gone(console):
    """Nobody looks any more: that is no error."""
    screen = console.screen()
    os.close(console.master)
    screen.draw("Progress: 1/4")
    screen.clear()
    screen.close()
    console.master = os.dup(0)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from(["\n", ".", "name ", "a whole line\n", "\x1b[31mred\x1b[0m\n", "x" * 39, "x" * 41 + "\n"]),
            st.none(),
        ),
        max_size=30,
    )
)
def test_pytests_lines_are_what_they_would_be_without(steps, pytestconfig):
    """Whenever the line is drawn, what is left in the end is what pytest wrote, and nothing else."""
    console, plain = Console(pytestconfig), Paper(WIDTH)
    screen = console.screen()
    for step in steps:
        if step is None:
            screen.draw("Progress: 2/4 completed, 2 running")
        else:
            console.write(step)
            plain.feed(step.replace("\n", "\r\n"))
    screen.close()
    assert console.text.rstrip("\n") == plain.text.rstrip("\n")
    console.close()


def test_two_threads(console, screen):
    """While one thread draws, the other's lines come out whole."""
    seen = [f"line {number} of pytest" for number in range(300)]
    drawn = threading.Event()

    def write():
        for line in seen:
            console.write(line[:6])
            console.write(f"{line[6:]}\n")
        drawn.set()

    def draw():
        while not drawn.is_set():
            screen.draw("Progress: 2/4 completed")

    threads = [threading.Thread(target=write), threading.Thread(target=draw)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        console.read()  # a terminal that nobody reads takes only so much
    screen.clear()
    assert console.text.rstrip("\n").split("\n") == seen


def config(reporter, *, verbose=0, capture="fd"):
    return SimpleNamespace(
        pluginmanager=SimpleNamespace(get_plugin={"terminalreporter": reporter}.get),
        option=SimpleNamespace(verbose=verbose),
        getoption=lambda name, default: capture,
    )


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(lastline, "SECONDS_ON_TERMINAL", 0.0)
    monkeypatch.setattr("pytest_evalrun.plugin.lastline.TICK_SECONDS", 0.01)
    monkeypatch.setenv("TERM", "xterm")


def shows(console, text):
    deadline = time.monotonic() + 120
    while text not in console.paper.text and time.monotonic() < deadline:
        if not console.read():
            select.select([console.master], [], [], 0.01)
    return text in console.paper.text


def test_it_is_shown_until_closed(console, fast):
    """The thread brings what happens to the terminal; a debugger is left alone."""
    line = last_line(config(console.reporter), {"a": 1.0, "b": 1.0})
    for nodeid in ("a", "of no pair"):
        line.pytest_runtest_logstart(nodeid)
    assert shows(console, "Progress: 0/2 completed, 1 running")
    for when in ("setup", "call", "teardown"):
        line.pytest_runtest_logreport(SimpleNamespace(nodeid="a", when=when, passed=True))
        line.pytest_runtest_logreport(SimpleNamespace(nodeid="of no pair", when=when, passed=True))
    assert shows(console, "Progress: 1/2 completed, 0 running")
    line.pytest_enter_pdb()
    assert console.text == ""
    line.pytest_leave_pdb()
    assert shows(console, "Progress: 1/2")
    line.close()
    line.close()
    assert console.text == ""


@pytest.mark.parametrize("how", ["-s", "--capture=tee-sys", "TERM=dumb", "no TERM"])
def test_where_others_write_too_lines_stay(wide, fast, monkeypatch, how):
    """On a terminal that others write to, or that cannot rewrite, there is a line a minute."""
    monkeypatch.setattr(lastline, "SECONDS_ELSEWHERE", 0.0)
    if how == "TERM=dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif how == "no TERM":
        monkeypatch.delenv("TERM")
    capture = {"-s": "no", "--capture=tee-sys": "tee-sys"}.get(how, "fd")
    line = last_line(config(wide.reporter, capture=capture), {"a": 1.0, "b": 1.0})
    assert shows(wide, "left ~2s\nProgress: 0/2")
    line.close()
    assert wide.text.startswith("Progress: 0/2")


def test_quiet(console):
    """At -q nothing is said."""
    assert last_line(config(console.reporter, verbose=-1), {}) is None


@pytest.mark.parametrize("reporter", [None, SimpleNamespace(_tw=SimpleNamespace(_file=io.StringIO()))])
def test_nothing_to_write_to(reporter):
    """Without a reporter, or where its stream is no file, there is no line, and that is no error."""
    assert last_line(config(reporter), {}) is None


def test_what_each_item_is_expected_to_take():
    """A shard takes its share of the pair; the pair that is cut only scores."""
    whole = Pair("s", "/", Task("t", None, "/"), Dataset("d", "/d"), (), cuts=(Cut(0, 25, "0-25"), Cut(25, 100, "x")))
    plain = replace(whole, dataset=Dataset("e", "/e"), cuts=())
    pairs = {pair.full_id: pair for pair in (*whole.shards(), whole, plain)}
    estimate = Estimate(200.0, 0.0, "history")
    seen = seconds_of(pairs, {"s/t/d": estimate, "s/t/e": estimate})
    assert [seen[name] for name in ("s/t/d/0-25", "s/t/d/x", "s/t/e")] == [50, 150, 200]
    assert 0 < seen["s/t/d"] < 50
