"""The output of a program beside the protocol is handed on as it comes, and its end is kept for messages."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from pytest_evalrun.children.handle import readable
from pytest_evalrun.rundir.logfiles import lost

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 16
TAIL_BYTES = 1 << 14
TAIL_LINES = 20
# A stray that outlives its supervisor (no Linux) may hold the pipe: nobody waits for it longer than this.
PATIENCE_SECONDS = 1.0


class Heard:
    """Hands on what a program writes, piece by piece, and keeps the end of it for messages.

    What the handler does not take is lost, and nothing else: it is said where it is missing, once the handler takes
    something again. ``failure`` is the first that it raised.
    """

    def __init__(self, handler: Callable[[bytes], None] | None) -> None:
        self._handler = handler
        self.tail = b""
        self._lost = 0
        self._why: Exception | None = None
        self.failure: Exception | None = None

    @property
    def last_lines(self) -> str:
        return last_lines(self.tail)

    def take(self, chunk: bytes) -> None:
        self.tail = (self.tail + chunk)[-TAIL_BYTES:] if len(chunk) < TAIL_BYTES else chunk[-TAIL_BYTES:]
        if self._handler is None:
            return
        try:
            if self._why is not None:
                self._handler(lost(self._lost, self._why))
                self._lost, self._why = 0, None
            self._handler(chunk)
        except Exception as error:  # noqa: BLE001 - no log is a reason to let the program wait, or to hear no more of it
            self._lost, self._why = self._lost + len(chunk), error
            self.failure = self.failure or error


class PipeReader:
    """A thread that reads a pipe, so that no program ever waits for us to listen."""

    def __init__(self, fd: int, handler: Callable[[bytes], None] | None) -> None:
        self._fd = fd
        self._heard = Heard(handler)
        self._open = True
        self.count = 0
        self._last = time.monotonic()
        # Of one thread at a time, and again in it: a signal handler may want the output that it interrupts.
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="evalrun-output", daemon=True)
        self._thread.start()

    @property
    def last_lines(self) -> str:
        return self._heard.last_lines

    def flush(self) -> None:
        """Hand on all that the pipe holds by now, so that it belongs to what was asked and not to what follows."""
        with self._lock:
            for _ in range(PIPE_CHUNKS):
                if not (self._open and readable(self._fd, 0)):
                    return
                self._read()

    def quiet(self, seconds: float) -> bool:
        """Say whether nothing has come for so many seconds."""
        return time.monotonic() - self._last >= seconds

    def finish(self) -> None:
        """Once the program has ended: the rest."""
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while self._open:
            readable(self._fd, None)
            with self._lock:
                if readable(self._fd, 0):
                    self._read()
        os.close(self._fd)  # here only: while another thread waits for it, its number must not be used again

    def _read(self) -> None:
        chunk = os.read(self._fd, CHUNK)
        if not chunk:
            self._open = False
            return
        self.count += len(chunk)
        self._last = time.monotonic()
        self._heard.take(chunk)


def last_lines(tail: bytes) -> str:
    """The last 20 lines of an output that ends with ``tail``, which is kept up to ``TAIL_BYTES``.

    Where that cut the first of them it is left out: in a half of it nobody would know a secret.
    """
    lines = tail.decode(errors="replace").splitlines()
    cut = len(tail) >= TAIL_BYTES and len(lines) > 1
    return "\n".join(lines[cut:][-TAIL_LINES:])


def end_of_output(lines: str) -> str:
    """Quote the last lines of a program's output, as :class:`Heard` keeps them, at the end of a message about it."""
    return f"; the end of its output:\n{lines}" if lines else "; it wrote no other output"


def brief_end(fate: str, lines: str) -> str:
    """How a program ended, and the last line of its output, which most often says why: ``exit code 3: no board``."""
    last = lines.rstrip().rpartition("\n")[2]
    return fate.removeprefix("ended with ") + (f": {last}" if last else "")


# More than any pipe holds; a program that never stops writing must not keep us.
PIPE_CHUNKS = (1 << 20) // CHUNK + 1
