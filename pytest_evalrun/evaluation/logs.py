"""The log of a pair, and everything that a process writes led into it, live."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.logfiles import LogFile, write_all
from pytest_evalrun.suite.printable import Shown, printable
from pytest_evalrun.suite.secrets import NO_SECRETS, BlankedStream
from pytest_evalrun.suite.settings import LOG_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.suite.secrets import Secrets

# Seconds between two looks at how long a log is.
SHORTEST_LOOK = 0.01
LONGEST_LOOK = 0.1


class PairLog(LogFile):
    """What is said of a pair, and what it says."""

    def line(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        self.write(f"[{stamp}] {text}\n".encode(errors="backslashreplace"))


class ItemLog:
    """The log of the item at hand: while it is open, everything that the process writes is led into it.

    One per process. ``redirect`` is None where nothing may be redirected (a debugger): then it is only a file, for
    what is written here, and the values of ``secrets`` do not reach it either.
    """

    def __init__(self, redirect: Redirect | None, secrets: Secrets = NO_SECRETS) -> None:
        self._redirect = redirect
        self._blanked = BlankedStream(secrets if redirect is None else NO_SECRETS)
        self._log: PairLog | None = None
        self._guard = _Guard()

    def open(self, path: Path, limit: int = LOG_LIMIT) -> None:
        """Close what is open, then lead everything into ``path``, which keeps ``limit`` bytes of it."""
        self.close()
        self._log = PairLog(path, limit)
        self._guard.watch(self._log)
        if self._redirect:
            self._redirect.start(self._log)

    def line(self, text: str) -> None:
        if self._log:
            self._log.line(text)

    def write(self, data: bytes) -> None:
        """What another process says, for as long as this log is open; by the way that our own output takes."""
        if self._log and self._redirect:
            self._redirect.write(data)
        elif self._log:
            self._log.write(self._blanked.feed(data))

    def write_blanked(self, data: bytes) -> None:
        """Likewise, but past all others: what holds no secret, and is shown by whoever tells it."""
        if self._log:
            self._log.write(data)

    @property
    def fd(self) -> int:
        """Where the log is written to; standard error while none is open."""
        return self._log.fd if self._log else 2

    def tell(self, text: str) -> None:
        """Past the log, to whoever looks at the terminal, and safe for that."""
        (self._redirect.tell if self._redirect else sys.stderr.write)(f"{printable(text)}\n")

    def close(self) -> None:
        log, self._log = self._log, None
        if log is None:
            return
        if self._redirect:
            self._redirect.stop()
        log.write(self._blanked.finish())
        self._guard.leave()
        log.close()

    def end(self) -> None:
        """No item follows."""
        self.close()
        self._guard.end()


class _Guard:
    """A thread that keeps the log at hand within its limit, whoever writes to it: C code, a child of a child."""

    def __init__(self) -> None:
        self._log: PairLog | None = None
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._since = self._size = 0.0

    def watch(self, log: PairLog) -> None:
        self._log, self._since, self._size = log, time.monotonic(), log.size
        self._open.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="evalrun-log-limit", daemon=True)
            self._thread.start()

    def leave(self) -> None:
        """It is checked a last time; afterwards its descriptor is not used any more."""
        self._open.clear()
        with self._lock:
            log, self._log = self._log, None
            if log is not None:
                log.check()

    def end(self) -> None:
        """The thread is over, too: several sessions may run in one process."""
        self._ended.set()
        self._open.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._open.wait() and not self._ended.wait(self._look()):
            pass

    def _look(self) -> float:
        """How many seconds nobody need look again: as fast as it grew, it will not be half way to the limit."""
        with self._lock:
            if self._log is None:
                return 0.0
            log, grown = self._log, self._log.size - self._size
            log.check()
            since, self._since, self._size = self._since, time.monotonic(), log.size
            seconds = (log.limit - self._size) / 2 * (self._since - since) / max(grown, 1)
            return min(max(seconds, SHORTEST_LOOK), LONGEST_LOOK)


class Redirect:
    """Leads file descriptors 1 and 2, and logging, into a log; C code and child processes included.

    The real descriptors are saved once. ``echo`` (1 or 2) is the descriptor that gets a copy of everything (``-s``),
    safe to show; the values of ``secrets`` reach neither.
    """

    def __init__(self, echo: int | None = None, secrets: Secrets = NO_SECRETS) -> None:
        self._saved = {1: os.dup(1), 2: os.dup(2)}
        self._echo = self._saved[echo] if echo else None
        # Where nothing else comes through, the last line of a terminal is that of the session's progress.
        drawn = echo is None and os.isatty(self._saved[2]) and os.environ.get("TERM", "dumb") != "dumb"
        self._fresh = "\r\x1b[K" if drawn else ""
        self._secrets = secrets
        self._handler = _LogHandler()
        self._pump: _Pump | None = None
        self._level = logging.WARNING

    def start(self, log: PairLog) -> None:
        _flush()
        needed = self._secrets or self._echo is not None
        self._pump = _Pump(log, self._echo, self._secrets) if needed else None
        target = self._pump.write_end if self._pump else log.fd
        for fd in self._saved:
            os.dup2(target, fd)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and not stream.line_buffering:
                stream.reconfigure(line_buffering=True)
        self._attach(target)

    def stop(self) -> None:
        """Descriptors and logging as they were before :meth:`start`."""
        _flush()
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._level)
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)
        if self._pump:
            self._pump.close()

    def write(self, data: bytes) -> None:
        """As if this process had written it."""
        _write(1, data)

    def tell(self, text: str) -> None:
        _write(self._saved[2], (self._fresh + text).encode(errors="backslashreplace"))

    def _attach(self, log: int) -> None:
        """Logging's root lets through warnings only unless told otherwise."""
        self._handler.fd = log
        root = logging.getLogger()
        root.addHandler(self._handler)
        self._level = root.level
        if root.level > logging.INFO:
            root.setLevel(logging.INFO)

    def close(self) -> None:
        for fd in self._saved.values():
            os.close(fd)


class _LogHandler(logging.Handler):
    """Every record straight into the log's descriptor; nothing is buffered."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self.fd = 2

    def emit(self, record: logging.LogRecord) -> None:
        _write(self.fd, f"{self.format(record)}\n".encode(errors="backslashreplace"))


class _Pump:
    """A thread that copies what comes through a pipe to log and terminal, at once, secrets blanked."""

    def __init__(self, log: PairLog, echo: int | None, secrets: Secrets) -> None:
        self._read_end, self.write_end = os.pipe()
        self._log = log
        self._echo = echo
        self._blanked = BlankedStream(secrets)
        self._shown = Shown()
        self._thread = threading.Thread(target=self._run, name="evalrun-tee", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while chunk := os.read(self._read_end, 65536):
            self._copy(self._blanked.feed(chunk))
        self._copy(self._blanked.finish(), final=True)

    def _copy(self, data: bytes, *, final: bool = False) -> None:
        self._log.write(data)
        if self._echo is not None:
            _write(self._echo, self._shown.feed(data, final=final).encode())

    def close(self) -> None:
        """A child that outlives the item may still hold the pipe: wait for the rest only a moment."""
        os.close(self.write_end)
        self._thread.join(timeout=1)
        if not self._thread.is_alive():
            os.close(self._read_end)


def _write(fd: int, data: bytes) -> None:
    """What is gone, a terminal or a pipe, is no reason to fail."""
    try:
        write_all(fd, data)
    except OSError:
        pass


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed or broken by the code under test; not ours to mend
            pass
