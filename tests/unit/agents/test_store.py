"""The database of a controller: what the next process knows."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.agents.controller.core import Core
from pytest_evalrun.agents.controller.overview import ControllerLists
from pytest_evalrun.agents.controller.store import Store
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = 5.0


def opened(path: Path) -> tuple[Core, Store]:
    store = Store(path)
    core = Core(60.0, store.ids(), store)
    store.restore(core, 100.0)
    return core, store


def filled(core: Core, store: Store) -> None:
    worker = core.heartbeat("os", "http://w", 3, [0, "one"], LONG_AGO)
    core.seen(worker, LONG_AGO)
    store.keep_worker(worker)
    store.keep_indices("os", worker.indices)


def test_sessions_and_workers_are_known_after_a_restart(tmp_path: Path) -> None:
    """Another process knows tasks, workers, sessions and their conversations, and gives numbers that nobody had."""
    core, store = opened(tmp_path / "c.db")
    filled(core, store)
    first, second, third = (core.choose("os", index, LONG_AGO) for index in (0, "one", 0))
    for session in (first, second, third):
        core.answered(session.id, LONG_AGO)
    store.keep_messages(second.id, 0, [{"role": "user", "content": "a"}])
    store.keep_messages(second.id, 1, [{"role": "assistant", "content": "b"}])
    store.keep_messages(third.id, 0, [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}])
    store.keep_messages(third.id, 0, [{"role": "user", "content": "z"}])
    core.ended(first.id, 6.0)
    store.close()

    core, store = opened(tmp_path / "c.db")
    assert {number: one.index for number, one in core.sessions.items()} == {second.id: "one", third.id: 0}
    assert core.tasks["os"].indices == [0, "one"]
    worker = core.tasks["os"].workers[0]
    assert (worker.address, worker.limit, worker.current) == ("http://w", 3, 2)
    assert core.sessions[second.id].start == LONG_AGO
    assert [message["content"] for message in store.messages(second.id)] == ["a", "b"]
    assert [message["content"] for message in store.messages(third.id)] == ["z"]
    core.seen(worker, 100.0)
    assert core.choose("os", 0, 100.0).id > third.id
    core.ended(second.id, 101.0)
    assert store.messages(second.id) == []
    store.close()


def test_indices_that_are_no_plain_numbers_and_texts_are_kept_and_listed(tmp_path: Path) -> None:
    """A number beyond 64 bits and half a character are indices as others: of a restart, and in lists for all."""
    indices: list[int | str] = [2**70, "\ud800"]
    core, store = opened(tmp_path / "controller.db")
    worker = core.heartbeat("odd", "http://w0", 1, indices, 0.0)
    store.keep_indices("odd", worker.indices)
    store.keep_worker(worker)
    core.adopt(worker, {}, (), 0.0)
    core.answered(core.choose("odd", 2**70, 0.0).id, 0.0)
    store.close()
    core, store = opened(tmp_path / "controller.db")
    lists = ControllerLists(core)
    assert parse_json(lists.workers(0.0))["odd"]["indices"] == indices
    assert [one["index"] for one in parse_json(lists.sessions()).values()] == [2**70]
    store.close()


def test_a_session_whose_worker_is_forgotten_is_forgotten_too(tmp_path: Path) -> None:
    """What belongs to no worker is not restored."""
    core, store = opened(tmp_path / "c.db")
    filled(core, store)
    session = core.choose("os", 0, LONG_AGO)
    core.answered(session.id, LONG_AGO)
    store.forget_worker(session.worker)
    store.close()
    core, store = opened(tmp_path / "c.db")
    assert core.sessions == {}
    store.close()


def test_one_database_is_one_controllers(tmp_path: Path) -> None:
    """Who comes second is told whose the file is, in one line; when that one ends the file is free."""
    _, store = opened(tmp_path / "c.db")
    with pytest.raises(ConfigError, match=rf"c\.db: another controller has it \(PID {os.getpid()}\)") as refusal:
        Store(tmp_path / "c.db")
    assert "\n" not in str(refusal.value)
    store.close()
    Store(tmp_path / "c.db").close()


def test_a_damaged_row_costs_what_it_is_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Other sessions are known; a conversation is, as far as it can be read; the log says what is not."""
    core, store = opened(tmp_path / "c.db")
    filled(core, store)
    first, second = (core.choose("os", index, LONG_AGO) for index in (0, "one"))
    for session in (first, second):
        core.answered(session.id, LONG_AGO)
    store.keep_messages(second.id, 0, [{"role": "user", "content": word} for word in "abc"])
    store.close()
    with sqlite3.connect(tmp_path / "c.db") as database:
        database.execute("UPDATE session SET sample = ? WHERE id = ?", (b"\xff{", first.id))
        database.execute("UPDATE message SET body = '{\"role' WHERE place = 1")
        database.execute("INSERT INTO task VALUES ('other', '7')")
        database.execute("INSERT INTO worker VALUES ('other', 1, 'http://o', 1)")
    core, store = opened(tmp_path / "c.db")
    assert [*core.sessions] == [second.id]
    assert [*core.tasks] == ["os"]
    assert [message["content"] for message in store.messages(second.id)] == ["a"]
    assert f"session {first.id} is damaged" in caplog.text
    store.close()
    core, store = opened(tmp_path / "c.db")
    assert [*core.sessions] == [second.id]
    store.close()


def test_a_damaged_database_is_told_with_the_way_out(tmp_path: Path) -> None:
    """In one line, before anything is served."""
    core, store = opened(tmp_path / "c.db")
    filled(core, store)
    store.close()
    with (tmp_path / "c.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4 * 4096))
    with pytest.raises(ConfigError, match=r"c\.db: .*--db"):
        opened(tmp_path / "c.db")


@pytest.mark.parametrize("what", ["text", "version", "directory"])
def test_a_file_that_is_no_database_of_ours_is_refused(tmp_path: Path, what: str) -> None:
    """A file of something else is told by its name, with the option that names another, and is left as it is."""
    path = tmp_path / "c.db"
    if what == "text":
        path.write_text("something else\n" * 100)
    elif what == "directory":
        path.mkdir()
    else:
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match=r"c\.db: .*--db"):
        Store(path)
    if what == "text":
        assert path.read_text().startswith("something else")
