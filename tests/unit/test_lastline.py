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
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun import progress
from pytest_evalrun.lastline import Screen, last_line

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper

WIDTH = 40


class Console:
    """A pseudo-terminal with a stand-in for pytest's reporter that writes there."""

    def __init__(self, width=WIDTH):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.reporter = SimpleNamespace(_tw=SimpleNamespace(_file=self.stream, _current_line=""), currentfspath="suite")
        self.paper = Paper(width)
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def screen(self):
        return Screen(self.reporter, os.dup(self.stream.fileno()))

    def write(self, text):
        self.reporter._tw._file.write(text)
        self.reporter._tw._file.flush()

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
def console():
    made = Console()
    yield made
    made.close()


@pytest.fixture
def wide():
    made = Console(120)
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


def test_what_pytest_has_not_flushed_is_waited_for(console, screen):
    """It would come out after our line, in the middle of it."""
    console.reporter._tw._file.write("half")
    assert not screen.is_ready
    screen.draw("Progress: 1/4")
    assert console.text == ""
    console.reporter._tw._file.flush()
    assert screen.is_ready


def test_said_lines_stay(console, screen):
    """Where nothing is rewritten, a begun line is ended, and pytest begins it again."""
    screen.say("Progress: 1/4")
    assert console.reporter.currentfspath == "suite"
    console.write("test_a.py ..")
    screen.say("Progress: 2/4")
    console.write("test_a.py .\n")
    assert console.text == "Progress: 1/4\ntest_a.py ..\nProgress: 2/4\ntest_a.py .\n"
    assert console.reporter.currentfspath is None


def test_the_end(console):
    """The line goes, pytest has its stream again, and a late thread writes nothing."""
    screen = console.screen()
    screen.draw("Progress: 4/4")
    screen.close()
    screen.close()
    screen.draw("Progress: 4/4")
    assert console.text == ""
    assert console.reporter._tw._file is console.stream


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
def test_pytests_lines_are_what_they_would_be_without(steps):
    """Whenever the line is drawn, what is left in the end is what pytest wrote, and nothing else."""
    console, plain = Console(), Paper(WIDTH)
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
    stop = threading.Event()

    def draw():
        while not stop.is_set():
            screen.draw("Progress: 2/4 completed")

    thread = threading.Thread(target=draw)
    thread.start()
    seen = [f"line {number} of pytest" for number in range(300)]
    for line in seen:
        console.write(line[:6])
        console.write(f"{line[6:]}\n")
        console.read()
    stop.set()
    while thread.is_alive():
        console.read()
        thread.join(0.01)
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
    monkeypatch.setattr(progress, "SECONDS_ON_TERMINAL", 0.0)
    monkeypatch.setattr("pytest_evalrun.lastline.TICK_SECONDS", 0.01)
    monkeypatch.setenv("TERM", "xterm")


def shows(console, text):
    deadline = time.monotonic() + 30
    while text not in console.paper.text and time.monotonic() < deadline:
        if not console.read():
            select.select([console.master], [], [], 0.01)
    return text in console.paper.text


def test_it_is_shown_until_closed(console, fast):
    """The thread brings what happens to the terminal; a debugger is left alone."""
    line = last_line(config(console.reporter), 2)
    line.started("a")
    assert shows(console, "Progress: 0/2 completed, 1 running")
    line.finished("a")
    assert shows(console, "Progress: 1/2 completed, 0 running")
    line.pause()
    assert console.text == ""
    line.resume()
    assert shows(console, "Progress: 1/2")
    line.close()
    line.close()
    assert console.text == ""


@pytest.mark.parametrize("how", ["-s", "--capture=tee-sys", "TERM=dumb", "no TERM"])
def test_where_others_write_too_lines_stay(wide, fast, monkeypatch, how):
    """On a terminal that others write to, or that cannot rewrite, there is a line a minute."""
    monkeypatch.setattr(progress, "SECONDS_ELSEWHERE", 0.0)
    if how == "TERM=dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif how == "no TERM":
        monkeypatch.delenv("TERM")
    capture = {"-s": "no", "--capture=tee-sys": "tee-sys"}.get(how, "fd")
    line = last_line(config(wide.reporter, capture=capture), 2)
    assert shows(wide, "0 running, elapsed 0.0s\nProgress: 0/2")
    line.close()
    assert wide.text.startswith("Progress: 0/2")


def test_quiet(console):
    """At -q nothing is said."""
    assert last_line(config(console.reporter, verbose=-1), 2) is None


@pytest.mark.parametrize("reporter", [None, SimpleNamespace(_tw=SimpleNamespace(_file=io.StringIO()))])
def test_nothing_to_write_to(reporter):
    """Without a reporter, or where its stream is no file, there is no line, and that is no error."""
    assert last_line(config(reporter), 2) is None
