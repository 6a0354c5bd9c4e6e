"""The progress line in the terminal, below whatever pytest writes there.

What pytest writes takes the line away first. Between two reports minutes may pass, in which the main thread is in a
test or waits for xdist's workers: a timer draws it then, never while pytest writes.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.planning.costs import work_of
from pytest_evalrun.planning.remaining import Remaining
from pytest_evalrun.plugin.internals import begin_line_again, current_line, replace_in_writer, terminal_file
from pytest_evalrun.report.text import display_width
from pytest_evalrun.slots.need import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_evalrun.planning.costs import Estimate
    from pytest_evalrun.plugin.options import Options
    from pytest_evalrun.slots.gpus import Gpu
    from pytest_evalrun.suite.pairs import Pair


PROGRESS = "evalrun-progress"
TICK_SECONDS = 0.2
# With these, what items and programs write reaches the terminal by itself: a line drawn over would garble it.
WRITTEN_BY_OTHERS = ("no", "tee-sys")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def expected_of(pairs: Iterable[Pair], options: Options) -> dict[str, Estimate]:
    """How long each of the pairs should take, whole ones, by what was measured before."""
    from pytest_evalrun.evaluation.selection import existing_run
    from pytest_evalrun.planning.costs import estimates
    from pytest_evalrun.rundir.layout import WorkDir

    paths = existing_run(options.workdir, options.run)
    wholes = {pair.whole.full_id: pair.whole for pair in pairs}
    return estimates(list(wholes.values()), WorkDir(options.workdir), paths, fresh=options.fresh)


def seconds_of(pairs: Mapping[str, Pair], estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Give each item's seconds; ``pairs`` are by node id, ``estimates`` by the full id of a whole pair."""
    return {nodeid: work_of(0, pair, estimates[pair.whole.full_id], Need()).seconds for nodeid, pair in pairs.items()}


def facts_of(pairs: Mapping[str, Pair], seconds: Mapping[str, float], gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Collect what whoever looks at the run from outside cannot know: what runs, and how long it should take."""
    due = {nodeid: pair for nodeid, pair in pairs.items() if pair.skip is None}
    selected = {pair.whole.full_id for pair in due.values()}
    expected = {pair.full_id: round(seconds[nodeid], 3) for nodeid, pair in due.items()}
    tokens = [gpu.token for gpu in gpus]
    return {"selected": len(selected), "expected": expected} | ({"gpus": tokens} if tokens else {})


def show_progress(config: pytest.Config, expected: Mapping[str, float]) -> None:
    """Show the line from now on, until the session ends. ``expected`` are seconds by node id.

    To be called where pytest captures nothing: then its stream is the terminal.
    """
    line = last_line(config, expected)
    if line is not None:
        config.pluginmanager.register(line, PROGRESS)


def last_line(config: pytest.Config, expected: Mapping[str, float]) -> LastLine | None:
    """A line that counts the items in ``expected``; None at ``-q`` and where there is nothing to write to."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    try:  # at -n0 pytest and the item's log put other files under the descriptor of pytest's stream
        fd = os.dup(terminal_file(reporter).fileno())
    except (AttributeError, OSError, ValueError):  # -p no:terminal, or a stream that is no file
        return None
    if config.option.verbose < 0:
        os.close(fd)
        return None
    drawn = os.isatty(fd) and os.environ.get("TERM", "dumb") != "dumb"
    drawn = drawn and config.getoption("capture", "no") not in WRITTEN_BY_OTHERS
    return LastLine(TerminalScreen(reporter, fd, drawn=drawn), expected, drawn=drawn)


class LastLine:
    """A plugin that hears of items, and the timer that brings what it knows to the screen."""

    def __init__(self, screen: TerminalScreen, expected: Mapping[str, float], *, drawn: bool) -> None:
        self._screen = screen
        self._items = expected.keys()
        self._elsewhere: set[str] = set()
        self._progress = LaunchProgress(len(expected), screen.draw if drawn else screen.say, drawn, expected=expected)
        self._stop = threading.Event()
        self._paused = False
        self._thread = threading.Thread(target=self._run, name="evalrun-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            if not self._paused:
                self._progress.tick()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if nodeid in self._items and nodeid not in self._elsewhere:
            self._progress.started(nodeid)

    def started_elsewhere(self, nodeid: str) -> None:
        """A job of a cluster has begun with an item; pytest hears of it once it has ended."""
        if nodeid in self._items:
            self._elsewhere.add(nodeid)
            self._progress.started(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count the item as over with the report of its outcome; that of its teardown comes at once."""
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
        """Take the line away, and leave pytest alone from now on. May be called twice."""
        self._stop.set()
        self._thread.join()
        self._screen.close()


class TerminalScreen:
    """The line that pytest has begun, and ours below it. ``fd`` is the terminal, or the file that stands for it.

    Where the line is ``drawn`` and not said, pytest flushes all that it writes: what it had kept would come out after
    our line, in the middle of it. xdist, for one, never flushes its last status.
    """

    def __init__(self, reporter: Any, fd: int, *, drawn: bool) -> None:
        self._reporter = reporter
        self._fd = fd
        self._drawn = drawn
        self._lock = threading.RLock()  # a signal's handler may write in the middle of a write
        self._erase = ""
        reporter.flush()
        self._put_back = replace_in_writer(reporter, "write", self._clear_first)

    def _clear_first(self, write: Callable[..., None]) -> Callable[..., None]:
        def write_alone(text: str, *, flush: bool = False, **markup: bool) -> None:
            with self._lock:
                self.clear()
                write(text, flush=flush or self._drawn, **markup)

        return write_alone

    def draw(self, text: str) -> None:
        """Ours, in the line below a begun one; it is rewritten where it stands."""
        with self._lock:
            column, width = self._column(), self._width()
            if self._fd < 0 or width < 2 or (column and column % width == 0):
                return  # in the last column nobody knows on which line the cursor is
            begin = "\r" if self._erase else "\n" if column else ""
            self._put(f"{begin}{text[: width - 1]}\x1b[K")
            self._erase = "\r\x1b[K" + (f"\x1b[A\x1b[{column % width}C" if column else "")

    def clear(self) -> None:
        with self._lock:
            if self._erase:
                self._put(self._erase)
                self._erase = ""

    def say(self, text: str) -> None:
        """A line that stays. One that pytest had begun is ended, and begun again by pytest when it goes on."""
        with self._lock:
            with suppress(OSError, ValueError):
                if os.path.sameopenfile(terminal_file(self._reporter).fileno(), self._fd):
                    self._reporter.flush()  # not where pytest captures: it would come out in what a test has written
            begun = self._column() > 0
            self._put(f"\n{text}\n" if begun else f"{text}\n")
            if begun:
                begin_line_again(self._reporter)

    def close(self) -> None:
        with self._lock:
            self.clear()
            if self._fd >= 0:
                self._put_back()
                os.close(self._fd)
                self._fd = -1

    def _column(self) -> int:
        return display_width(_ESCAPES.sub("", current_line(self._reporter)))

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


# On a terminal the line is rewritten; elsewhere every line stays.
SECONDS_ON_TERMINAL = 1.0
SECONDS_ELSEWHERE = 60.0
HOUR = 3600


class LaunchProgress:
    """Counts items as they start and finish. ``expected`` are seconds by id, for as many as are known.

    ``write`` gets the line, never more often than a reader wants it. May be used by several threads.
    """

    def __init__(
        self,
        total: int,
        write: Callable[[str], None],
        is_tty: bool,
        clock: Callable[[], float] = time.monotonic,
        expected: Mapping[str, float] | None = None,
    ) -> None:
        self.total = total
        self._write = write
        self._interval = SECONDS_ON_TERMINAL if is_tty else SECONDS_ELSEWHERE
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = self._written = clock()
        self._remaining = Remaining(total, expected)

    def started(self, name: str, expected: float | None = None) -> None:
        """Count an item as running; also one that is run again because its worker died."""
        with self._lock:
            self._remaining.started(name, self._clock(), expected)

    def finished(self, name: str, *, reused: bool = False) -> None:
        with self._lock:
            self._remaining.finished(name, self._clock(), reused=reused)

    def tick(self) -> None:
        """Write the line if the last one is old enough; to be called as often as one likes."""
        now = self._clock()
        if now - self._written >= self._interval:
            self._written = now
            self._write(self.line())

    def line(self) -> str:
        with self._lock:
            now = self._clock()
            parts = [
                f"{self._remaining.finished_count}/{self.total} completed",
                f"{self._remaining.running_count} running",
                f"elapsed {_span(now - self._begun, 1)}",
            ]
            left = self._remaining.left(now)
        return f"Progress: {', '.join(parts + ([] if left is None else [f'left ~{_span(left, 0)}']))}"


def _span(seconds: float, digits: int) -> str:
    if seconds < HOUR:
        return f"{seconds:.{digits}f}s"
    return f"{seconds // HOUR:.0f}h {seconds % HOUR // 60:02.0f}m"
