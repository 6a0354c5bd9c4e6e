"""The tree of tasks and datasets."""

from __future__ import annotations

import pytest

from pytest_evalrun.monitor.renderer import ASCII, UNICODE, Renderer, plain
from pytest_evalrun.monitor.tasks import TaskGroup
from pytest_evalrun.monitor.tree import TreeView, stands
from pytest_evalrun.rundir.tasklist import Status

PEN = Renderer(UNICODE, "utf-8")


def shown(reader, needle="", unfolded=True, top=0, count=100, renderer=PEN):
    tree = TreeView(reader.tasks)
    tree.lay_out(needle, unfolded)
    return [plain(line) for line in tree.lines(renderer, top, count)]


def test_every_pair_has_its_sign(run, reader):
    """Not begun, running, completed, failed, skipped."""
    run.item("echo/a/one")
    run.ended("echo/a/two", "failed")
    run.ended("echo/dir/b/one")
    reader.look()
    reader.tasks.set_skipped(["echo/a/slow", "echo/off/one"])
    assert shown(reader) == [
        "  ◐ echo/a  1/3",
        "    ◐ one",
        "    ✗ two",
        "    ○ three",
        "    ⊘ slow",
        "  ◐ echo/dir/b  1/3",
        "    ✓ one",
        "    ○ two",
        "    ○ three",
        "  ⊘ echo/off",
        "    ⊘ one",
    ]
    assert shown(reader, renderer=Renderer(ASCII, "ascii"))[:4] == [
        "  > echo/a  1/3",
        "    > one",
        "    x two",
        "    o three",
    ]


def test_who_was_skipped_in_its_turn_has_that_sign(run, reader):
    """The list has it as pending. A task ends when nothing else is left; where nothing ran it is skipped itself."""
    for dataset in ("one", "two", "three"):
        run.ended(f"echo/a/{dataset}", "skipped")
    run.ended("echo/dir/b/one", "skipped")
    run.ended("echo/dir/b/two")
    run.ended("echo/dir/b/three")
    snapshot = reader.look()
    assert shown(reader) == [
        "  ⊘ echo/a",
        "    ⊘ one",
        "    ⊘ two",
        "    ⊘ three",
        "  ✓ echo/dir/b  2/2",
        "    ⊘ one",
        "    ✓ two",
        "    ✓ three",
    ]
    assert (snapshot.counts[Status.PENDING], snapshot.counts[Status.COMPLETED], snapshot.skipped) == (0, 2, 4)
    assert snapshot.to_json()["tasks"][1]["datasets"] == {"one": "skipped", "two": "completed", "three": "completed"}
    assert {pair for pair, _ in snapshot.slowest} == {"echo/dir/b/two", "echo/dir/b/three"}
    run.item("echo/a/one")
    assert shown_after(reader)[:2] == ["  ◐ echo/a  0/1", "    ◐ one"]


def shown_after(reader):
    reader.look()
    return shown(reader)


def test_folded_it_shows_the_tasks(reader):
    """A line a task."""
    reader.look()
    assert shown(reader, unfolded=False) == ["  ○ echo/a  0/3", "  ○ echo/dir/b  0/3"]


def test_a_filter_leaves_pairs_whose_name_has_it(reader):
    """In any case of letters; a task without any goes."""
    reader.look()
    assert shown(reader, "B/T") == ["  ○ echo/dir/b  0/3", "    ○ two", "    ○ three"]
    assert shown(reader, "nothing") == []


def test_only_rows_that_are_seen_are_made(reader):
    """From the first that is asked for, as many as there is room."""
    reader.look()
    assert shown(reader, top=5, count=2) == ["    ○ one", "    ○ two"]


def test_it_knows_what_was_seen(reader):
    """Keys scroll from there, wherever the list ended."""
    reader.look()
    tree = TreeView(reader.tasks)
    tree.lay_out("", True)
    tree.lines(PEN, 3, 2)
    assert tree.seen == (3, 2)


def test_it_is_laid_out_when_something_else_is_to_be_seen(run, reader):
    """Not for a state that changed: 10,000 rows a second would be its whole cost."""
    reader.look()
    tree = TreeView(reader.tasks)
    tree.lay_out("", True)
    entries = tree.entries
    run.item("echo/a/one")
    reader.look()
    tree.lay_out("", True)
    assert tree.entries is entries
    assert tree.position("echo/dir/b/one") == 4
    tree.lay_out("", False)
    assert tree.position("echo/dir/b/one") == 1


@pytest.mark.parametrize(
    ("counts", "passed", "status"),
    [
        ({Status.PENDING: 3}, 0, Status.PENDING),
        ({Status.PENDING: 3}, 2, Status.PENDING),
        ({Status.PENDING: 1, Status.COMPLETED: 2}, 0, Status.RUNNING),
        ({Status.PENDING: 1, Status.COMPLETED: 2}, 1, Status.COMPLETED),
        ({Status.RUNNING: 1, Status.FAILED: 2}, 0, Status.RUNNING),
        ({Status.COMPLETED: 2, Status.FAILED: 1}, 0, Status.FAILED),
        ({Status.COMPLETED: 3}, 0, Status.COMPLETED),
    ],
)
def test_a_task_stands_as_its_datasets_do(counts, passed, status):
    """It has failed only when nothing of it is to come; what was skipped in its turn is not to come."""
    assert stands(TaskGroup("echo/a", range(3), [], dict.fromkeys(Status, 0) | counts, passed)) is status
