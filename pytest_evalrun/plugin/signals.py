"""SIGTERM and a closed terminal as good as Ctrl-C: pytest#5243 leaves them alone, and a run would lose its end."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.plugin.internals import replace_in_writer, terminal_file
from pytest_evalrun.suite.forks import Handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "a closed terminal (SIGHUP)"}
# timeout(1), for one, sends the same signal to the process and to its group.
SAME_WISH_SECONDS = 0.5


class Sigterm:
    """While taken, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread, and SIGINT where it is asked for.

    ``workers`` names processes that get SIGTERM too: Ctrl-C reaches the whole group, these only this process.
    A signal that is ignored stays ignored: that is what nohup means.
    """

    def __init__(
        self, workers: Callable[[], Iterable[int]] = tuple, numbers: Iterable[signal.Signals] = SIGNALS
    ) -> None:
        self._workers = workers
        self._handlers = Handlers()
        self._numbers = numbers
        self._came: str | None = None
        self._held_back = False
        self._waiting: str | None = None

    def take(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers.take(number, self.interrupt)

    def give_back(self) -> None:
        self._handlers.give_back()

    def check(self) -> None:
        """Interrupt again, where that was lost.

        Python drops what is raised in a destructor or while a generator closes, and code of users may catch it: a
        worker would wait for its next item, and its launching process for the worker.
        """
        if self._came is not None:
            raise KeyboardInterrupt(self._came)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Keep a signal that comes meanwhile until the block has ended: what is half open could not be closed."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False
        if self._waiting is not None:
            raise KeyboardInterrupt(self._waiting)

    def interrupt(self, number: int, _frame: object) -> None:
        """Pass a signal on to the workers, and raise KeyboardInterrupt."""
        if number == signal.SIGHUP:  # the kernel and the shell both send it: the second would cut the end short
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for pid in self._workers():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        self._came = name = signal.Signals(number).name
        if not self._held_back:
            raise KeyboardInterrupt(name)
        self._waiting = name


class EndInOrder(Sigterm):
    """A plugin of the launching process: the first signal ends the session in good order, a second one at once.

    Nothing may break in on a session that finishes, Ctrl-C neither: the first signal cuts short then what can be made
    again (``cuttable``). ``say`` tells a person; ``abort`` writes the least that must be written before the end.
    """

    def __init__(
        self, workers: Callable[[], Iterable[int]], say: Callable[[str], None], abort: Callable[[], None]
    ) -> None:
        super().__init__(workers)
        self.by: str | None = None
        self._say = say
        self._abort = abort
        self._since = 0.0
        self._finishing = False
        self._cuttable = False

    @contextmanager
    def cuttable(self) -> Iterator[None]:
        """Let a signal end this block early. Raises KeyboardInterrupt."""
        self._cuttable = True
        try:
            yield
        finally:
            self._cuttable = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if type(excinfo.value) is KeyboardInterrupt:  # what --maxfail ends a session with is derived from it
            self._note(NAMES[signal.SIGINT])
            self._say(f"stopping: {self.by}; what runs is interrupted and can be carried on (again: end at once)")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        self._finishing = True
        if self._handlers.signals and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._handlers.take(signal.SIGINT, self.interrupt)
        result = yield
        if self.by is not None:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        return result

    def _note(self, by: str) -> bool:
        """Note who ends the session; True where this is the first that was heard."""
        if self.by is not None:
            return False
        self.by, self._since = by, time.monotonic()
        return True

    def interrupt(self, number: int, frame: object) -> None:
        if not self._note(NAMES[signal.Signals(number)]):
            if time.monotonic() - self._since > SAME_WISH_SECONDS:
                try:
                    self._abort()
                finally:
                    os._exit(pytest.ExitCode.INTERRUPTED)
        elif not self._finishing:
            super().interrupt(number, frame)
        elif self._cuttable:
            raise KeyboardInterrupt(self.by)


def cut_traceback(excinfo: pytest.ExceptionInfo[BaseException], config: pytest.Config) -> None:
    """Cut the traceback of an interrupt: pytest shows its last place alone, and first parses every file on the way.

    The last that is shown at all: of a debugger that is left it is not the last one (and pytest would stumble).
    """
    if not config.option.fulltrace:
        entries = list(enumerate(excinfo.traceback))
        last = next((place for place, entry in reversed(entries) if not entry.ishidden(excinfo)), 0)
        excinfo.traceback = excinfo.traceback[last:]
        excinfo.value.__suppress_context__ = True


def outlast_terminal(reporter: Any) -> None:
    """Lead what pytest says after its terminal was closed nowhere, from now on, so that nothing fails.

    A job that its shell has disowned gets no SIGHUP, and EIO for each word that it writes.
    """

    def lasting(method: Callable[..., None]) -> Callable[..., None]:
        def lose_or_do(*args: Any, **named: Any) -> None:
            try:
                method(*args, **named)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                point_nowhere()

        return lose_or_do

    def point_nowhere() -> None:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for fd in {terminal_file(reporter).fileno(), *filter(_is_dead, (1, 2))}:
                os.dup2(null, fd)
        finally:
            os.close(null)

    for name in ("write", "flush"):
        replace_in_writer(reporter, name, lasting)


def _is_dead(fd: int) -> bool:
    """A terminal that was closed: asked for its settings it fails as it does when written to."""
    import termios

    try:
        termios.tcgetattr(fd)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
