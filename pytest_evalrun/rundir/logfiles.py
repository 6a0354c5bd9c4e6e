"""The log of a pair as a file: its head and its tail where it would grow too long, and what it lacks said in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.lines import open_plain, open_with_parents
from pytest_evalrun.suite.settings import LOG_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

# No log is shorter than this, whatever it is limited to: the last lines explain what went wrong.
SHORTEST = 1 << 16
_BLOCK = 1 << 20
_GAP = re.compile(rb"\[evalrun: (\d+) bytes are left out here; log_limit is \d+ bytes\]\n")
_LONGEST_GAP = 120


def lost(size: int, why: Exception) -> bytes:
    """Make the line that stands for ``size`` bytes of output that could not be written."""
    reason = (why.strerror or str(why)) if isinstance(why, OSError) else f"{type(why).__name__}: {why}"
    return f"\n[evalrun: {size} bytes of output are lost here: {reason}]\n".encode(errors="backslashreplace")


@dataclass(frozen=True)
class Gap:
    """A gap in the middle of a log: the line that says so is ``size`` bytes from ``at``, for ``left_out`` bytes."""

    at: int
    size: int
    left_out: int

    @property
    def end(self) -> int:
        return self.at + self.size

    def position(self, offset: int) -> int:
        """Turn an offset of the file into the count of all bytes ever written; the line of the gap is none of them."""
        return offset if offset <= self.at else offset - self.size + self.left_out

    def offset(self, position: int) -> int:
        """Turn such a count into an offset of the file; for what is left out, into the line that stands for it."""
        return position if position < self.at else max(self.at, position - self.left_out + self.size)


def find_gap(fd: int) -> Gap | None:
    """Find the gap of a log, which has but one."""
    at, data = 0, b""
    while block := os.pread(fd, _BLOCK, at + len(data)):
        data += block
        if found := _GAP.search(data):
            return Gap(at + found.start(), len(found[0]), int(found[1]))
        keep = min(len(data), _LONGEST_GAP)
        at, data = at + len(data) - keep, data[-keep:]
    return None


def shorten(fd: int, limit: int, gap: Gap | None) -> Gap | None:
    """Keep of a log longer than ``limit`` bytes the first half of them and the last quarter; returns its gap.

    ``gap`` is the one that it had. So for each byte that is written one is moved at most. ``fd`` must not append;
    others may, meanwhile: what they write in the moment between the last look and the cut is lost.
    """
    size = os.fstat(fd).st_size
    if size <= limit:
        return gap
    gap = gap or find_gap(fd)
    head = gap.at if gap is not None and gap.at <= limit // 2 else _line_before(fd, limit // 2)
    tail = _line_after(fd, size - limit // 4)
    if head and os.pread(fd, 1, head - 1) != b"\n":
        head += os.pwrite(fd, b"\n", head)
    left_out = (gap or Gap(head, 0, 0)).position(tail) - head
    line = b"[evalrun: %d bytes are left out here; log_limit is %d bytes]\n" % (left_out, limit)
    os.pwrite(fd, line, head)
    to = head + len(line)
    while block := os.pread(fd, _BLOCK, tail):
        to += os.pwrite(fd, block, to)
        tail += len(block)
    os.ftruncate(fd, to)
    return Gap(head, len(line), left_out)


def _line_before(fd: int, at: int) -> int:
    """Find the end of a line not far before ``at``; ``at`` itself where lines are that long."""
    low = max(0, at - SHORTEST // 16)
    newline = os.pread(fd, at - low, low).rfind(b"\n")
    return low + newline + 1 if newline >= 0 else at


def _line_after(fd: int, at: int) -> int:
    newline = os.pread(fd, SHORTEST // 16, at).find(b"\n")
    return at + newline + 1


class LogFile:
    """An append-only file, unbuffered so that ``tail -f`` sees everything at once; others may write to ``fd``, too.

    Whoever writes: :meth:`check` keeps it below ``limit`` bytes.
    """

    def __init__(self, path: Path, limit: int = LOG_LIMIT) -> None:
        self.path = path
        self.limit = max(limit, SHORTEST)
        self.fd = open_with_parents(str(path), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._gap: Gap | None = None
        self._lost = 0
        self._why: OSError | None = None

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def write(self, data: bytes) -> None:
        """A log that cannot be written is no reason to fail, nor to stop reading what a model says.

        What it did not take is said in its place, once it takes something again.
        """
        try:
            if self._why is not None:
                write_all(self.fd, lost(self._lost, self._why))
                self._lost, self._why = 0, None
            write_all(self.fd, data)
        except OSError as error:
            self._lost, self._why = self._lost + len(data), error

    def check(self) -> None:
        """Shorten it where it is too long; one that somebody has put elsewhere is left as it is."""
        try:
            if self.size <= self.limit:
                return
            fd = open_plain(self.path, os.O_RDWR)
            try:
                if os.path.samestat(os.fstat(fd), os.fstat(self.fd)):
                    self._gap = shorten(fd, self.limit, self._gap)
            finally:
                os.close(fd)
        except OSError:
            pass  # tried again at the next look

    def close(self) -> None:
        os.close(self.fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of it; raises OSError for what a full disk does not take."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
