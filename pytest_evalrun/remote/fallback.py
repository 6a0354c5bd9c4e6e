"""File by file, for boards without tar: by SFTP, and by ``cat`` where there is none either."""

from __future__ import annotations

import hashlib
import posixpath
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pytest_evalrun.remote.faults import ArrivedWrong, BoardError
from pytest_evalrun.remote.hashes import CAT, hashes_below, succeed
from pytest_evalrun.remote.link import broken
from pytest_evalrun.remote.shell import PLAIN
from pytest_evalrun.remote.tarstream import check_name, differing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.remote.connection import Connection
    from pytest_evalrun.remote.tarstream import TarEntry

# One SFTP packet with its head is one SSH packet.
WRITE = (1 << 15) - 128
_CAT_TO = 'exec cat > "$1"'
_LIST = 'cd -- "$1" && find . -type f'


def upload(board: Connection, entries: Sequence[TarEntry], target: str, aside: str) -> int:
    """As :func:`transfer.upload`; how many bytes went over."""
    places = {posixpath.dirname(f"{aside}/{entry.name}") for entry in entries} | {aside}
    made = "".join(f"{place}\0" for place in sorted(places)).encode(errors="surrogateescape")
    board.must(f"making {target}", 'rm -rf -- "$1" && exec xargs -0 mkdir -p --', aside, data=made)
    sums: dict[str, str] = {}
    size = 0
    with _files(board) as files:
        for entry in entries:
            sums[entry.name], length = files.put(entry.path, f"{aside}/{entry.name}")
            size += length
    settle(board, sums, hashes_below(board, aside, sums), target, aside)
    return size


def download(board: Connection, source: str, aside: Path) -> Mapping[str, str]:
    """As :func:`transfer.download`, into the directory ``aside``; the hashes of what arrived."""
    listed = board.must(f"listing {source}", _LIST, source).text.splitlines()
    arrived: dict[str, str] = {}
    with _files(board) as files:
        for name in (line.removeprefix("./") for line in listed):
            check_name(name)
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            arrived[name] = files.get(f"{source}/{name}", aside / name)
    if board.facts.sha256 and (wrong := differing(hashes_below(board, source, ()), arrived)):
        raise ArrivedWrong(f"board {board.name}: files came back changed: {', '.join(wrong[:5])}")
    return arrived


def settle(board: Connection, sent: Mapping[str, str], arrived: Mapping[str, str], target: str, aside: str) -> None:
    """Put what is aside in its place if it is what was sent; else it goes."""
    if wrong := differing(sent, arrived):
        board.run('rm -rf -- "$1"', aside)
        raise ArrivedWrong(f"board {board.name}: files arrived changed: {', '.join(wrong[:5])}")
    board.must(f"naming {target}", 'rm -rf -- "$1" && mv -- "$2" "$1"', target, aside)


@contextmanager
def _files(board: Connection) -> Iterator[_Sftp | _Cat]:
    link = board.link()
    try:
        client = link.transport.open_sftp_client()
    except broken():  # no such subsystem; where the link is lost, the next command tells
        yield _Cat(board)
        return
    try:
        yield _Sftp(client)
    except broken() as error:
        if link.lost:
            raise link.gone() from error
        raise BoardError(f"board {board.name}: SFTP failed: {error}") from error
    finally:
        with suppress(*broken()):
            client.close()


class _Sftp:
    """Writes that nobody waits for one by one; the last one waits for all, or errors of them would be lost."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def put(self, path: Path, target: str) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as file, self._client.open(target, "wb") as there:
            there.set_pipelined(True)
            data = file.read(WRITE)
            while data:
                digest.update(data)
                size += len(data)
                after = file.read(WRITE)
                there.set_pipelined(bool(after))
                there.write(data)
                data = after
        return digest.hexdigest(), size

    def get(self, source: str, path: Path) -> str:
        digest = hashlib.sha256()
        with self._client.open(source, "rb") as there, path.open("xb") as file:
            there.prefetch()
            while data := there.read(WRITE):
                digest.update(data)
                file.write(data)
        return digest.hexdigest()


class _Cat:
    """A command a file."""

    def __init__(self, board: Connection) -> None:
        self._board = board

    def put(self, path: Path, target: str) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with self._board.start(PLAIN + _CAT_TO, [target]) as command, path.open("rb") as file:
            while (data := file.read(WRITE)) and command.send(data):
                digest.update(data)
                size += len(data)
            command.end_input()
            succeed(self._board, target, command)
        return digest.hexdigest(), size

    def get(self, source: str, path: Path) -> str:
        digest = hashlib.sha256()
        with self._board.start(PLAIN + CAT, [source]) as command, path.open("xb") as file:
            command.end_input()
            for data in command.output():
                digest.update(data)
                file.write(data)
            succeed(self._board, source, command)
        return digest.hexdigest()
