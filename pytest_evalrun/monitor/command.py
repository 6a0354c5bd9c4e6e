"""``evalrun monitor``: a window on a run, a page of it, or an object."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TextIO

from pytest_evalrun.monitor.frame import View, frame
from pytest_evalrun.monitor.keys import Keys, press
from pytest_evalrun.monitor.printing import print_end, print_page, tell
from pytest_evalrun.monitor.reader import SnapshotReader
from pytest_evalrun.monitor.renderer import Renderer
from pytest_evalrun.monitor.screen import Screen, draws
from pytest_evalrun.monitor.tree import TreeView
from pytest_evalrun.rundir.layout import RunPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


SHORTEST = 0.1
# A window that changes its size is drawn again soon, whatever the interval.
WAKE = 0.25


def monitor(run: Path, interval: float, *, once: bool, as_json: bool, stream: TextIO) -> int:
    """Watch the run directory ``run`` until it ends or somebody leaves; the exit code.

    Where no cursor can be moved it tells instead of drawing, and ends with 1 where the run has died.
    Raises ConfigError where there is no run directory, or one of a newer format.
    """
    reader = SnapshotReader(RunPaths(run))
    try:
        return _show(reader, max(SHORTEST, interval), once=once, as_json=as_json, stream=stream)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has seen enough; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 0


def _show(reader: SnapshotReader, interval: float, *, once: bool, as_json: bool, stream: TextIO) -> int:
    renderer = Renderer.of(stream.encoding, os.environ)
    if as_json:
        stream.write(json.dumps(reader.look().to_json()) + "\n")  # ASCII, for any program behind any pipe
    elif once:
        print_page(reader.look(), renderer, stream)
    elif draws(stream, os.environ):
        return MonitorCommand(reader, renderer, stream, interval).run()
    else:
        return tell(reader, renderer, stream, interval)
    stream.flush()
    return 0


class MonitorCommand:
    """A terminal on which the run is drawn until it ends."""

    def __init__(self, reader: SnapshotReader, renderer: Renderer, stream: TextIO, interval: float) -> None:
        self.reader = reader
        self.renderer = renderer
        self.stream = stream
        self.interval = interval
        self.screen = Screen(stream, os.environ)
        self.keys = Keys(_input())
        self.tree = TreeView(reader.tasks)
        self.view = View()
        self.snapshot = reader.look()

    def run(self) -> int:
        with _signals(self._suspend):
            try:
                self._enter()
                ended = self._watch()
            finally:
                self._leave()
        if ended:
            print_end(self.reader, self.snapshot, self.renderer, self.stream)
        return 0

    def _enter(self) -> None:
        self.keys.enter()
        self.screen.enter()

    def _leave(self) -> None:
        self.screen.leave()
        self.keys.leave()

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal as it was, and is drawn over again afterwards."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()
        self._draw()

    def _watch(self) -> bool:
        """Watch until the run ends; False where somebody left before."""
        while self.snapshot.standing.word != "ended":
            self._draw()
            if not self._wait():
                return False
            self.snapshot = self.reader.look()
        return True

    def _wait(self) -> bool:
        """Until the next look, with an eye on keys and the window's size; False to leave."""
        end = time.monotonic() + self.interval
        while (left := end - time.monotonic()) > 0:
            size = self.screen.size
            keys = self.keys.wait(min(left, WAKE))
            if not all(map(self._press, keys)):
                return False
            if self.screen.size != size:
                self._draw()
        return True

    def _press(self, key: str) -> bool:
        view = press(self.view, key, *self.tree.seen)
        if view is not None and view != self.view:
            self.view = view
            self._draw()  # the next key starts from what is seen then
        return view is not None

    def _draw(self) -> None:
        size = self.screen.size
        self.screen.draw(frame(self.snapshot, self.tree, self.view, self.renderer, size), size)


def _input() -> int | None:
    try:
        return sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):
        return None  # closed, or replaced by something that is no file


@contextmanager
def _signals(suspend: Callable[[], None]) -> Iterator[None]:
    """Give the terminal back first when a signal ends or stops this process while it draws."""

    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    def stop(_: int, __: object) -> None:
        suspend()

    wanted = {signal.SIGTERM: leave, signal.SIGHUP: leave, signal.SIGTSTP: stop}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
