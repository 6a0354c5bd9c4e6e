"""What outlives a controller: numbers of sessions that were given, tasks, workers, sessions, conversations. SQLite.

Each call is a transaction of its own that the kernel has when it returns: kill -9 loses none of them, and a power cut
may lose the last ones. A database is one controller's at a time, which a lock beside it sees to.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.controller.core import Core, Ids
from pytest_evalrun.agents.controller.roster import SampleSession, TaskWorker
from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.wire.dialects import encode_body
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.agents.protocol import Index, Message

_LOG = logging.getLogger(__name__)
# Raised where tables change: a file of another version is refused.
VERSION = 1
_FIRST_ID = 1
_DAMAGED = object()
_TABLES = """
CREATE TABLE given (only INTEGER PRIMARY KEY CHECK (only = 0), base INTEGER NOT NULL, upto INTEGER NOT NULL);
CREATE TABLE task (name TEXT PRIMARY KEY, indices BLOB NOT NULL);
CREATE TABLE worker (
  name TEXT NOT NULL, id INTEGER NOT NULL, address TEXT NOT NULL, concurrency INTEGER NOT NULL, PRIMARY KEY (name, id)
);
CREATE TABLE session (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, sample BLOB NOT NULL, worker INTEGER NOT NULL, start REAL NOT NULL
);
CREATE TABLE message (session INTEGER NOT NULL, place INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (session, place)) WITHOUT ROWID;
"""


class Store:
    """The database of a controller, and the journal of its core.

    Raises ConfigError where another controller has it, and where the file is no such database.
    """

    def __init__(self, path: Path) -> None:
        import sqlite3

        self.path = path
        self._error = sqlite3.Error
        self._with_messages: set[int] = set()
        self._lock = _lock_of(path)
        self._db: sqlite3.Connection | None = None
        try:
            with suppress(OSError):  # SQLite says why; what it adds to the file is as private as that
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._open(self._db)
        except sqlite3.Error as error:
            self.close()
            raise ConfigError(f"{path}: not the database of a controller ({error}): name another with --db") from None

    def _open(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            self.close()
            raise ConfigError(
                f"{self.path}: made by another version ({version}, not {VERSION}): name another with --db"
            )
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        if version == 0:
            database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT")

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._lock.close()

    def _read(self, sql: str, *values: Any) -> list[Any]:
        assert self._db is not None
        return self._db.execute(sql, values).fetchall()

    def _write(self, sql: str, *rows: Sequence[Any]) -> None:
        """Write rows in one transaction. A disk that is full costs what a restart knows, and no sample that runs."""
        assert self._db is not None
        try:
            if len(rows) == 1:
                self._db.execute(sql, rows[0])
                return
            self._db.execute("BEGIN")
            self._db.executemany(sql, rows)
            self._db.execute("COMMIT")
        except self._error as error:
            _LOG.error("%s: %s: a restart will not know all sessions", self.path, error)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def ids(self) -> Ids:
        """Go on behind all numbers that may have been given."""
        with self._undamaged():
            given = self._read("SELECT base, upto FROM given")
        for base, upto in given:
            return Ids(base, upto, self._reserve)
        return Ids(_FIRST_ID, _FIRST_ID, self._reserve)

    def _reserve(self, base: int, upto: int) -> None:
        """Raises NotGranted (500): what is not reserved must not be given."""
        try:
            self._read("INSERT OR REPLACE INTO given VALUES (0, ?, ?)", base, upto)
        except self._error as error:
            _LOG.error("%s: %s: no session can begin", self.path, error)
            raise NotGranted(500, f"Error: the controller cannot write its database: {error}") from None

    def restore(self, core: Core, now: float) -> None:
        """Tell a core what was kept: workers, all silent, and their sessions, whose agents have a new lease.

        A row that is damaged costs what it is of: workers tell again what they have. Raises ConfigError for a damaged
        database.
        """
        with self._undamaged():
            tasks = self._read("SELECT name, indices FROM task")
            workers = self._read("SELECT name, id, address, concurrency FROM worker ORDER BY name, id")
            sessions = self._read("SELECT id, name, worker, start, sample FROM session ORDER BY id")
            self._with_messages = {row[0] for row in self._read("SELECT DISTINCT session FROM message")}
        indices = {name: found for name, text in tasks if isinstance(found := self._parsed(text, f"task {name}"), list)}
        for name, number, address, concurrency in workers:
            if name in indices:
                core.remember(TaskWorker(number, name, address, concurrency, now, indices[name]))
        for number, name, worker, start, sample in sessions:
            task = core.tasks.get(name)
            index = self._parsed(sample, f"session {number}")
            if task is None or worker not in task.workers or index is _DAMAGED:
                self._forget(number)
            else:
                core.restore(task.workers[worker], number, index, now, start)

    @contextmanager
    def _undamaged(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise ConfigError(
                f"{self.path}: cannot be read ({error}): move it away, or name another with --db; what ran begins again"
            ) from None

    def _parsed(self, text: bytes, what: str) -> Any:
        try:
            return parse_json(text)
        except (ValueError, TypeError) as error:
            _LOG.error("%s: %s is damaged and not known any more: %s", self.path, what, error)
            return _DAMAGED

    # The journal.

    def began(self, session: SampleSession) -> None:
        row = (session.id, session.name, encode_body(session.index), session.worker.id, session.start)
        self._write("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?)", row)

    def ended(self, session: SampleSession) -> None:
        self._forget(session.id)

    def _forget(self, number: int) -> None:
        self._write("DELETE FROM session WHERE id = ?", (number,))
        if number in self._with_messages:
            self._with_messages.discard(number)
            self._write("DELETE FROM message WHERE session = ?", (number,))

    # Workers.

    def keep_worker(self, worker: TaskWorker) -> None:
        """Keep where a worker is; anybody who was known at its address before is forgotten."""
        self._write("DELETE FROM worker WHERE name = ? AND address = ?", (worker.name, worker.address))
        row = (worker.name, worker.id, worker.address, worker.concurrency)
        self._write("INSERT OR REPLACE INTO worker VALUES (?, ?, ?, ?)", row)

    def keep_indices(self, name: str, indices: Sequence[Index]) -> None:
        self._write("INSERT OR REPLACE INTO task VALUES (?, ?)", (name, encode_body(indices)))

    def forget_worker(self, worker: TaskWorker) -> None:
        self._write("DELETE FROM worker WHERE name = ? AND id = ?", (worker.name, worker.id))

    # Conversations.

    def keep_messages(self, number: int, place: int, messages: Iterable[Message]) -> None:
        """Keep messages of a conversation from ``place`` on; with 0 it is the whole of it."""
        if place == 0 and number in self._with_messages:
            self._write("DELETE FROM message WHERE session = ?", (number,))
        self._with_messages.add(number)
        rows = [(number, place + at, encode_body(message)) for at, message in enumerate(messages)]
        self._write("INSERT OR REPLACE INTO message VALUES (?, ?, ?)", *rows)

    def messages(self, number: int) -> list[Message]:
        """Read the conversation of a session, as far as it was kept."""
        if number not in self._with_messages:
            return []
        rows = self._read("SELECT body FROM message WHERE session = ? ORDER BY place", number)
        found = (self._parsed(body, f"a message of session {number}") for (body,) in rows)
        return [*takewhile(lambda message: message is not _DAMAGED, found)]


def _lock_of(path: Path) -> FileLock:
    """Lock the database. The file of the lock says who has it: for people, the kernel alone decides."""
    try:
        lock = FileLock.with_parents(path.with_name(f"{path.name}.lock"))
        taken = lock.take()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name another with --db") from None
    if not taken:
        holder = os.pread(lock.fileno(), 100, 0).decode(errors="replace").strip()
        lock.close()
        raise ConfigError(
            f"{path}: another controller has it ({holder or 'PID unknown'}): end that, or name another with --db"
        )
    with suppress(OSError):
        os.ftruncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), f"PID {os.getpid()}\n".encode(), 0)
    return lock
