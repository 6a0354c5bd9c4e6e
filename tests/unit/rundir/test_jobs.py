"""jobs.json: what a launch remembers of its jobs, and what others read of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.jobs import DONE, RUNNING, AttemptRecord, JobStore, UnitRecord, is_current, read_jobs
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.suite.clusters import ClusterWords

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ClusterWords("slurm", slurm="-p main")
ATTEMPT = AttemptRecord(
    2, "evalrun-u001-2", "4711_3", "running", node="n1", started="2026-11-28T10:00:00.000Z", batch=3
)
UNIT = UnitRecord("u001", 5, 3, 60.0, RUNNING, 2, {"gpus": 2}, {"a": 1}, 0, (ATTEMPT,))


def a_store(tmp_path: Path, *units: UnitRecord) -> JobStore:
    store = JobStore(tmp_path / "engine" / "jobs.json", WORDS)
    for unit in units:
        store.put(unit)
    store.save()
    return store


def test_the_next_launch_reads_what_was_written(tmp_path: Path) -> None:
    """Units, their attempts and the words for the cluster come back as they were."""
    a_store(tmp_path, UNIT, UnitRecord("u002", 1, 1))
    again = JobStore(tmp_path / "engine" / "jobs.json", ClusterWords("ray"))
    assert again.before is not None
    assert again.before.engine == WORDS
    assert list(again.units.values()) == [UNIT, UnitRecord("u002", 1, 1)]
    assert again.new_batch() == 4
    assert read_jobs(RunPaths(tmp_path)) == again.before


def test_no_name_is_given_twice(tmp_path: Path) -> None:
    """Names of units go on from launch to launch, also where only the directories of earlier ones are left."""
    store = a_store(tmp_path)
    assert [store.next_unit_name(), store.next_unit_name()] == ["u001", "u002"]
    store.save()
    path = tmp_path / "engine" / "jobs.json"
    assert JobStore(path, WORDS).next_unit_name() == "u003"
    (path.parent / "u041" / "1").mkdir(parents=True)
    path.unlink()
    assert JobStore(path, WORDS).next_unit_name() == "u042"


@pytest.mark.parametrize(
    ("unit", "attempt", "expected"),
    [
        pytest.param("u001", 2, True, id="the one that is waited for"),
        pytest.param("u001", 1, False, id="an older one"),
        pytest.param("u001", 3, True, id="newer than the file as this node sees it"),
        pytest.param("u002", 1, False, id="of a unit that is done"),
        pytest.param("u000", 1, False, id="of a launch that is forgotten"),
        pytest.param("u009", 1, True, id="of a unit newer than the file"),
    ],
)
def test_a_job_learns_whether_it_is_waited_for(tmp_path: Path, unit: str, attempt: int, expected: bool) -> None:
    """Only an attempt that is surely not waited for is told so: a node may see a file of a moment ago."""
    store = a_store(tmp_path, UNIT, UnitRecord("u002", 1, 0, state=DONE))
    store.next_unit_name()
    store.next_unit_name()
    store.save()
    assert is_current(store.path, unit, attempt) is expected
    assert is_current(tmp_path / "elsewhere.json", unit, attempt)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("[]", id="another value"),
        pytest.param('{"format": 2, "engine": {}, "units": {}}', id="another version"),
        pytest.param('{"format": 1, "serial": 1, "engine": {"engine": "x"}, "units": {"u1": 5}}', id="no unit"),
        pytest.param('{"format": 1, "serial": 1, "engine": {"motor": "x"}, "units": {}}', id="other words"),
        pytest.param('{"format": 1, "serial": "many", "engine": {"engine": "x"}, "units": {}}', id="no number"),
    ],
)
def test_a_file_of_somebody_else_is_not_passed_over(tmp_path: Path, text: str) -> None:
    """A launch does not begin beside jobs that it cannot know; whoever only looks is told that there is nothing."""
    path = tmp_path / "engine" / "jobs.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"jobs\.json: .*the launch writes it; end its jobs"):
        JobStore(path, WORDS)
    assert read_jobs(RunPaths(tmp_path)) is None
    assert is_current(path, "u001", 1)


def test_changes_reach_the_disk_a_few_times_a_second(tmp_path: Path) -> None:
    """Of changes in an instant the first is written; what came last is written at the end."""
    store = a_store(tmp_path, UNIT)
    seen = []
    for at, left in ((10.0, 2), (10.1, 1), (10.2, 0)):
        store.put(replace(UNIT, left=left))
        store.tick(at)
        seen.append(JobStore(store.path, WORDS).units["u001"].left)
    store.close()
    assert [*seen, JobStore(store.path, WORDS).units["u001"].left] == [2, 2, 2, 0]
