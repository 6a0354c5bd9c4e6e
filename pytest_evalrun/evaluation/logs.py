"""The log of a pair, and everything that a process writes led into it, live."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.durable import open_with_parents
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.secrets import NO_SECRETS, BlankedLines

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.suite.secrets import Secrets


class PairLog:
    """An append-only file, unbuffered so that ``tail -f`` sees every line at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = open_with_parents(str(path), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def line(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        _write(self.fd, f"[{stamp}] {text}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        os.close(self.fd)


class ItemLog:
    """The log of the item at hand: while it is open, everything that the process writes is led into it.

    One per process. ``redirect`` is None where nothing may be redirected (a debugger): then it is only a file, for
    what is written here, and the values of ``secrets`` do not reach it either.
    """

    def __init__(self, redirect: Redirect | None, secrets: Secrets = NO_SECRETS) -> None:
        self._redirect = redirect
        self._lines = BlankedLines(secrets) if secrets and redirect is None else None
        self._log: PairLog | None = None

    def open(self, path: Path) -> None:
        """Close what is open, then lead everything into ``path``."""
        self.close()
        self._log = PairLog(path)
        if self._redirect:
            self._redirect.start(self._log.fd)

    def line(self, text: str) -> None:
        if self._log:
            self._log.line(text)

    def write(self, data: bytes) -> None:
        """What another process says, for as long as this log is open; by the way that our own output takes."""
        if self._log:
            _write(1 if self._redirect else self._log.fd, self._lines.feed(data) if self._lines else data)

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
        elif self._lines:
            _write(log.fd, self._lines.finish())
        log.close()


class Redirect:
    """Leads file descriptors 1 and 2, and logging, into a log; C code and child processes included.

    The real descriptors are saved once. ``echo`` (1 or 2) is the descriptor that gets a copy of everything (``-s``),
    safe to show; the values of ``secrets`` reach neither.
    """

    def __init__(self, echo: int | None = None, secrets: Secrets = NO_SECRETS) -> None:
        self._saved = {1: os.dup(1), 2: os.dup(2)}
        self._echo = self._saved[echo] if echo else None
        self._secrets = secrets
        self._handler = _LogHandler()
        self._pump: _Pump | None = None
        self._level = logging.WARNING

    def start(self, log: int) -> None:
        _flush()
        needed = self._secrets or self._echo is not None
        self._pump = _Pump(log, self._echo, self._secrets) if needed else None
        target = self._pump.write_end if self._pump else log
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

    def tell(self, text: str) -> None:
        _write(self._saved[2], text.encode(errors="backslashreplace"))

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
    """A thread that copies what comes through a pipe to log and terminal, whole lines at a time, secrets blanked."""

    def __init__(self, log: int, echo: int | None, secrets: Secrets) -> None:
        self._read_end, self.write_end = os.pipe()
        self._log = log
        self._echo = echo
        self._lines = BlankedLines(secrets)
        self._thread = threading.Thread(target=self._run, name="evalrun-tee", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while chunk := os.read(self._read_end, 65536):
            self._copy(self._lines.feed(chunk))
        self._copy(self._lines.finish())

    def _copy(self, data: bytes) -> None:
        if data:
            _write(self._log, data)
        if data and self._echo is not None:
            _write(self._echo, printable(data.decode(errors="replace")).encode())

    def close(self) -> None:
        """A child that outlives the item may still hold the pipe: wait for the rest only a moment."""
        os.close(self.write_end)
        self._thread.join(timeout=1)
        if not self._thread.is_alive():
            os.close(self._read_end)


def _write(fd: int, data: bytes) -> None:
    """A log that cannot be written is no reason to fail, nor to stop reading what a model says."""
    try:
        os.write(fd, data)
    except OSError:
        pass


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed or broken by the code under test; not ours to mend
            pass
