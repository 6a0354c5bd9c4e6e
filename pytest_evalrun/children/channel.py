"""Lines to and from a program, by one thread, so that neither side ever waits for the other to read."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 20
LONGEST_LINE = 1 << 30
# How often a silent program is looked after: one that ended may have left its pipe to somebody else.
LOOK_SECONDS = 1.0


class LineTooLong(ValueError):  # noqa: N818 - what the line is
    """The program wrote more than any answer is, without a newline."""


class Channel:
    """Takes possession of two pipes; None for a program that is told nothing, or has nothing to answer."""

    def __init__(self, to_program: int | None, from_program: int | None) -> None:
        self._out = to_program
        self._in = from_program
        self._lines: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = from_program is None
        for fd in (to_program, from_program):
            if fd is not None:
                os.set_blocking(fd, False)

    def send(self, line: bytes) -> None:
        """Write all of it, and read meanwhile what the program writes. A program that is gone is told by receive."""
        left = memoryview(line)
        while left and self._out is not None:
            self._wait(None, writing=True)
            try:
                left = left[os.write(self._out, left[:CHUNK]) :]
            except BlockingIOError:
                pass
            except OSError:  # nobody reads
                self.close_out()

    def receive(self, timeout: float | None, alive: Callable[[], bool]) -> bytes | None:
        """The next line that is not empty, None at the end. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._lines:
            if self._ended:
                return None
            left = LOOK_SECONDS if deadline is None else min(LOOK_SECONDS, deadline - time.monotonic())
            if not self._wait(left):
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
                self._ended = not alive()
        return self._lines.popleft()

    def close_out(self) -> None:
        if self._out is not None:
            out, self._out = self._out, None
            os.close(out)

    def close(self) -> None:
        self.close_out()
        if self._in is not None:
            read, self._in, self._ended = self._in, None, True
            os.close(read)

    def _wait(self, timeout: float | None, *, writing: bool = False) -> bool:
        """Wait until something can be read, which is read at once, or written; False where the time was over."""
        poll = select.poll()
        if self._in is not None and not self._ended:
            poll.register(self._in, select.POLLIN)
        if writing and self._out is not None:
            poll.register(self._out, select.POLLOUT)
        found = poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        if any(fd == self._in for fd, _ in found):
            self._read()
        return bool(found)

    def _read(self) -> None:
        assert self._in is not None
        chunk = os.read(self._in, CHUNK)
        if not chunk:
            self._ended = True
            self._take([b"", b""])  # a last line needs no newline
            return
        self._take(chunk.split(b"\n"))

    def _take(self, pieces: list[bytes]) -> None:
        first, *others = pieces
        self._parts.append(first)
        self._size += len(first)
        if others:
            *whole, rest = others
            self._lines += filter(bytes.strip, (b"".join(self._parts), *whole))
            self._parts, self._size = [rest], len(rest)
        if self._size > LONGEST_LINE:
            raise LineTooLong(f"more than {LONGEST_LINE >> 30} GiB without a newline")
