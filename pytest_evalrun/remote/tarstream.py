"""Files as one stream of tar: written fast, with the hash of every file at its end; read with nothing believed."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.remote.faults import ArrivedWrong, BoardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

BLOCK = 512
# The reader's own default: where the two differ, some readers end before the writer does.
RECORD = 20 * BLOCK
SUMS = ".evalrun-sums"
PIECE = 1 << 20
_LONGEST_NAME = 100
_LARGEST = 8**11 - 1


@dataclass(frozen=True)
class TarEntry:
    """A file of this host, and its name on the board below the directory that it travels to."""

    path: Path
    name: str


def check_name(name: str) -> None:
    """Raises ConfigError for one that leaves its directory, or that a list of hashes cannot hold."""
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "" in parts or any(letter in name for letter in "\0\n\r"):
        raise ConfigError(f"{name!r}: this cannot be the name of a file on a board")
    if name == SUMS:
        raise ConfigError(f"{name!r}: this name is taken on boards")


class TarWriter:
    """Yields the stream in large pieces; ``sums`` then has the hash of each file, as ``sha256sum -c`` reads it."""

    def __init__(self, entries: Sequence[TarEntry]) -> None:
        self._entries = entries
        self.sums: dict[str, str] = {}
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        pieces: list[bytes] = []
        held = written = 0
        for piece in self._pieces():
            pieces.append(piece)
            held += len(piece)
            if held >= PIECE:
                written += held
                yield b"".join(pieces)
                pieces, held = [], 0
        pieces.append(bytes(2 * BLOCK + -(written + held + 2 * BLOCK) % RECORD))
        yield b"".join(pieces)

    def _pieces(self) -> Iterator[bytes]:
        for entry in self._entries:
            check_name(entry.name)
            yield from self._file(entry)
        text = os.fsencode("".join(f"{digest}  ./{name}\n" for name, digest in self.sums.items()))
        yield header(SUMS, len(text), 0o600)
        yield text + bytes(-len(text) % BLOCK)

    def _file(self, entry: TarEntry) -> Iterator[bytes]:
        fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise ConfigError(f"{entry.path}: only files travel to a board")
            yield header(entry.name, info.st_size, 0o755 if info.st_mode & 0o100 else 0o644, int(info.st_mtime))
            digest = hashlib.sha256()
            left = info.st_size
            while left:
                data = os.read(fd, min(left, PIECE))
                if not data:
                    raise ArrivedWrong(f"{entry.path}: became shorter while it was read")
                digest.update(data)
                left -= len(data)
                yield data
            if padding := -info.st_size % BLOCK:
                yield bytes(padding)
        finally:
            os.close(fd)
        self.sums[entry.name] = digest.hexdigest()
        self.size += info.st_size


def header(name: str, size: int, mode: int, mtime: int = 0) -> bytes:
    """Make the header of a file that whoever unpacks it owns. tarfile takes ten times as long for the usual ones."""
    raw = os.fsencode(name)
    if len(raw) > _LONGEST_NAME or size > _LARGEST or not 0 <= mtime <= _LARGEST:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, mode, max(0, mtime)
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    fields = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, mtime)
    start = raw.ljust(_LONGEST_NAME, b"\0") + fields
    rest = b"0" + bytes(100) + b"ustar  \0" + bytes(BLOCK - 265)
    total = sum(start) + 8 * 32 + sum(rest)
    return start + b"%06o\0 " % total + rest


class Readable:
    """A stream that arrives piece by piece, read as tarfile wants it."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive

    def read(self, size: int) -> bytes:
        pieces = []
        while size > 0 and (piece := self._receive(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        while self._receive(PIECE):
            pass


def read_files(stream: Readable) -> Iterator[tuple[str, int, Any]]:
    """Name, size and content of each file. Raises ArrivedWrong for a stream cut off, or one that holds anything else.

    Directories come with their files. Symbolic links and devices stay where they are; hard links and names that lead
    elsewhere are a BoardError: what a board sends may be anything, and sending it again changes nothing.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=RECORD * 25) as archive:  # type: ignore[call-overload]
            for member in archive:
                if not (member.isreg() or member.islnk()):
                    continue
                name = member.name.removeprefix("./")
                _check_member(member, name)
                yield name, member.size, archive.extractfile(member)
                archive.members = []  # it would remember all of them
    except (tarfile.TarError, EOFError) as error:
        raise ArrivedWrong(f"the files of the board arrived incomplete: {error}") from error


def _check_member(member: tarfile.TarInfo, name: str) -> None:
    try:
        check_name(name)
    except ConfigError as error:
        raise BoardError(f"the board sent {error}") from None
    if not member.isreg():
        raise BoardError(f"the board sent {name!r}, a hard link; accepted: plain files, as `cp` makes them")


def write_down(content: Any, size: int, path: Path) -> str:
    """The content, as a new file; its hash. A file shorter than it said is refused."""
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for data in _pieces(content):
            digest.update(data)
            size -= len(data)
            file.write(data)
    if size:
        raise ArrivedWrong(f"{path.name}: {abs(size)} bytes too {'few' if size > 0 else 'many'} arrived")
    return digest.hexdigest()


def hash_of(content: Any) -> str:
    digest = hashlib.sha256()
    for data in _pieces(content):
        digest.update(data)
    return digest.hexdigest()


def _pieces(content: Any) -> Iterator[bytes]:
    try:
        while data := content.read(PIECE):
            yield data
    except tarfile.TarError as error:
        raise ArrivedWrong(f"the files of the board arrived incomplete: {error}") from error


def differing(sent: Mapping[str, str], arrived: Mapping[str, str]) -> list[str]:
    """The names whose content is not the same on both sides, or that are on one side only."""
    return sorted(name for name in sent.keys() | arrived.keys() if sent.get(name) != arrived.get(name))
