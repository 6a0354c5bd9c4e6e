"""The seed's small files for people: there while they say something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.tasklist import Mirrors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path)


def test_files_are_the_seeds(paths: RunPaths) -> None:
    """A PID or a pair a line; after a clean end no process file is left, the failures are."""
    mirrors = Mirrors(paths)
    assert mirrors.main(12345)
    assert mirrors.running([12345, 12346])
    assert mirrors.failed(["s/taskA/dataset2", "s/任务 B/d"])
    assert paths.main_pid.read_text() == "12345\n"
    assert paths.running_pids.read_text() == "12345\n12346\n"
    mirrors.close()
    assert not paths.main_pid.exists()
    assert not paths.running_pids.exists()
    assert paths.failed_tasks.read_text(encoding="utf-8") == "s/taskA/dataset2\ns/任务 B/d\n"


def test_failures_of_an_older_launch_go(paths: RunPaths) -> None:
    """Where nothing fails any more, there is no list of failures."""
    paths.failed_tasks.write_text("s/t/d\n")
    assert Mirrors(paths).failed([])
    assert not paths.failed_tasks.exists()


def test_unchanged_file_is_not_written_again(paths: RunPaths) -> None:
    """Saying the same twice costs no write."""
    mirrors = Mirrors(paths)
    mirrors.running([1])
    before = paths.running_pids.stat().st_ino
    assert mirrors.running([1])
    assert paths.running_pids.stat().st_ino == before


def test_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    """Where no file can be written the run goes on, and the next call tries again."""
    (tmp_path / "run").touch()
    mirrors = Mirrors(RunPaths(tmp_path / "run"))
    assert not mirrors.main(1)
    (tmp_path / "run").unlink()
    assert mirrors.main(1)
