"""The history: whole lines, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.results import append_history, read_history

if TYPE_CHECKING:
    from pathlib import Path


def test_history_is_read_in_order_without_torn_lines(tmp_path: Path) -> None:
    """Each evaluation is one line; what is no object is passed over, and its number told."""
    path = tmp_path / "work" / "history.jsonl"
    disk = Disk(interval=3600)
    append_history(disk, path, {"pair": "任务/1"})
    with path.open("a") as file:
        file.write('{"pair": "to\n[1]\n\0\0\n')
    append_history(disk, path, {"pair": "2"})
    with path.open("a") as file:
        file.write('{"pair": "3')
    disk.close()
    damaged: list[int] = []
    assert list(read_history(path, damaged)) == [{"pair": "任务/1"}, {"pair": "2"}]
    assert damaged == [2, 3, 4, 6]


def test_no_history_is_an_empty_one(tmp_path: Path) -> None:
    """Before the first evaluation there is nothing to read, and that is no error."""
    assert list(read_history(tmp_path / "history.jsonl")) == []
