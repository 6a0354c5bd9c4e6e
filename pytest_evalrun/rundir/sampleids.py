"""The ids that a dataset has, with their positions, in a file: memory does not grow with the samples."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CACHE_KIB = 16_000


def scratch(directory: Path | None = None) -> sqlite3.Connection:
    """A database for as long as it is open: its file has no name, so that not even a killed process leaves it.

    Without a directory it is a file only once it is larger than the cache, where the system keeps temporary ones.
    """
    if directory is None:
        return _unguarded(sqlite3.connect("", isolation_level=None))
    fd, path = tempfile.mkstemp(prefix=".merge-", dir=directory)
    os.close(fd)
    database = _unguarded(sqlite3.connect(path, isolation_level=None))
    database.executescript("BEGIN EXCLUSIVE; COMMIT")
    Path(path).unlink()
    return database


def _unguarded(database: sqlite3.Connection) -> sqlite3.Connection:
    """Nobody reads it after a crash, so that nothing is done for that."""
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", f"cache_size = -{CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}").close()
    return database


class SampleIds:
    """Ids in dataset order, read once from ``ids``.

    Programs answer in dataset order as a rule, so the next position is tried before the index is asked; once one came
    out of order, not before two came in order again.
    """

    def __init__(self, ids: Iterable[str], directory: Path | None = None) -> None:
        self._database = scratch(directory)
        self._database.execute("CREATE TABLE ids (position INTEGER PRIMARY KEY, id BLOB)")
        self._database.execute("BEGIN")
        rows = ((position, _key(each)) for position, each in enumerate(ids))
        self.count = max(0, self._database.executemany("INSERT INTO ids VALUES (?, ?)", rows).rowcount)
        self._database.execute("COMMIT")
        self._indexed = False
        self._next: Iterator[tuple[int, bytes]] = iter(())
        self._last: tuple[int | None, bytes] = None, b""
        self.seek(0)

    def position(self, text: str) -> int | None:
        """Find the position in the dataset; None for what it has not."""
        wanted = _key(text)
        before, same = self._last
        if before is None or same != wanted:
            following = next(self._next, None)
            if following is not None and following[1] == wanted:
                self._last = following
            else:
                found = self._look_up(wanted)
                if found is not None and before is not None and found == before + 1:
                    self.seek(found + 1)
                self._last = found, wanted
        return self._last[0]

    def seek(self, position: int) -> None:
        """Set the position at which the next answers are expected."""
        self._next = self._database.execute("SELECT position, id FROM ids WHERE position >= ?", (position,))

    def _look_up(self, wanted: bytes) -> int | None:
        self._next = iter(())  # an index cannot be made while the table is being read
        if not self._indexed:
            self._database.execute("CREATE INDEX by_id ON ids (id)")
            self._indexed = True
        (found,) = self._database.execute("SELECT min(position) FROM ids WHERE id = ?", (wanted,)).fetchone()
        return None if found is None else int(found)

    def at(self, position: int) -> str:
        (found,) = self._database.execute("SELECT id FROM ids WHERE position = ?", (position,)).fetchone()
        return bytes(found).decode("utf-8", "surrogatepass")

    def close(self) -> None:
        self._database.close()


def _key(text: str) -> bytes:
    """A program may have written half a character, or bytes that are no text, for an id: then no dataset has it."""
    return text.encode("utf-8", "surrogatepass")
