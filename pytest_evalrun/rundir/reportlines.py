"""``engine/<unit>/<attempt>/reports.jsonl``: what a job tells its launch, a line each, in the order of what happened.

The job appends whole lines and closes the file after each: on a shared file system others see what was written before
a file was closed, by opening it anew. So the launch opens it anew each time, and goes on where it was.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.durable import write_all
from pytest_evalrun.rundir.lines import json_line, open_plain
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path

# The kinds of lines, in each under "kind". BEGUN and ENDED have facts of the job; REFUSED a text, and nothing was run;
# EVENT a line of events.jsonl; START and ITEM a node id, ITEM all reports of an item that has ended.
BEGUN, ENDED, REFUSED, EVENT, START, ITEM = "begun", "ended", "refused", "event", "start", "item"
# What pytest has recorded while an item ran; it comes behind the ITEM.
WARNING = "warning"


class ReportWriter:
    """The job's side. Several lines at a time are one write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, *lines: dict[str, Any]) -> None:
        """Append lines. Raises OSError where the disk does not take them: the job cannot tell what it did.

        What was torn at the end, of a job that was killed, becomes a line of its own, which readers pass over.
        """
        fd = open_plain(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            torn = size and os.pread(fd, 1, size - 1) != b"\n"
            write_all(fd, (b"\n" if torn else b"") + b"".join(map(json_line, lines)))
        finally:
            os.close(fd)


class ReportReader:
    """The launch's side: what came since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """The lines that are whole; what is no JSON object is passed over: a job was killed in the middle of it."""
        try:
            fd = open_plain(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            data = self._rest(fd)
        finally:
            os.close(fd)
        whole, newline, _ = data.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        found = map(_parsed, whole.split(b"\n") if whole else ())
        return [line for line in found if line is not None]

    def _rest(self, fd: int) -> bytes:
        size = os.fstat(fd).st_size
        return os.pread(fd, size - self._offset, self._offset) if size > self._offset else b""


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        content = parse_json(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
