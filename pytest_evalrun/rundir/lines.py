"""Files that grow line by line, and JSON as it stands in them."""

from __future__ import annotations

import errno
import json
import os
import stat
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import orjson

from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import BinaryIO

_BLOCK = 1 << 16
_OPEN = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
# Made once: json.dumps with options builds an encoder for every call.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":")).encode

_encode_strictly = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_SCALARS = frozenset({str, int, bool, NoneType})
# Whatever is no plain value goes to json, which knows what to refuse.
_ORJSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_SUBCLASS


def utc_time(*, at: float | None = None, timespec: str = "milliseconds") -> str:
    """Now, or ``at`` so many seconds of the epoch, as ISO 8601 in UTC: ``2026-11-21T10:30:15.123Z``."""
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec=timespec)[:-6] + "Z"


def encoded(data: str | bytes) -> bytes:
    """UTF-8. A file name that is not (a lone surrogate in Python) becomes the escape by which JSON knows it."""
    return data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data


def json_line(obj: Mapping[str, Any]) -> bytes:
    """Encode one line; a value that JSON does not know stands as its text, so that no line is ever lost to it."""
    try:
        text = _encode(obj)
    except (TypeError, ValueError):  # a key that is no text, NaN, a cycle
        text = _encode({str(k): v if isinstance(v, str | int | None) else str(v) for k, v in obj.items()})
    return encoded(text + "\n")


def is_plain(value: Any) -> bool:
    """Whether a value is of what JSON has alone: builtins, not classes of their kind, finite numbers, keys of text."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is float:
        return isfinite(value)
    if kind is dict:
        return {*map(type, value)} <= {str} and all(map(is_plain, value.values()))
    return kind is list and all(map(is_plain, value))


def compact_line(fields: dict[str, Any] | list[Any], doubtful: Iterable[Any] = ()) -> bytes:
    """One line of compact JSON, for files that get one a sample: by orjson wherever that writes what json does.

    ``doubtful`` are those of its values that may be anything. Raises ValueError, TypeError or RecursionError for what
    JSON does not have.
    """
    try:
        if all(map(is_plain, doubtful)):
            return orjson.dumps(fields, option=_ORJSON)
    except (TypeError, RecursionError):
        pass  # half a character, a number beyond 64 bits, a key that is no text, levels by the hundred
    return encoded(_encode_strictly(fields)) + b"\n"


def joined(lines: Iterable[bytes]) -> bytes:
    """Join lines that are made one by one, each let go of before the next.

    orjson makes each in a buffer far larger than most: hundreds of them kept for ``join`` cost the allocator more
    time than the lines.
    """
    data = bytearray()
    for line in lines:
        data += line
    return bytes(data)


def json_document(obj: Mapping[str, Any]) -> bytes:
    """Encode a small JSON file that people read too."""
    return encoded(json.dumps(obj, ensure_ascii=False, indent=1) + "\n")


_TRIES = 100  # that parents are made, and taken away by another process before their file is there


def open_with_parents(path: str, flags: int, mode: int = 0o666) -> int:
    """``os.open`` of a file that is made, with its parents, where it is missing: so most calls cost one call.

    Raises OSError for what is none: a FIFO would let us wait for ever, a link to nowhere would lead elsewhere; and
    where none can be made although its parents are there (``/proc``).
    """
    tries = 0
    while True:
        try:
            return open_plain(path, flags, mode)
        except FileNotFoundError:
            pass
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
        except FileNotFoundError:
            tries += 1
            if tries > _TRIES:
                raise
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # another process was faster
            if os.path.islink(path):  # noqa: PTH114
                raise OSError(errno.EEXIST, "it is a link to nowhere", path) from None


def open_plain(path: Path | str, flags: int, mode: int = 0o666) -> int:
    """``os.open`` of a file, and of nothing else; a FIFO would let us wait for ever.

    Raises OSError for a directory, a FIFO or a disk. ``/dev/null`` takes and gives as a file does.
    """
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind) or stat.S_ISCHR(kind):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "it is no file", os.fspath(path))


def open_file(path: Path | str) -> BinaryIO:
    """Open a file for reading. Raises OSError at once for what is none: a FIFO would let us wait for ever."""
    return os.fdopen(open_plain(path, os.O_RDONLY), "rb")


def read_file(path: Path | str) -> bytes:
    """The content of a file. Raises OSError where there is none, or something else in its place."""
    with open_file(path) as file:
        return file.read()


def read_objects(path: Path | str, damaged: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, one at a time; nothing where there is no file.

    Lines that cannot be read, as a power cut tears them, are left out; their numbers are put into ``damaged``.
    """
    try:
        file = open_file(path)
    except OSError:
        return
    with file:
        for number, line in enumerate(file, 1):
            try:
                entry = parse_json(line)
            except ValueError:
                entry = None
            if isinstance(entry, dict):
                yield entry
            elif damaged is not None:
                damaged.append(number)


class LineFile:
    """A file with one writer that appends whole lines.

    A line torn by a crash is cut off when the file is opened, at the first line written; one that ``is_whole`` but for
    its end is given that. A disk that is full never raises: what it did not take is not there at all, and ``write``
    says so.
    """

    __slots__ = ("_fd", "_is_whole", "_path")

    def __init__(self, path: Path | str, is_whole: Callable[[bytes], bool] | None = None) -> None:
        self._path = os.fspath(path)
        self._is_whole = is_whole
        self._fd = -1

    def write(self, data: bytes) -> bool:
        """Append complete lines in one write; False where the disk did not take them."""
        try:
            if self._fd < 0:
                self._fd = _open(self._path, self._is_whole)
            written = os.write(self._fd, data)
            if written == len(data):
                return True
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        except OSError:
            pass
        return False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open(path: str, is_whole: Callable[[bytes], bool] | None) -> int:
    fd = open_with_parents(path, _OPEN)
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        end = _end_of_lines(fd, size)
        if is_whole is not None and is_whole(os.pread(fd, size - end, end)):
            os.write(fd, b"\n")
        else:
            os.ftruncate(fd, end)
    return fd


def _end_of_lines(fd: int, size: int) -> int:
    """Find the offset at which the last complete line ends, block by block from the end."""
    while size:
        low = max(0, size - _BLOCK)
        newline = os.pread(fd, size - low, low).rfind(b"\n")
        if newline >= 0:
            return low + newline + 1
        size = low
    return 0


class Follower:
    """The complete lines that were appended to a file since the last look.

    ``last``: of a file that is longer at the first look, only so many bytes of its end.
    """

    def __init__(self, path: Path, last: int | None = None) -> None:
        self.path = path
        self.changed = 0.0
        self._last = last
        self._inode: int | None = None
        self._offset = 0

    def read(self) -> list[bytes]:
        """Return the new lines without their ends; one that its writer has not finished waits for the next call."""
        try:
            stat = self.path.stat()
            self._settle(stat)
            if stat.st_size == self._offset:
                return []
            with open_file(self.path) as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        return data[:end].split(b"\n")[:-1]

    def _settle(self, stat: os.stat_result) -> None:
        """Begin anew with a file that is another one, or was cut: a writer may have been replaced."""
        self.changed = stat.st_mtime
        if stat.st_ino != self._inode or stat.st_size < self._offset:
            self._inode = stat.st_ino
            self._offset = max(0, stat.st_size - self._last) if self._last else 0
