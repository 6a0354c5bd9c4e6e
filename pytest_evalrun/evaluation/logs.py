"""The log of a pair, and everything that a process writes led into it, live."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from pytest_evalrun.suite.secrets import blank

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PairLog:
    """An append-only file, unbuffered so that ``tail -f`` sees every line at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self.fd = os.open(path, flags, 0o666)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.fd = os.open(path, flags, 0o666)

    def line(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        _write(self.fd, f"[{stamp}] {text}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        os.close(self.fd)


class ItemLog:
    """The log of the item at hand: while it is open, everything that the process writes is led into it.

    One per process. ``redirect`` is None where nothing may be redirected (a debugger): then it is only a file.
    """

    def __init__(self, redirect: Redirect | None) -> None:
        self._redirect = redirect
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
            _write(1 if self._redirect else self._log.fd, data)

    @property
    def fd(self) -> int:
        """Where the log is written to; standard error while none is open."""
        return self._log.fd if self._log else 2

    def tell(self, text: str) -> None:
        """Past the log, to whoever looks at the terminal."""
        (self._redirect.tell if self._redirect else sys.stderr.write)(f"{text}\n")

    def close(self) -> None:
        log, self._log = self._log, None
        if log is None:
            return
        if self._redirect:
            self._redirect.stop()
        log.close()


class Redirect:
    """Leads file descriptors 1 and 2, and logging, into a log; C code and child processes included.

    The real descriptors are saved once. ``echo`` (1 or 2) is the descriptor that gets a copy of everything (``-s``);
    the values of ``secrets`` reach neither.
    """

    def __init__(self, echo: int | None = None, secrets: Sequence[str] = ()) -> None:
        self._saved = {1: os.dup(1), 2: os.dup(2)}
        self._echo = (self._saved[echo],) if echo else ()
        self._secrets = secrets
        self._handler = _LogHandler()
        self._pump: _Pump | None = None
        self._level = logging.WARNING

    def start(self, log: int) -> None:
        _flush()
        self._pump = _Pump((log, *self._echo), self._secrets) if self._echo or self._secrets else None
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

    def __init__(self, targets: Sequence[int], secrets: Sequence[str]) -> None:
        self._read_end, self.write_end = os.pipe()
        self._targets = targets
        self._secrets = secrets
        self._thread = threading.Thread(target=self._run, name="evalrun-tee", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rest = b""
        while chunk := os.read(self._read_end, 65536):
            head, newline, rest = (rest + chunk).rpartition(b"\n")
            self._copy(head + newline)
        self._copy(rest)

    def _copy(self, data: bytes) -> None:
        if self._secrets:
            data = blank(data.decode(errors="surrogateescape"), self._secrets).encode(errors="surrogateescape")
        for target in self._targets if data else ():
            _write(target, data)

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
