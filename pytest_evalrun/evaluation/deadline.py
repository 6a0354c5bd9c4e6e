"""What ends an item before it is done: a limit that it passed, a signal, the end of the process that launched it.

At its limit SIGALRM ends what Python can interrupt, and a watch thread gives up on the rest.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, NoReturn

from pytest_evalrun.children.orphans import OrphanProcesses
from pytest_evalrun.errors import TimedOut
from pytest_evalrun.suite.forks import Handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

# Code that is not Python reacts to no signal: after so long it is not waited for any more.
GRACE_SECONDS = 5.0
# Begins what faulthandler writes; where the item hung comes first there.
STACKS = b"; the stacks of all threads:\n"
# So many threads faulthandler shows, the newest first.
MOST_SHOWN = 100


class Deadline:
    """The limit of one item, counted only inside :meth:`phase` and not inside :meth:`paused`.

    ``stacks`` is the descriptor to which the stacks of all threads go. ``give_up`` is called with the reason, from a
    thread, when the main thread does not react: it does not come back. Must be used in the main thread.
    """

    def __init__(self, seconds: float, stacks: Callable[[], int], give_up: Callable[[str], NoReturn]) -> None:
        self.seconds = seconds
        self.passed = False
        self._left = seconds
        self._stacks = stacks
        self._give_up = give_up
        self._watch: threading.Timer | None = None
        self._since: float | None = None
        self._handlers = Handlers()

    @property
    def reason(self) -> str:
        return f"timed out after {self.seconds:g} s (--eval-timeout, or timeout: in the suite)"

    @contextmanager
    def phase(self) -> Iterator[None]:
        """A stretch of the item's life that counts; one that went past the limit ends so, whoever caught it."""
        passed_before = self.passed
        try:
            self._start()
            yield
        finally:
            try:
                self._stop()
            except TimedOut:  # at the very end; it comes once only
                self._stop()
                raise
        if self.passed and not passed_before:
            raise TimedOut(self.reason)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside a phase: waiting for others is not the item's fault."""
        running = self._since is not None
        self._stop()
        try:
            yield
        finally:
            if running:
                self._start()

    def close(self) -> None:
        """However the phase was left: a signal between two of Python's own steps may leave it half way."""
        self._stop()

    def _start(self) -> None:
        if self.passed:
            return
        self._handlers.take(signal.SIGALRM, self._alarm)
        self._since = time.monotonic()
        left = max(self._left, 0.001)
        self._watch = threading.Timer(left + GRACE_SECONDS, self._unheard)
        self._watch.daemon = True
        self._watch.start()
        # Code that keeps the interpreter's lock keeps the watch thread from running, too.
        faulthandler.dump_traceback_later(left + 2 * GRACE_SECONDS, exit=True, file=self._stacks())
        signal.setitimer(signal.ITIMER_REAL, left)

    def _stop(self) -> None:
        if self._since is None:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        if self._watch is not None:
            self._watch.cancel()
        self._handlers.give_back()
        self._left -= time.monotonic() - self._since
        self._since = None

    def _alarm(self, _number: int, _frame: object) -> NoReturn:
        self.passed = True
        self._dump()
        raise TimedOut(self.reason)

    def _unheard(self) -> None:
        self._dump()
        self._give_up(f"{self.reason}; it reacted to no signal")

    def _dump(self) -> None:
        fd = self._stacks()
        with suppress(OSError):  # a full disk does not lift the limit
            os.write(fd, self.reason.encode() + STACKS)
            if threading.active_count() >= MOST_SHOWN:
                os.write(fd, _main_stack().encode())
            faulthandler.dump_traceback(fd, all_threads=True)


def _main_stack() -> str:
    """Where the main thread is: the oldest one, which faulthandler leaves out where there are very many."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - documented, and nothing else tells
    return f"Main thread (most recent call last):\n{''.join(traceback.format_stack(frame))}\n"


class Guard:
    """Ends the work at hand where it must end, and what was started for it; ``deadline`` is the limit of the item.

    ``launcher`` is the process whose child this worker is; None where it launched itself. ``check`` raises
    KeyboardInterrupt once this process was told to end; ``record`` notes the PID of each process that is ended.
    """

    def __init__(self, launcher: int | None, check: Callable[[], None], record: Callable[[int], object]) -> None:
        self.deadline: Deadline | None = None
        self._launcher = launcher
        self._check = check
        self._record = record
        self._orphans = OrphanProcesses()

    def check(self) -> None:
        """End at once when the launching process is gone, so that the next session need not wait for this one.

        Where this process was told to end, and whoever was at work then did not care, it ends too.
        """
        self._check()
        if self._launcher is not None and os.getppid() != self._launcher:
            raise KeyboardInterrupt("the process that launched this worker is gone")

    def phase(self) -> AbstractContextManager[None]:
        """Count a stretch of the item's life against its limit, where it has one."""
        return self.deadline.phase() if self.deadline is not None else nullcontext()

    def paused(self) -> AbstractContextManager[None]:
        return self.deadline.paused() if self.deadline is not None else nullcontext()

    def working(self) -> AbstractContextManager[None]:
        """A model or a test is at work; what it starts matters only where it may be given up."""
        return self._orphans.working() if self.deadline is not None else nullcontext()

    def end_orphans(self) -> None:
        """End the processes that the model or the test at hand started, and did not end."""
        self._orphans.end(self._record)

    def close(self) -> None:
        """The phase is over, however it was left."""
        if self.deadline is not None:
            self.deadline.close()
