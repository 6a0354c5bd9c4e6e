"""The progress line below a real pytest in a real terminal, and in a pipe."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from support import kill_group, wait_for

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper

# What the controller does for pairs, here for every test, so that any kind of line can stand above ours.
DRIVER = """
import os
import pytest
from pytest_evalrun.plugin import lastline
from pytest_evalrun.plugin import lastline

lastline.SECONDS_ELSEWHERE = float(os.environ.get("EVERY", "60"))

class Driver:
    def __init__(self, config):
        self.config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self):
        if "NO_LINE" not in os.environ:
            line = lastline.last_line(self.config, {f"test_waits.py::test_waits[{name}]": 0.01 for name in "abcd"})
            if line:
                self.config.pluginmanager.register(line, "line")

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Driver(config))
"""
TESTS = """
import os, time
from pathlib import Path
import pytest

@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_waits(name):
    print("said by", name)
    os.write(1, b"written by it\\n")
    Path(f"{name}.started").touch()
    while not Path(f"{name}.go").exists():
        time.sleep(0.01)
    assert name != "c"
"""
SIZE = (24, 100)
# pytest writes letters at -n0 as at -n2.
LAUNCHES = {
    "-n0 names": (("-p", "no:xdist"), ("-v",)),
    "-n2 letters": (("-n", "2"), ()),
    "-n2 names": (("-n", "2"), ("-v",)),
}


class InTerminal:
    """pytest in a pseudo-terminal; ``paper`` is what a person sees."""

    def __init__(self, root, *args, **env):
        self.root = root
        self.paper = Paper(SIZE[1])
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args],
            cwd=root,
            env={**os.environ, "TERM": "xterm", **env},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def read(self, seconds=0.0):
        if select.select([self._master], [], [], seconds)[0]:
            try:
                text = self._decoder.decode(os.read(self._master, 65536))
            except OSError:  # so says Linux of a terminal whose last user is gone
                return False
            self.raw += text
            self.paper.feed(text)
            return bool(text)
        return False

    def shows(self, *words):
        """Waits until all of them are on the paper at once."""
        deadline = time.monotonic() + 120
        while not all(word in self.paper.text for word in words):
            assert time.monotonic() < deadline, f"{words} never came; there is:\n{self.paper.text}"
            self.read(0.05)
        return self.paper.text

    def type(self, text):
        os.write(self._master, text.encode())

    def go(self, *names):
        for name in names:
            (self.root / f"{name}.go").touch()

    def end(self):
        while self.process.poll() is None or self.read():
            self.read(0.05)
        return self.paper.text

    def close(self):
        kill_group(self.process)
        os.close(self._master)


@pytest.fixture
def terminal(tmp_path):
    """``terminal(*args)`` starts pytest there on four tests that wait until they are let go."""
    opened = []
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(DRIVER)
    (tmp_path / "test_waits.py").write_text(TESTS)

    def make(*args, **env):
        opened.append(InTerminal(tmp_path, *args, **env))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def without_times(text):
    """Lines that do not depend on how long anything took, and in which order workers came."""
    lines = [line.replace("gw1", "gw0") for line in text.splitlines() if " in " not in line]
    lines = [re.sub(r"\[ *[0-9]+%\]", "", line).strip() for line in lines]
    return sorted("".join(sorted(line)) if set(line) == {".", "F"} else line for line in lines)


@pytest.mark.parametrize(("workers", "verbose"), LAUNCHES.values(), ids=LAUNCHES)
def test_it_stands_below_and_leaves_nothing(terminal, workers, verbose):
    """While pairs run it counts them; at the end the screen is what it would be without."""
    watched = terminal(*workers, *verbose)
    watched.shows("Progress: 0/4 completed, ", " running, elapsed ")
    assert watched.paper.text.splitlines()[-1].startswith("Progress: ")
    watched.go("a", "b")
    watched.shows("Progress: 2/4 completed, ", "left ~")
    watched.go("c", "d")
    with_line = watched.end()
    assert watched.process.returncode == 1
    without_line = terminal(*workers, *verbose, NO_LINE="1").end()
    assert without_times(with_line) == without_times(without_line)


def test_once_a_second_at_most(terminal):
    """The line is not written more often, however much happens."""
    watched = terminal("-p", "no:xdist")
    began = time.monotonic()
    watched.shows("elapsed 3.")
    seconds = time.monotonic() - began
    assert 2 <= watched.raw.count("Progress: ") <= seconds
    watched.go("a", "b", "c", "d")
    watched.end()


@pytest.mark.parametrize("args", [("-q",), ("-q", "-n", "2")])
def test_quiet_says_nothing(terminal, args):
    """At -q there is no line."""
    watched = terminal(*args)
    wait_for(lambda: (watched.root / "a.started").exists())
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        watched.read(0.05)
    watched.go("a", "b", "c", "d")
    watched.end()
    assert "Progress" not in watched.raw


def test_with_s_lines_stay(terminal):
    """What tests write reaches the terminal by itself; nothing is drawn over it, and a line comes now and then."""
    watched = terminal("-p", "no:xdist", "-s", EVERY="0.5")
    watched.shows("said by a", "written by it", "Progress: 0/4 completed, 1 running")
    watched.go("a", "b", "c", "d")
    text = watched.end()
    assert "said by d" in text
    assert "\x1b[A" not in watched.raw
    assert text.count("Progress: ") >= 1


def test_ctrl_c_takes_it_away(terminal):
    """An interrupted run ends as pytest says, without our line."""
    watched = terminal("-p", "no:xdist")
    watched.shows("Progress: 0/4")
    watched.process.send_signal(signal.SIGINT)
    text = watched.end()
    assert "Progress" not in text
    assert "KeyboardInterrupt" in text


def test_a_debugger_has_the_terminal_for_itself(terminal):
    """While somebody types at a prompt nothing is drawn."""
    watched = terminal("-p", "no:xdist", "--pdb")
    watched.shows("Progress: 0/4")
    watched.go("a", "b", "c")
    watched.shows("(Pdb)")
    before = watched.raw.count("Progress")
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        watched.read(0.05)
    assert watched.raw.count("Progress") == before
    watched.type("c\n")
    watched.shows("Progress: 3/4")
    watched.go("d")
    watched.end()


@pytest.mark.parametrize(("workers", "verbose"), LAUNCHES.values(), ids=LAUNCHES)
def test_in_a_pipe_lines_come_now_and_then(terminal, tmp_path, workers, verbose):
    """Whole lines, also at -n0, where pytest holds the output of the test; no escapes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers, *verbose],
        cwd=tmp_path,
        env={**os.environ, "EVERY": "0.3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        lines = []
        while not lines or not lines[-1].startswith("Progress: 0/4 completed, "):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        for name in "abcd":
            (tmp_path / f"{name}.go").touch()
        rest, _ = process.communicate(timeout=300)
    finally:
        kill_group(process)
    text = "".join(lines) + rest
    assert "\x1b" not in text
    assert "said by" not in text.partition("= FAILURES =")[0]
    assert all(line.startswith("Progress: ") for line in text.splitlines() if "Progress" in line)
    assert "1 failed, 3 passed" in text


@pytest.mark.parametrize("args", [("-n0",), ("-n", "2", "-v")])
def test_pairs_are_counted(project, args):
    """In a run of pairs the line stands below what is told of each of them; ordinary tests are not counted."""
    project.make(("a", "b"), ("one", "two"), samples=40, params={"delay": 0.2})
    (project.root / "evals" / "test_other.py").write_text("def test_other(): pass\n")
    watched = InTerminal(project.root, "evals", *args)
    try:
        watched.shows("Progress: 2/4 completed, ", " running, elapsed ", "left ~")
        text = watched.end()
    finally:
        watched.close()
    assert watched.process.returncode == 0
    assert "Progress" not in text
    assert text.count("PASSED") >= 4
    assert all(pair in text.replace("\n", "") for pair in ("a/one", "a/two", "b/one", "b/two"))
