"""Files to a board and back: as one stream where the board has tar, checked by hash, seen by others only when whole."""

from __future__ import annotations

import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_evalrun.remote import fallback
from pytest_evalrun.remote.command import PACKET
from pytest_evalrun.remote.faults import ArrivedWrong, BoardError
from pytest_evalrun.remote.hashes import SUM_ALL, hash_on, parse
from pytest_evalrun.remote.shell import PLAIN
from pytest_evalrun.remote.tarstream import (
    SUMS,
    Readable,
    TarEntry,
    TarWriter,
    check_name,
    differing,
    hash_of,
    read_files,
    write_down,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.remote.command import RemoteCommand
    from pytest_evalrun.remote.connection import Connection

_WRONG = 72
# From so many bytes on it pays to start the processes that the faster tool needs.
_LARGE = 8 << 20
_MOMENT = 1.0
_FREE = 3  # the column of df that says how much is left

# $1: where it shall be seen, $2: where it is made, $5: a directory that shall be empty. Standard input is read to its
# end, whatever tar does with it.
_UNPACK = (
    PLAIN
    + """
mkdir -p -- "$2" && cd -- "$2" || exit 1
tar -xof - || exit 1
cat > /dev/null
"""
)
# $3: what takes a list of SHA-256, $4: a faster tool without lists, whose words are made to look like the list's.
_VERIFY = f"""
sums() {{ find . -type f ! -name {SUMS} -exec $1 {{}} + | sed 's/ [*]/  /' | sort; }}
if [ -s {SUMS} ] && {{ [ -z "$4" ] || [ "$(sums "$4")" != "$(sort {SUMS})" ]; }}; then
    $3 -c {SUMS} > .evalrun-checked 2>/dev/null || {{
        grep -v ': OK$' .evalrun-checked | head -n 5
        exit {_WRONG}
    }}
fi
"""
_SHOW = f"""
rm -f {SUMS} .evalrun-checked
cd .. && rm -rf -- "$1" && mv -- "$2" "$1" || exit 1
[ -z "$5" ] || {{ rm -rf -- "$5" && mkdir -- "$5"; }}
"""
_EMPTY = 'rm -rf -- "$1" && mkdir -- "$1"'
# $1: where it shall be seen, $2: where it is made, $3: its parent, $4: how to make SHA-256.
_UNPACK_ONE = (
    PLAIN
    + """
mkdir -p -- "$3" || exit 1
if [ "$4" ]; then
    { tee -- "$2" || echo "cannot be written" >&2; } | $4
    [ -f "$2" ]
else
    cat > "$2"
fi
"""
)
_SIZE = 'wc -c < "$1"'
_PACK = 'cd -- "$1" && exec tar -cf - .'


@dataclass(frozen=True)
class Moved:
    """How many files went over, and how many bytes of content they had."""

    files: int
    size: int


def upload(board: Connection, entries: Sequence[TarEntry], target: str, empty: str = "") -> Moved:
    """The files, as the directory ``target`` of the board, which takes the place of an older one.

    ``empty`` is a directory that is made anew at the same time, with nothing in it.
    Raises ArrivedWrong, LinkLost (trying again may help), BoardError (a full disk; nothing is left behind).
    """
    for entry in entries:
        check_name(entry.name)
    aside = _aside(target)
    try:
        if board.facts.tar and board.facts.sha256:
            return _stream_up(board, entries, target, aside, empty)
        if empty:
            board.must(f"making {empty}", _EMPTY, empty)
        if board.facts.tar:
            return _stream_up(board, entries, target, aside, "")
        return Moved(len(entries), fallback.upload(board, entries, target, aside))
    except BoardError:
        board.run('rm -rf -- "$1"', aside)
        raise


def download(board: Connection, source: str, target: Path) -> Moved:
    """All files below the directory ``source``, over what ``target`` has of the same names, each at once."""
    aside = target / f".evalrun-{secrets.token_hex(4)}"
    aside.mkdir(parents=True)
    try:
        found = _stream_down(board, source, aside) if board.facts.tar else fallback.download(board, source, aside)
        size = 0
        for name in found:
            size += (aside / name).stat().st_size
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).replace(target / name)
        return Moved(len(found), size)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def upload_file(board: Connection, path: Path, target: str, digest: str) -> Moved:
    """One file, however large, that has this SHA-256; the board makes its own while it is written."""
    aside = _aside(target)
    try:
        arrived = _stream_one(board, path, target, aside)
        size = _check_arrived(board, path, target, aside, changed=arrived != digest)
        board.must(f"naming {target}", 'mv -f -- "$1" "$2"', aside, target)
        return Moved(1, size)
    except (BoardError, ArrivedWrong):
        board.run('rm -f -- "$1"', aside)
        raise


def _check_arrived(board: Connection, path: Path, target: str, aside: str, *, changed: bool) -> int:
    """The size, which is that of the file on the board's disk, too."""
    if changed:
        raise ArrivedWrong(f"board {board.name}: {path} did not arrive as it was, or was changed on the way")
    size = path.stat().st_size
    if (found := int(board.must(f"writing {target}", _SIZE, aside).text)) != size:
        raise BoardError(f"board {board.name}: {target} has {found} bytes of {size}; {_space(board, target)}")
    return size


def _aside(target: str) -> str:
    """Name a file in the same directory that nobody looks at."""
    place = PurePosixPath(target)
    return str(place.parent / f".evalrun-{secrets.token_hex(4)}-{place.name[:100]}")


def _stream_up(board: Connection, entries: Sequence[TarEntry], target: str, aside: str, empty: str) -> Moved:
    sha = board.facts.sha256
    script = _UNPACK + _VERIFY + _SHOW if sha else _UNPACK
    writer = TarWriter(entries)
    large = sum(entry.path.stat().st_size for entry in entries) >= _LARGE
    fast = board.facts.hash if large and board.facts.hash != sha else ""
    with board.start(script, [target, aside, sha, fast, empty]) as command:
        said = command.exchange(_ahead(iter(writer)))
        code = command.code()
        complaint = (command.complaint() or said).decode(errors="replace").strip()
    if code == _WRONG:
        raise ArrivedWrong(f"board {board.name}: files arrived changed: {said.decode(errors='replace').strip()}")
    if code:
        raise BoardError(f"board {board.name}: writing {target} failed: {complaint}; {_space(board, target)}")
    if not sha:
        _read_back(board, writer.sums, target, aside)
    return Moved(len(entries), writer.size)


def _ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The next piece is read and hashed while this one is encrypted and sent."""
    with ThreadPoolExecutor(1, "evalrun-read") as pool:
        coming = pool.submit(next, pieces, b"")
        while piece := coming.result():
            coming = pool.submit(next, pieces, b"")
            yield piece


def _read_back(board: Connection, sums: Mapping[str, str], target: str, aside: str) -> None:
    """A board that cannot make hashes is asked for what it has."""
    board.must("tidying", 'rm -f -- "$1"', f"{aside}/{SUMS}")
    with board.start(PLAIN + _PACK, [aside]) as command:
        stream = Readable(lambda size: command.receive(size))
        arrived = {name: hash_of(content) for name, _, content in read_files(stream)}
    fallback.settle(board, sums, arrived, target, aside)


def _stream_down(board: Connection, source: str, aside: Path) -> Mapping[str, str]:
    """The board makes its hashes while it sends."""
    sha = board.facts.sha256
    with board.start(PLAIN + SUM_ALL, [source, sha]) as summing, board.start(PLAIN + _PACK, [source]) as packing:
        summing.end_input()
        packing.end_input()
        arrived = _unpack(board, packing, aside)
        told = parse(summing.all_output()) if sha else arrived
    if wrong := differing(told, arrived):
        raise ArrivedWrong(f"board {board.name}: files came back changed: {', '.join(wrong[:5])}")
    return arrived


def _unpack(board: Connection, packing: RemoteCommand, aside: Path) -> dict[str, str]:
    stream = Readable(lambda size: packing.receive(size))
    broken: ArrivedWrong | None = None
    arrived: dict[str, str] = {}
    try:
        for name, size, content in read_files(stream):
            arrived[name] = write_down(content, size, aside / name)
        stream.drain()
    except ArrivedWrong as error:
        if not packing.ended(_MOMENT):  # it has more to send, which nobody wants
            raise
        broken = error
    # What tar says of itself comes first: a stream cut off is only what follows from it.
    if code := packing.code(board.limits.connect):
        complaint = packing.complaint().decode(errors="replace").strip()
        if code > 0 and complaint:
            raise BoardError(f"board {board.name}: reading its files failed: {complaint}")
    if broken:
        raise broken
    return arrived


def _stream_one(board: Connection, path: Path, target: str, aside: str) -> str:
    """The hash of what the board has now."""
    sha = board.facts.hash if board.facts.tee else ""
    with board.start(_UNPACK_ONE, [target, aside, str(PurePosixPath(target).parent), sha]) as command:
        with path.open("rb", buffering=0) as file:
            said = command.exchange(iter(lambda: file.read(PACKET), b"")).decode(errors="replace")
        code = command.code()
        complaint = command.complaint().decode(errors="replace").strip()
    if code or complaint:
        raise BoardError(f"board {board.name}: writing {target} failed: {complaint}; {_space(board, target)}")
    return said.partition(" ")[0] if sha else hash_on(board, aside)


def _space(board: Connection, target: str) -> str:
    """How full the board is, as a hint."""
    lines = board.run('df -Pk -- "$1" 2>/dev/null', str(PurePosixPath(target).parent)).text.splitlines()
    words = lines[-1].split() if len(lines) > 1 else []
    if len(words) <= _FREE or not words[_FREE].isdecimal():
        return "how much is free there is unknown"
    return f"{int(words[_FREE]) / 1024:.0f} MB are free there"
