"""The task list: the seed's file byte for byte, states that outlive a session."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.rundir.tasklist import Status, TaskList, parse, read_task_list

SEED = """*taskA|plugin1|3
-dataset1|2
-dataset2|1
-dataset3|0
*taskB||2
-dataset1|3
-dataset2|0
+summary|2|5
"""
GROUPS = [("taskA", "plugin1", ["dataset1", "dataset2", "dataset3"]), ("taskB", "", ["dataset1", "dataset2"])]


def test_text_is_the_seeds() -> None:
    """The example of the seed's description comes out byte for byte."""
    tasks = TaskList(GROUPS)
    tasks.set("taskA", "dataset1", Status.COMPLETED)
    tasks.set("taskA", "dataset2", Status.RUNNING)
    tasks.set("taskB", "dataset1", Status.FAILED)
    assert tasks.render() == SEED
    assert len(tasks) == 5
    assert tasks.counts() == {Status.PENDING: 2, Status.RUNNING: 1, Status.COMPLETED: 1, Status.FAILED: 1}
    assert tasks.failed() == ["taskB/dataset1"]
    assert tasks.get("taskA", "dataset2") is Status.RUNNING


NAMES = st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=20)


@given(
    st.dictionaries(NAMES, st.tuples(NAMES, st.dictionaries(NAMES, st.sampled_from(Status), max_size=4)), max_size=4)
)
def test_what_is_written_is_read(tree: dict[str, tuple[str, dict[str, Status]]]) -> None:
    """Every name and state comes back, whatever separators, quotes or broken letters the name holds."""
    tasks = TaskList((task, plugin, list(datasets)) for task, (plugin, datasets) in tree.items())
    states = {(task, dataset): status for task, (_, many) in tree.items() for dataset, status in many.items()}
    for place, status in states.items():
        tasks.set(*place, status)
    assert parse(tasks.render()) == states


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        SEED[: SEED.index("+")],
        SEED[: SEED.index("*taskB")],
        SEED.replace("+summary|2|5", "+summary|2|4"),
        SEED.replace("-dataset2|1\n", ""),
        SEED.replace("-dataset2|1", "-dataset2|7"),
        SEED.replace("-dataset2|1", "-dataset2"),
        SEED.replace("|3\n", "|many\n"),
        SEED.replace("*taskA|plugin1|3", "*taskA"),
        SEED.replace("-dataset2|1", "-dataset1|1"),
        "-dataset|0\n+summary|0|1\n",
        "\0" * 40,
    ],
)
def test_corrupt_list_is_known(text: str) -> None:
    """A list that is torn, miscounted or of another format is none; no part of it is believed."""
    assert parse(text) is None


def test_states_are_adopted() -> None:
    """Older states stay, what was running runs no more, and pairs that are gone leave the list."""
    tasks = TaskList([("taskA", "plugin1", ["dataset1", "dataset2", "new"])])
    tasks.adopt(parse(SEED) or {})
    assert tasks.render() == "*taskA|plugin1|3\n-dataset1|2\n-dataset2|0\n-new|0\n+summary|1|3\n"


def test_unknown_pairs_are_kept_where_asked() -> None:
    """A launch that sees a part of the suites can leave the others' states where they are."""
    tasks = TaskList([("taskA", "plugin1", ["dataset1"]), ("taskC", "", ["d"])])
    tasks.adopt(parse(SEED) or {}, keep_unknown=True)
    assert tasks.render() == (
        "*taskA|plugin1|3\n-dataset1|2\n-dataset2|0\n-dataset3|0\n*taskC||1\n-d|0\n"
        "*taskB||2\n-dataset1|3\n-dataset2|0\n+summary|3|6\n"
    )
    tasks.set("taskB", "dataset2", Status.COMPLETED)
    assert "-dataset2|2\n+summary" in tasks.render()


def test_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Written and read again: the same states; no file is no states, a corrupt one is None."""
    path, lock = tmp_path / ".task_list", nullcontext()
    assert read_task_list(path) == {}
    tasks = TaskList([("a|b/\udcff", "p", ["任务 'x' $(y)"])])
    assert tasks.write(path, lock)
    assert read_task_list(path) == {("a|b/\udcff", "任务 'x' $(y)"): Status.PENDING}
    path.write_text("torn")
    assert read_task_list(path) is None
    assert read_task_list(tmp_path) is None


def test_full_disk_is_told(tmp_path: Path) -> None:
    """Where the file cannot be written, the old one stays and the run goes on."""
    (tmp_path / "file").touch()
    assert not TaskList(GROUPS).write(tmp_path / "file" / ".task_list", nullcontext())


def test_ten_thousand_pairs_cost_little(tmp_path: Path) -> None:
    """A change and a rewrite do not notice how many pairs there are (the bound is far above what is measured)."""
    tasks = TaskList([(f"suite/task{i}", "", [f"dataset{j}" for j in range(100)]) for i in range(100)])
    began = time.perf_counter()
    for _ in range(10):
        tasks.set("suite/task7", "dataset7", Status.COMPLETED)
        assert tasks.write(tmp_path / ".task_list", nullcontext())
    assert time.perf_counter() - began < 1
    assert len(read_task_list(tmp_path / ".task_list") or {}) == 10_000
