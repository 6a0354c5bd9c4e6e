"""The ids that a dataset has, with their positions, in a file: memory does not grow with the samples."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CACHE_KIB = 16_000


def scratch(directory: Path) -> sqlite3.Connection:
    """A database for as long as it is open: its file has no name, so that not even a killed process leaves it."""
    fd, path = tempfile.mkstemp(prefix=".merge-", dir=directory)
    os.close(fd)
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", f"cache_size = -{CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}").close()
    database.executescript("BEGIN EXCLUSIVE; COMMIT")
    Path(path).unlink()
    return database


def as_bytes(text: str) -> bytes:
    """What a file had; text that was not UTF-8 included."""
    return text.encode("utf-8", "surrogateescape")


class ExpectedIds:
    """Ids in dataset order, read once from ``ids``.

    Programs answer in dataset order as a rule, so the next position is tried before the index is asked.
    """

    def __init__(self, directory: Path, ids: Iterable[str]) -> None:
        self._database = scratch(directory)
        self._database.execute("CREATE TABLE ids (position INTEGER PRIMARY KEY, id BLOB)")
        self._database.execute("BEGIN")
        rows = ((position, as_bytes(each)) for position, each in enumerate(ids))
        self.count = max(0, self._database.executemany("INSERT INTO ids VALUES (?, ?)", rows).rowcount)
        self._database.execute("COMMIT")
        self._indexed = False
        self._next: Iterator[tuple[int, bytes]] = iter(())
        self._last: tuple[int, bytes] | None = None
        self.seek(0)

    def position(self, text: str) -> int | None:
        """Where the dataset has it; None for what it has not."""
        wanted = as_bytes(text)
        if self._last is None or self._last[1] != wanted:
            following = next(self._next, None)
            if following is None or following[1] != wanted:
                following = self._look_up(wanted)
                self.seek(following[0] + 1 if following else 0)
            self._last = following
        return self._last[0] if self._last else None

    def seek(self, position: int) -> None:
        """Where the next answers are expected."""
        self._next = self._database.execute("SELECT position, id FROM ids WHERE position >= ?", (position,))

    def _look_up(self, wanted: bytes) -> tuple[int, bytes] | None:
        if not self._indexed:
            self._next = iter(())  # an index cannot be made while the table is being read
            self._database.execute("CREATE INDEX by_id ON ids (id)")
            self._indexed = True
        with closing(self._database.execute("SELECT min(position) FROM ids WHERE id = ?", (wanted,))) as found:
            (position,) = found.fetchone()
        return None if position is None else (position, wanted)

    def at(self, position: int) -> str:
        (found,) = self._database.execute("SELECT id FROM ids WHERE position = ?", (position,)).fetchone()
        return bytes(found).decode("utf-8", "surrogateescape")

    def close(self) -> None:
        self._database.close()
