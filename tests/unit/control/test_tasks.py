"""The task list, changed by hand: the line that changes, and no byte else."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.control.tasks import change_states, to_pending
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.tasklist import Status, TaskList, parse
from pytest_evalrun.rundir.tasklock import TaskListLock

ODD = "*s/a|psnr|3\n-one|1\n-with|bar|1\n--1|2\n*s/*b|1||1\n-数据 集|1\n+summary|2|4\n"


@pytest.fixture
def run(tmp_path):
    return WorkDir(tmp_path), RunPaths(tmp_path)


def test_running_becomes_pending_and_every_other_byte_stays(run):
    """Plugins too, and names with bars, stars and minus signs."""
    run[1].task_list.write_text(ODD)
    assert to_pending(*run) == 3
    assert run[1].task_list.read_text() == ODD.replace("one|1", "one|0").replace("bar|1", "bar|0").replace(
        "集|1", "集|0"
    )
    before = run[1].task_list.stat().st_mtime_ns
    assert to_pending(*run) == 0
    assert run[1].task_list.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["-one|1\n", "*s/a||2\n-one|1\n+summary|1|1\n", "\x00\x01"])
def test_a_damaged_list_is_left_alone(run, content):
    """Whoever made it that way can look at it; the next launch makes it again."""
    run[1].task_list.write_text(content)
    assert to_pending(*run) is None
    assert run[1].task_list.read_text() == content


def test_no_list_is_nothing_to_change(run):
    """And none is made."""
    assert to_pending(*run) == 0
    assert not run[1].task_list.exists()


def test_failed_tasks_follow_the_list(run):
    """The seed's other file says the same; where nothing failed it is not there."""
    run[1].task_list.write_text("*s/a||2\n-one|3\n-two|3\n+summary|1|2\n")
    change_states(*run, lambda place, state: Status.PENDING if place == ("s/a", "one") else state)
    assert run[1].failed_tasks.read_text() == "s/a/two\n"
    change_states(*run, lambda *_: Status.PENDING)
    assert not run[1].failed_tasks.exists()


def test_the_lock_of_the_list_is_left_behind_by_nobody(run, tmp_path):
    """Its directory in the system's temporary directory is gone afterwards."""
    run[1].task_list.write_text(ODD)
    to_pending(*run)
    assert not (tmp_path / TaskListLock(tmp_path).directory).exists()


NAMES = st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.sampled_from(Status), min_size=1), min_size=1))
def test_the_law(run, content):
    """Whatever the names are, the list afterwards is the one that the plugin itself would write."""
    tasks = TaskList([(task, "p", list(datasets)) for task, datasets in content.items()])
    for task, datasets in content.items():
        for dataset, state in datasets.items():
            tasks.set(task, dataset, state)
    run[1].task_list.write_bytes(tasks.render().encode())
    to_pending(*run)
    tasks.stop_running()
    assert run[1].task_list.read_bytes().decode() == tasks.render()
    assert parse(tasks.render()) is not None
