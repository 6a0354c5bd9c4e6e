"""The task list, kept up to date from what changed in its bytes."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.monitor import tasks as module
from pytest_evalrun.monitor.tasks import Tasks
from pytest_evalrun.rundir.tasklist import Status, TaskList, parse

NAMES = [("echo/a", "one"), ("echo/a", "two|2"), ("echo/任务", "-x|1"), ("echo/任务", "one")]


def written(path, names=NAMES):
    groups = {}
    for task, dataset in names:
        groups.setdefault(task, []).append(dataset)
    tasks = TaskList((task, "plugin", datasets) for task, datasets in groups.items())
    tasks.write(path, nullcontext())
    return tasks


def told(tasks):
    return {tasks.pair(row): status for row, status in enumerate(tasks.status)}


def of(path):
    return {f"{task}/{dataset}": status for (task, dataset), status in parse(path.read_text()).items()}


@given(st.lists(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(Status)), max_size=4), max_size=6))
def test_what_changed_is_what_a_new_reading_would_say(tmp_path_factory, rounds):
    """After any changes the states, the counts and each task's counts are those of the file."""
    path = tmp_path_factory.mktemp("tasks") / ".task_list"
    source, tasks = written(path), Tasks(path)
    tasks.look()
    for changes in rounds:
        for place, status in changes:
            source.set(*place, status)
        source.write(path, nullcontext())
        tasks.look()
        assert told(tasks) == of(path)
        assert tasks.counts() == source.counts()
        assert sum(group.counts[Status.FAILED] for group in tasks.groups) == len(source.failed())


def test_states_that_change_cost_no_parsing(tmp_path, monkeypatch):
    """Only where lines come or go is the whole list parsed again."""
    path = tmp_path / ".task_list"
    source, tasks = written(path), Tasks(path)
    assert tasks.look()
    version = tasks.version
    monkeypatch.setattr(module, "parse", lambda _: pytest.fail("the list was parsed"))
    source.set("echo/a", "two|2", Status.FAILED)
    source.write(path, nullcontext())
    assert tasks.look()
    assert list(tasks.rows_of[Status.FAILED]) == [1]
    assert tasks.version == version
    assert not tasks.look()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[:-10], id="torn"),
        pytest.param(lambda text: text.replace("-one|0", "-one|7", 1), id="no such state"),
        pytest.param(lambda text: text.replace("-one|0", "+one|0", 1), id="another letter"),
        pytest.param(lambda _: "rubbish", id="another file"),
    ],
)
def test_a_damaged_list_leaves_what_was_known(tmp_path, damage):
    """It is said to be damaged, and shown as it was last read, until it is whole again."""
    path = tmp_path / ".task_list"
    source, tasks = written(path), Tasks(path)
    tasks.look()
    before = told(tasks)
    path.write_text(damage(source.render()))
    assert tasks.look()
    assert tasks.damaged
    assert told(tasks) == before
    source.set("echo/a", "one", Status.COMPLETED)
    source.write(path, nullcontext())
    tasks.look()
    assert not tasks.damaged
    assert told(tasks) == of(path)


def test_other_pairs_are_another_version(tmp_path):
    """A launch with more pairs replaces the rows."""
    path = tmp_path / ".task_list"
    written(path)
    tasks = Tasks(path)
    tasks.look()
    version = tasks.version
    written(path, [*NAMES, ("echo/z", "new")])
    tasks.look()
    assert tasks.version > version
    assert told(tasks) == of(path)
    assert [group.directory for group in tasks.groups] == ["echo/a", "echo/任务", "echo/z"]


def test_skipped_pairs_join_their_tasks(tmp_path):
    """What the launch had and the list leaves out is skipped; what the list has is not."""
    path = tmp_path / ".task_list"
    written(path)
    tasks = Tasks(path)
    tasks.look()
    tasks.set_skipped(["echo/a/one", "echo/a/slow", "echo/off/one"])
    tasks.set_skipped(["echo/a/one", "echo/a/slow", "echo/off/one"])
    assert {group.directory: group.skipped for group in tasks.groups} == {
        "echo/a": ["slow"],
        "echo/任务": [],
        "echo/off": ["one"],
    }


def test_no_list_is_no_pair(tmp_path):
    """A run that has only just begun has none yet."""
    tasks = Tasks(tmp_path / ".task_list")
    assert not tasks.look()
    assert len(tasks) == 0
