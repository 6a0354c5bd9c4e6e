"""What the processes of one launch tell each other of boards."""

from __future__ import annotations

import threading

import pytest

from pytest_evalrun.remote.boardnotes import BoardNotes
from pytest_evalrun.suite.devices import DeviceSpec

SPEC = DeviceSpec("b1", "10.0.0.5", user="root", port=22, labels={"soc": "j5"}, identity_file=("/k",))


@pytest.fixture
def notes(tmp_path):
    return BoardNotes(tmp_path / "launch" / "devices")


def test_nothing_was_used_where_nobody_wrote(notes, tmp_path):
    """To look makes nothing."""
    assert notes.used() == []
    assert not notes.is_finished("s/t")
    assert not (tmp_path / "launch").exists()


def test_who_was_used_is_read_as_it_was_written(notes):
    """By any process: the whole way in, the home, and each model with its policy."""
    notes.use(SPEC, "/data", "m_model.bin", "1")
    notes.use(SPEC, "/data", "n 'x'_model.bin", "0")
    notes.use(SPEC, "/other")
    first, second = notes.used()
    assert (first.spec, second.spec) == (SPEC, SPEC)
    assert {used.home: used.models for used in (first, second)} == {
        "/data": {"m_model.bin": "1", "n 'x'_model.bin": "0"},
        "/other": {},
    }


def test_tasks_finish_one_by_one(notes):
    """Whatever they are called."""
    notes.finish("s/a task 任务")
    assert notes.is_finished("s/a task 任务")
    assert not notes.is_finished("s/a task")


def test_many_write_at_once(notes):
    """Nobody reads half a note, and none is lost."""

    def write(number):
        for model in range(20):
            notes.use(SPEC, "/data", f"m{number}_{model}", "1")
            assert all(used.spec == SPEC for used in notes.used())

    failed = []

    def work(number):
        try:
            write(number)
        except Exception as error:  # noqa: BLE001 - told by the test
            failed.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    (used,) = notes.used()
    assert len(used.models) == 80
