"""The task list: the seed's file byte for byte, states that outlive a session."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir import tasklist
from pytest_evalrun.rundir.tasklist import Status, TaskList, TaskListLock, parse, read_task_list

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


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))


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


def test_file_is_replaced_under_the_lock(tmp_path: Path) -> None:
    """Written and read again: the same states; no file is no states, a corrupt one is None."""
    path, lock = tmp_path / ".task_list", TaskListLock(tmp_path)
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


def test_lock_lies_where_the_seed_put_it(tmp_path: Path) -> None:
    """The lock file is named after the work directory, and goes with its directory when the session ends."""
    lock = TaskListLock(Path("/some/where"))
    assert lock.path == str(tmp_path / "temp" / "task_locks_6611a274397349dcb117eb47063762cb" / "task_list.lock")
    with lock:
        assert Path(lock.path).exists()
    with lock:
        assert Path(lock.path).exists()
    lock.cleanup()
    assert not Path(lock.directory).exists()
    lock.cleanup()


def test_directory_of_others_stays(tmp_path: Path) -> None:
    """A lock directory with another file in it is left where it is."""
    lock = TaskListLock(tmp_path)
    with lock:
        Path(lock.directory, "other").touch()
    lock.cleanup()
    assert [p.name for p in Path(lock.directory).iterdir()] == ["other"]


HOLDER = "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"


def test_held_lock_is_an_error_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process on the lock is waited for, then named by its file; its lock is never removed."""
    monkeypatch.setattr(tasklist, "LOCK_TIMEOUT", 0.1)
    lock = TaskListLock(tmp_path)
    with lock:
        pass
    argv = [sys.executable, "-c", HOLDER, lock.path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(ConfigError, match=r"task_list\.lock: another process holds"), lock:
            pass
        lock.cleanup()
        assert Path(lock.path).exists()
        child.kill()
    with lock:
        pass


def test_place_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A lock directory that cannot be made is an error that says what to remove."""
    lock = TaskListLock(tmp_path)
    Path(lock.directory).touch()
    with pytest.raises(ConfigError, match=r"cannot lock the task list.*; remove "), lock:
        pass
