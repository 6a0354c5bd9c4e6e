"""Notes of launches: believed as long as the very process lives."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace

import pytest

from pytest_evalrun.rundir.launches import LaunchNote, announce, launches, withdraw
from pytest_evalrun.rundir.tasklock import TaskListLock


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    """A temporary directory of the test's own."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def launch(tmp_path):
    return LaunchNote.of(os.getpid(), tmp_path / "work", tmp_path, "latest")


def test_a_launch_is_known_until_it_ends(tmp_path, launch, temp):
    """To those who ask for its work directory; nothing stays of it."""
    announce(launch)
    assert launches(tmp_path / "work") == [launch]
    assert launches(tmp_path / "elsewhere") == []
    announce(replace(launch, run="/the/run"))
    assert [each.run for each in launches(tmp_path / "work")] == ["/the/run"]
    withdraw(launch)
    assert launches(tmp_path / "work") == []
    assert list(temp.iterdir()) == []
    withdraw(launch)


@pytest.mark.parametrize(
    "stale",
    [
        pytest.param({"start_time": 1.0}, id="another process has its id"),
        pytest.param({"boot_id": "before"}, id="before the machine was started"),
        pytest.param({"start_time": None}, id="nobody knows when it started"),
    ],
)
def test_what_a_killed_launch_left_is_swept(tmp_path, launch, stale):
    """And never taken for one that lives."""
    left = replace(launch, **stale)
    announce(left)
    assert left.file.exists()
    assert launches(tmp_path / "work") == []
    assert not left.file.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "7"])
def test_rubbish_is_no_launch(tmp_path, launch, text):
    """Nor what says that it is another's."""
    announce(launch)
    launch.file.with_name("launch_x.json").write_text(text)
    launch.file.with_name("launch_7.json").write_text(launch.dumps())
    assert launches(tmp_path / "work") == [launch]


def test_where_none_can_be_left_the_launch_goes_on(tmp_path, launch, temp):
    """Others may have put there what they like: it is only a courtesy."""
    launch.file.parent.symlink_to(tmp_path)
    announce(launch)
    assert launches(tmp_path / "work") == []
    assert list(tmp_path.glob("launch*")) == []


def test_the_lock_of_the_task_list_lies_beside(tmp_path, launch):
    """Who tidies up first leaves the other's alone."""
    (tmp_path / "work").mkdir()
    lock = TaskListLock(tmp_path / "work")
    announce(launch)
    with lock:
        pass
    lock.cleanup()
    assert launches(tmp_path / "work") == [launch]
    withdraw(launch)
    assert not launch.file.parent.exists()
