"""The progress line in the terminal, below whatever pytest writes there.

Between two reports minutes may pass, so a thread writes it and not the reports. It never writes while pytest does:
pytest's stream is wrapped, and one lock is held by whoever writes. What pytest writes first takes the line away.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.planning.costs import work_of
from pytest_evalrun.plugin.internals import current_line, set_terminal_file, terminal_file
from pytest_evalrun.plugin.progress import LaunchProgress
from pytest_evalrun.report.text import display_width
from pytest_evalrun.slots.need import Need

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.planning.costs import Estimate
    from pytest_evalrun.suite.pairs import Pair

TICK_SECONDS = 0.2
# With these, what items and programs write reaches the terminal by itself: a line drawn over would garble it.
WRITTEN_BY_OTHERS = ("no", "tee-sys")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def seconds_of(pairs: Mapping[str, Pair], estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """What each item should take. ``pairs`` by node id, ``estimates`` by the full id of a whole pair."""
    return {nodeid: work_of(0, pair, estimates[pair.whole.full_id], Need()).seconds for nodeid, pair in pairs.items()}


def show_progress(config: pytest.Config, expected: Mapping[str, float]) -> None:
    """From now on, until the session ends. ``expected`` are seconds by node id.

    To be called where pytest captures nothing: then its stream is the terminal.
    """
    line = last_line(config, expected)
    if line is not None:
        config.pluginmanager.register(line, "evalrun-progress")


def last_line(config: pytest.Config, expected: Mapping[str, float]) -> LastLine | None:
    """A line that counts the items in ``expected``; None at ``-q`` and where there is nothing to write to."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    stream = terminal_file(reporter)
    try:
        fd = os.dup(stream.fileno())  # at -n0 pytest and the item's log put other files under the stream's own
    except (AttributeError, OSError, ValueError):  # -p no:terminal, or a stream that is no file
        return None
    if config.option.verbose < 0:
        os.close(fd)
        return None
    drawn = os.isatty(fd) and os.environ.get("TERM", "dumb") != "dumb"
    drawn = drawn and config.getoption("capture", "no") not in WRITTEN_BY_OTHERS
    return LastLine(TerminalScreen(reporter, fd), expected, drawn=drawn)


class LastLine:
    """A plugin that hears of items, and the thread that brings what it knows to the screen."""

    def __init__(self, screen: TerminalScreen, expected: Mapping[str, float], *, drawn: bool) -> None:
        self._screen = screen
        self._items = expected.keys()
        self._progress = LaunchProgress(len(expected), screen.draw if drawn else screen.say, drawn, expected=expected)
        self._stop = threading.Event()
        self._paused = False
        self._thread = threading.Thread(target=self._run, name="evalrun-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            if not self._paused and self._screen.is_ready():
                self._progress.tick()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if nodeid in self._items:
            self._progress.started(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """With the report that counts the item is over; that of its teardown comes at once."""
        if report.nodeid in self._items and (report.when == "call" or not report.passed):
            reused = bool(getattr(report, "evalrun", {}).get("reused"))
            self._progress.finished(report.nodeid, reused=reused)

    def pytest_enter_pdb(self) -> None:
        self._paused = True
        self._screen.clear()

    def pytest_leave_pdb(self) -> None:
        self._paused = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self.close()

    def pytest_unconfigure(self) -> None:
        self.close()

    def close(self) -> None:
        """The line is gone, and pytest has its own stream again. May be called twice."""
        self._stop.set()
        self._thread.join()
        self._screen.close()


class TerminalScreen:
    """What stands in pytest's last line, and ours below it. ``fd`` is the terminal, or the file that stands for it."""

    def __init__(self, reporter: Any, fd: int) -> None:
        self._reporter = reporter
        self._fd = fd
        self._lock = threading.RLock()  # a signal's handler may write in the middle of a write
        self._stream = terminal_file(reporter)
        self._stream.flush()
        self._flushed = True
        self._standing = current_line(reporter)
        set_terminal_file(reporter, _Watched(self._stream, self))
        self._shown = False
        self._left = False

    def is_ready(self) -> bool:
        """Whether pytest is not in the middle of something; what it has not flushed would come out after ours.

        xdist leaves its last status unflushed. What is left for two looks is flushed here, if it goes to the terminal
        and not, at -n0, to where pytest captures the output of a test.
        """
        with self._lock:
            if not self._flushed and self._left and self._is_terminal():
                self.flush()
            self._left = not self._flushed
            return self._flushed

    def _is_terminal(self) -> bool:
        try:
            return os.path.sameopenfile(self._stream.fileno(), self._fd)
        except (OSError, ValueError):
            return False

    def write(self, text: str) -> Any:
        """pytest's own."""
        with self._lock:
            self.clear()
            self._left = False
            _, newline, rest = text.rpartition("\n")
            self._standing = (rest if newline else self._standing + rest).rpartition("\r")[2]
            self._flushed = bool(newline) and not rest and bool(getattr(self._stream, "line_buffering", False))
            return self._stream.write(text)

    def flush(self) -> None:
        with self._lock:
            self._stream.flush()
            self._flushed = True

    def draw(self, text: str) -> None:
        """Ours, in the line below a begun one; it is rewritten where it stands."""
        with self._lock:
            width = self._width()
            column = self._column()
            if self._fd < 0 or not self._flushed or width < 2 or (column and column % width == 0):
                return  # in the last column nobody knows on which line the cursor is
            begin = "\r" if self._shown else "\n" if column else ""
            self._put(f"{begin}{text[: width - 1]}\x1b[K")
            self._shown = True

    def clear(self) -> None:
        with self._lock:
            if self._shown:
                self._shown = False
                column = self._column()
                back = f"\x1b[A\x1b[{column % self._width()}C" if column else ""
                self._put(f"\r\x1b[K{back}")

    def say(self, text: str) -> None:
        """A line that stays. One that pytest had begun is ended, and begun again by pytest when it goes on."""
        with self._lock:
            begun = self._column() > 0
            self._put(f"\n{text}\n" if begun else f"{text}\n")
            self._standing = ""
            if begun:
                self._reporter.currentfspath = None

    def close(self) -> None:
        with self._lock:
            self.clear()
            if self._fd >= 0:
                set_terminal_file(self._reporter, self._stream)
                os.close(self._fd)
                self._fd = -1

    def _column(self) -> int:
        return display_width(_ESCAPES.sub("", self._standing)) if self._standing else 0

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80

    def _put(self, text: str) -> None:
        try:
            os.write(self._fd, text.encode())
        except OSError:  # the terminal is closed: pytest will find out by itself
            pass


class _Watched:
    """pytest's stream: everything as it was, but for who else is told of a write."""

    def __init__(self, stream: Any, screen: TerminalScreen) -> None:
        self._stream = stream
        self.write = screen.write
        self.flush = screen.flush

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
