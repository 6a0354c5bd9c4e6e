"""SIGTERM and a closed terminal as good as Ctrl-C: pytest#5243 leaves them alone, and a run would lose its end."""

from __future__ import annotations

import errno
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.forks import Handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Sigterm:
    """While taken, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread.

    ``workers`` names processes that get SIGTERM too: Ctrl-C reaches the whole group, these only this process.
    A signal that is ignored stays ignored: that is what nohup means.
    """

    def __init__(self, workers: Callable[[], Iterable[int]] = tuple) -> None:
        self._workers = workers
        self._handlers = Handlers()
        self._held_back = False
        self._waiting: str | None = None

    def take(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers.take(number, self._interrupt)

    def give_back(self) -> None:
        self._handlers.give_back()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """What comes meanwhile interrupts when the block has ended: what is half open could not be closed."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False
        if self._waiting is not None:
            raise KeyboardInterrupt(self._waiting)

    def _interrupt(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:  # the kernel and the shell both send it: the second would cut the end short
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for pid in self._workers():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        name = signal.Signals(number).name
        if not self._held_back:
            raise KeyboardInterrupt(name)
        self._waiting = name


class Lasting:
    """A terminal's file that outlives its terminal: what is said after that was closed goes nowhere, and nothing fails.

    A job that its shell has disowned gets no SIGHUP, and EIO for each word that it writes.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            return int(self._file.write(text))
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _lose(self, error: OSError) -> None:
        if error.errno != errno.EIO:
            raise error
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for fd in {self._file.fileno(), *filter(_is_dead, (1, 2))}:
                os.dup2(null, fd)
        finally:
            os.close(null)


def _is_dead(fd: int) -> bool:
    """A terminal that was closed: asked for its settings it fails as it does when written to."""
    import termios

    try:
        termios.tcgetattr(fd)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
