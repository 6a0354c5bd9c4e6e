"""SIGTERM and a closed terminal as good as Ctrl-C: pytest#5243 leaves them alone, and a run would lose its end."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.engines.exits import GO_ON_LATER
from pytest_evalrun.plugin.internals import replace_in_writer, terminal_file
from pytest_evalrun.predicting.leaving import Leaving
from pytest_evalrun.suite.forks import Handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
OF_A_JOB = (*SIGNALS, signal.SIGINT, signal.SIGUSR1)
NAMES = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "a closed terminal (SIGHUP)",
    signal.SIGUSR1: "SIGUSR1",
}
# timeout(1), for one, sends the same signal to the process and to its group. A cluster sends it to each process of a
# job, and the job's script and its launching process hand it on.
SAME_WISH_SECONDS = 0.5
SAME_WISH_OF_A_JOB_SECONDS = 2.0


leaving_key = pytest.StashKey[Leaving]()


class Sigterm:
    """While taken, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread, and SIGINT where it is asked for.

    ``workers`` names processes that get SIGTERM too: Ctrl-C reaches the whole group, these only this process.
    A signal that is ignored stays ignored: that is what nohup means. Where ``leaving`` is patient, a model that is
    being asked, and workers that heard of it too, are not interrupted: they leave by themselves.
    """

    def __init__(
        self,
        workers: Callable[[], Iterable[int]] = tuple,
        numbers: Iterable[signal.Signals] = SIGNALS,
        leaving: Leaving | None = None,
    ) -> None:
        self.leaving = leaving or Leaving()
        self._since = 0.0
        self._workers = workers
        self._handlers = Handlers()
        self._numbers = numbers
        self._came: str | None = None
        self._held_back = False
        self._waiting: str | None = None

    @property
    def same_wish(self) -> float:
        """So long after a signal another one is no wish of its own."""
        return SAME_WISH_OF_A_JOB_SECONDS if self.leaving.patient else SAME_WISH_SECONDS

    def take(self) -> None:
        self._take(self._handlers, self._numbers)

    def _take(self, handlers: Handlers, numbers: Iterable[signal.Signals]) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                handlers.take(number, self.interrupt)

    def give_back(self) -> None:
        self._handlers.give_back()

    def check(self) -> None:
        """Interrupt again, where that was lost.

        Python drops what is raised in a destructor or while a generator closes, and code of users may catch it: a
        worker would wait for its next item, and its launching process for the worker.
        """
        if self._came is not None and not self.leaving.waits:
            raise KeyboardInterrupt(self._came)

    @contextmanager
    def held_back(self, *more: signal.Signals) -> Iterator[None]:
        """Keep a signal that comes meanwhile until the block has ended: what is half open could not be closed.

        ``more`` are signals that are taken for this block alone. Of blocks within one another the outermost counts.
        """
        outer, self._held_back = self._held_back, True
        handlers = Handlers()
        self._take(handlers, more)
        try:
            yield
        finally:
            handlers.give_back()
            self._held_back = outer
        if not outer and (waiting := self._waiting) is not None:
            self._waiting = None
            raise KeyboardInterrupt(waiting)

    def interrupt(self, number: int, _frame: object) -> None:
        """Pass a signal on to the workers, and raise KeyboardInterrupt."""
        if number == signal.SIGHUP:  # the kernel and the shell both send it: the second would cut the end short
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        now, again = time.monotonic(), self._came is not None
        if self.leaving.patient and again and now - self._since < self.same_wish:
            return
        told = self._tell_workers()
        self._came = name = signal.Signals(number).name
        self._since, self.leaving.asked = now, True
        if self._held_back:
            self._waiting = name
        elif again or not (self.leaving.waits or (self.leaving.patient and told)):
            raise KeyboardInterrupt(name)

    def _tell_workers(self) -> int:
        """Pass the signal on; returns how many processes it has reached."""
        told = 0
        for pid in self._workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                told += 1
        return told


class EndInOrder(Sigterm):
    """A plugin of the launching process: the first signal ends the session in good order, a second one at once.

    Nothing may break in on a session that finishes, Ctrl-C neither: the first signal cuts short then what can be made
    again (``cuttable``). ``say`` tells a person; ``abort`` writes the least that must be written before the end.
    """

    code_at_once: int = pytest.ExitCode.INTERRUPTED

    def __init__(
        self,
        workers: Callable[[], Iterable[int]],
        say: Callable[[str], None],
        abort: Callable[[], None],
        numbers: Iterable[signal.Signals] = SIGNALS,
        leaving: Leaving | None = None,
    ) -> None:
        super().__init__(workers, numbers, leaving)
        self.by: str | None = None
        self._say = say
        self._abort = abort
        self._noted = 0.0
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
        self.by, self._noted = by, time.monotonic()
        return True

    def interrupt(self, number: int, frame: object) -> None:
        if not self._note(NAMES[signal.Signals(number)]):
            if time.monotonic() - self._noted > self.same_wish:
                try:
                    self._abort()
                finally:
                    os._exit(self.code_at_once)
        elif not self._finishing:
            super().interrupt(number, frame)
        elif self._cuttable:
            raise KeyboardInterrupt(self.by)


def signals_of_worker(config: pytest.Config) -> Sigterm:
    """What a process that runs items hears; in a job all that a cluster may send."""
    leaving = config.stash.get(leaving_key, None)
    return Sigterm(numbers=(*SIGNALS, signal.SIGINT) if leaving is None else OF_A_JOB, leaving=leaving)


def signals_of_launch(
    config: pytest.Config, workers: Callable[[], Iterable[int]], say: Callable[[str], None], abort: Callable[[], None]
) -> EndInOrder:
    """What the launching process hears; that of a job has a word of its own for those who started it."""
    if (leaving := config.stash.get(leaving_key, None)) is None:
        return EndInOrder(workers, say, abort)
    ending = EndInOrder(leaving.workers, say, abort, OF_A_JOB, leaving)
    ending.code_at_once = GO_ON_LATER
    return ending


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
