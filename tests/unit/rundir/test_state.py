"""The seed's state file: its seven lines, and how often it is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.rundir import state as module
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.state import RunningState, StateWriter, parse

if TYPE_CHECKING:
    from pathlib import Path

STATE = RunningState(3, 10, 5, 20, 1, 2, 1709543210, 200, 1000)
LINES = [
    "RUNNING_CURRENT_BATCH=3",
    "RUNNING_TOTAL_BATCHES=10",
    "RUNNING_BATCH_COMPLETED=5",
    "RUNNING_BATCH_TOTAL=20",
    "RUNNING_FAILED_BATCHES=1",
    "RUNNING_RETRY_COUNT=2",
    "RUNNING_TIMESTAMP=1709543210",
]


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def disk():
    disk = Disk(interval=3600)
    yield disk
    disk.close()


def batch(path: Path) -> int | None:
    found = parse(path.read_text()) if path.exists() else None
    return found and found.current_batch


def test_lines_two_to_eight_are_the_seeds() -> None:
    """Programs of the seed read the running fields by line number."""
    lines = STATE.render().splitlines()
    assert lines[0].startswith("#")
    assert lines[1:8] == LINES
    assert lines[8:] == ["MAX_BATCH_SIZE=200", "TOTAL_DATA=1000"]


@given(st.builds(RunningState, *[st.integers()] * 9))
def test_what_is_rendered_is_parsed(state: RunningState) -> None:
    """Parsing is the inverse of rendering."""
    assert parse(state.render()) == state


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("\0" * 300, id="zeros"),
        pytest.param(STATE.render()[:120], id="torn"),
        pytest.param(STATE.render().replace("=20", "=many"), id="no number"),
    ],
)
def test_damaged_state_is_none(text: str) -> None:
    """A damaged state file says nothing, and nothing wrong."""
    assert parse(text) is None


def test_state_of_a_shell_program_is_read() -> None:
    """Other lines, and another order, do not disturb."""
    lines = reversed([*STATE.render().splitlines(), "BATCH_LIST=a=b", "# x=1", ""])
    assert parse("\n".join(lines)) == STATE


def test_short_pair_writes_one_state(tmp_path: Path, disk: Disk, clock: Clock) -> None:
    """States that follow each other fast are held back; the last is always written."""
    path = tmp_path / "suite" / "a.state"
    writer = StateWriter(disk, path)
    for i in range(5):
        writer.update(replace(STATE, current_batch=i))
    assert not path.exists()
    writer.finish()
    assert batch(path) == 4
    path.unlink()
    writer.finish()
    assert disk.flush() == []
    assert not path.exists(), "nothing is written twice"


def test_at_most_ten_states_a_second(tmp_path: Path, disk: Disk, clock: Clock) -> None:
    """A state is written when a tenth of a second has passed, or when it is asked for."""
    path = tmp_path / "a.state"
    writer = StateWriter(disk, path)
    seen = []
    for i in range(8):
        writer.update(replace(STATE, current_batch=i))
        seen.append(batch(path))
        clock.now += 0.04
    assert seen == [None, None, None, 3, 3, 3, 6, 6]
    writer.update(replace(STATE, current_batch=9), force=True)
    assert batch(path) == 9


def test_state_that_waits_is_written_by_the_thread(tmp_path: Path, disk: Disk, clock: Clock) -> None:
    """A first batch that takes long is seen all the same: the disk's thread writes what waits."""
    writer = StateWriter(disk, tmp_path / "a.state")
    writer.update(STATE)
    assert disk.flush() == []  # what the thread does once a second
    assert batch(tmp_path / "a.state") == 3
