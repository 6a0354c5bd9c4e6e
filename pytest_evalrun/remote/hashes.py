"""SHA-256 of what a board has: made there where it can be, else here from what it sends."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from pytest_evalrun.remote.faults import BoardError
from pytest_evalrun.remote.shell import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalrun.remote.command import RemoteCommand
    from pytest_evalrun.remote.connection import Connection

CAT = 'exec cat -- "$1"'
# $2: how to make SHA-256; without it there is nothing to be said.
SUM_ALL = 'cd -- "$1" && { [ "$2" ] || exit 0; } && exec find . -type f -exec $2 {} +'


def hash_on(board: Connection, path: str) -> str:
    """Make the hash of one file."""
    if tool := board.facts.hash:
        return board.must(f"reading {path}", 'exec $2 < "$1"', path, tool).text.partition(" ")[0]
    digest = hashlib.sha256()
    with board.start(PLAIN + CAT, [path]) as command:
        command.end_input()
        for piece in command.output():
            digest.update(piece)
        succeed(board, path, command)
    return digest.hexdigest()


def hashes_below(board: Connection, directory: str, names: Iterable[str]) -> dict[str, str]:
    """Make the hashes of all files below a directory; ``names`` are asked for where the board makes none itself."""
    if sha := board.facts.sha256:
        return parse(board.must(f"reading {directory}", SUM_ALL, directory, sha).out)
    return {name: hash_on(board, f"{directory}/{name}") for name in names}


def parse(text: bytes) -> dict[str, str]:
    """Read what sha256sum writes, by name: a backslash in front means that the name is escaped."""
    found = {}
    for line in os.fsdecode(text).splitlines():
        digest, _, name = line.partition("  ")
        if digest.startswith("\\"):
            digest, name = digest[1:], name.replace("\\\\", "\\")
        found[name.removeprefix("./")] = digest
    return found


def succeed(board: Connection, path: str, command: RemoteCommand) -> None:
    """Raises BoardError with the words of a command that failed."""
    if command.code():
        complaint = command.complaint().decode(errors="replace").strip()
        raise BoardError(f"board {board.name}: {path}: {complaint}")
