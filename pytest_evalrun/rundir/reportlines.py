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
# What a line of a kind must hold, for whoever reads it to rely on. A file can be edited, and a disk can err.
_FIELDS: dict[str, dict[str, type]] = {
    BEGUN: {},
    ENDED: {"code": int},
    REFUSED: {"text": str},
    EVENT: {"event": dict},
    START: {"id": str},
    ITEM: {"id": str, "reports": list},
    WARNING: {"id": str, "when": str, "text": str, "category": str, "file": str, "line": int},
}
_OF_REPORTS = {"nodeid": str, "outcome": str, "when": str}


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
        """The lines that are whole; what is no line of ours is passed over: a job was killed in the middle of it.

        A file that cannot be read now is read later: on a shared disk it may have been replaced a moment ago.
        """
        try:
            fd = open_plain(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
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
    return content if isinstance(content, dict) and _is_ours(content) else None


def _is_ours(line: dict[str, Any]) -> bool:
    """Whether it has what lines of its kind have. What a job of another version adds is none of our business."""
    kind = line.get("kind")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None or any(type(line.get(name)) is not wanted for name, wanted in fields.items()):
        return False
    return kind != ITEM or all(_is_report(report, line["id"]) for report in line["reports"])


def _is_report(report: Any, nodeid: str) -> bool:
    """Whether it is a report of this item, by what everybody looks at who hears of it."""
    if not isinstance(report, dict) or report.get("nodeid") != nodeid:
        return False
    told = all(type(report.get(name)) is wanted for name, wanted in _OF_REPORTS.items())
    return told and isinstance(report.get("evalrun", {}), dict)
