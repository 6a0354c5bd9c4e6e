"""The logs of pairs in pieces, as they grow: safe text, and where the next piece begins."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pytest_evalrun.monitor.web.door import NotShown
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.logfiles import find_gap
from pytest_evalrun.suite.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.logfiles import Gap

STAGES = ("infer", "eval")
# Of one piece, in bytes. Whoever begins without a place gets the end of a log, for that says how it stands.
LARGEST = 1 << 17
_MOST_KNOWN = 256
_Known = tuple[int, int, "Gap | None"]


class LogTexts:
    """Reads pieces of logs. A place in a log counts all bytes that were ever written to it, also those that went.

    A log that grows too long loses its middle: the gap is looked for again only where a file became shorter.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Path, _Known] = OrderedDict()

    def piece(self, paths: Sequence[Path], start: int | None) -> dict[str, Any]:
        """Read from a place on, of the file among these that was written last; None: its end.

        ``text`` is what comes there, ``from`` where that begins, ``next`` the place behind it, ``more`` whether there
        is more already. What is not there yet has no text.
        """
        path = _latest(paths)
        if path is None:
            return {"text": "", "from": 0, "next": 0, "more": False}
        try:
            with open_file(path) as file:
                return self._read(path, file.fileno(), start)
        except OSError:
            raise NotShown(404, "the log cannot be read") from None

    def _read(self, path: Path, fd: int, start: int | None) -> dict[str, Any]:
        size, gap = os.fstat(fd).st_size, self._gap(path, fd)
        offset = max(0, size - LARGEST) if start is None else gap.offset(start) if gap else start
        if offset > size:  # another file is called so now: from its beginning
            offset = 0
        data = os.pread(fd, LARGEST, offset)
        if start is None and offset:
            data, offset = _from_line(data, offset)
        data = _whole(data)
        end = offset + len(data)
        places = (gap.position(offset), gap.position(end)) if gap else (offset, end)
        text = printable(data.decode("utf-8", "replace"))
        return {"text": text, "from": places[0], "next": places[1], "more": end < size and bool(data)}

    def _gap(self, path: Path, fd: int) -> Gap | None:
        stat = os.fstat(fd)
        inode, size, gap = self._known.get(path, (0, 0, None))
        if inode != stat.st_ino or stat.st_size < size:
            gap = find_gap(fd)
        self._known[path] = stat.st_ino, stat.st_size, gap
        self._known.move_to_end(path)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return gap


def _latest(paths: Sequence[Path]) -> Path | None:
    found = []
    for path in paths:
        try:
            found.append((path.stat().st_mtime_ns, path))
        except OSError:
            continue
    return max(found)[1] if found else None


def _from_line(data: bytes, offset: int) -> tuple[bytes, int]:
    """Begin with the first whole line, where there is one."""
    begin = data.find(b"\n") + 1
    return (data[begin:], offset + begin) if 0 < begin < len(data) else (data, offset)


def _whole(data: bytes) -> bytes:
    """Without the beginning of a character whose end is not there yet, and without half an end of a line."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data if length <= back else data[:-back]
        if byte < 0x80:
            break
    return data[:-1] if data.endswith(b"\r") and len(data) > 1 else data
