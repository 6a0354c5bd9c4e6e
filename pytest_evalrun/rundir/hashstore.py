"""The SQLite file behind the hash cache: four tables of key, stat and value, written in batches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

FORMAT = 1
TABLES = ("files", "trees", "derived", "manifests")
MOST_WAITING = 5000
# Trees and what is derived get a new row with each change of their files; the oldest are dropped beyond this many.
MOST_ROWS = 100_000
MOST_MANIFEST_BYTES = 64 << 20
BUSY_SECONDS = 5.0

_MAKE = tuple(
    f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, key BLOB UNIQUE, stat TEXT, value BLOB)"
    for table in TABLES
)
_GET = {table: f"SELECT value FROM {table} WHERE key = ? AND stat = ?" for table in TABLES}  # noqa: S608 - constants
_PUT = {table: f"INSERT OR REPLACE INTO {table} (key, stat, value) VALUES (?, ?, ?)" for table in TABLES}  # noqa: S608
_DROP = {
    table: f"DELETE FROM {table} WHERE id <= (SELECT MAX(id) FROM {table}) - {MOST_ROWS}"  # noqa: S608 - constants
    for table in ("trees", "derived")
}
_DROP_MANIFESTS = """
    DELETE FROM manifests WHERE id IN (
        SELECT id FROM (SELECT id, SUM(LENGTH(value)) OVER (ORDER BY id DESC) AS total FROM manifests) WHERE total > ?)
"""


class HashStore:
    """What is put is seen by this process at once, and by others after ``commit``.

    Where the file cannot be opened or written, nothing is kept, and that is no error.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._db: sqlite3.Connection | None = None
        self._tried = False
        self._repaired = False
        self._refused = False
        self._waiting: dict[tuple[str, bytes], tuple[str, bytes]] = {}

    def get(self, table: str, key: bytes, stat: str) -> bytes | None:
        waiting = self._waiting.get((table, key))
        if waiting is not None:
            return waiting[1] if waiting[0] == stat else None
        rows = self._try(lambda db: db.execute(_GET[table], (key, stat)).fetchone())
        return bytes(rows[0]) if rows else None

    def put(self, table: str, key: bytes, stat: str, value: bytes) -> None:
        self._waiting[table, key] = (stat, value)
        if len(self._waiting) >= MOST_WAITING:
            self.commit()

    def commit(self) -> None:
        """All that waits in one transaction. What cannot be written is forgotten: it is only a cache."""
        if not self._waiting:
            return
        self._tried = self._db is not None  # the work directory may have been made meanwhile
        self._try(self._write)
        self._waiting.clear()

    def close(self) -> None:
        self.commit()
        if self._db is not None:
            self._try(self._tidy)
            self._disconnect()

    def _write(self, db: sqlite3.Connection) -> None:
        with db:
            db.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                rows = [(key, *value) for (of, key), value in self._waiting.items() if of == table]
                db.executemany(_PUT[table], rows)

    def _tidy(self, db: sqlite3.Connection) -> None:
        if db.total_changes:
            with db:
                db.execute("BEGIN IMMEDIATE")
                for statement in _DROP.values():
                    db.execute(statement)
                db.execute(_DROP_MANIFESTS, (MOST_MANIFEST_BYTES,))

    def _try(self, action: Callable[[sqlite3.Connection], Any]) -> Any:
        """What the action returns; None without a file, or where it is locked, full or read-only."""
        import sqlite3

        try:
            db = self._connected()
            return None if db is None else action(db)
        except sqlite3.OperationalError:
            return None
        except sqlite3.DatabaseError as error:
            return self._try(action) if self._removed(error) else None

    def _connected(self) -> sqlite3.Connection | None:
        if self._tried:
            return self._db
        import sqlite3

        self._tried = True
        if os.path.lexists(self._path) and not self._path.is_file():
            if not self._refused:
                self._warn(f"{self._path}: it is no file: no hash is kept, files are read again each time")
            self._refused = True
            return None
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db)
        except sqlite3.Error:
            db.close()
            raise
        self._db = db
        return db

    def _removed(self, error: Exception) -> bool:
        """A damaged file is made anew, once: its journal must go with it, or it would be played into the new one."""
        self._disconnect()
        if self._repaired:
            return False
        self._repaired = True
        try:
            for suffix in ("", "-journal"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return False
        self._warn(f"{self._path}: the hash cache was damaged ({error}) and is made anew; files are read again once")
        self._tried = False
        return True

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _prepare(db: sqlite3.Connection) -> None:
    """Tables, where there are none. Without syncs: a power cut costs the cache, never a wrong answer."""
    import sqlite3

    db.execute("PRAGMA synchronous = OFF")
    if _version(db) == FORMAT:
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        if (version := _version(db)) not in {0, FORMAT}:
            raise sqlite3.DatabaseError(f"format {version}; known here: {FORMAT}")
        for statement in _MAKE:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {FORMAT}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
