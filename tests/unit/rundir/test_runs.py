"""Runs: which directory a launch works in, and when it is refused."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.runs import (
    add_manifest,
    check_format,
    create_run,
    point_latest,
    read_run_json,
    resolve_run,
    run_names,
)

NOW = datetime(2026, 11, 21, 10, 30, 15).astimezone()
ODD = ["with space", "a'b\"c", "$(touch x)", "任务", "x" * 200]


@pytest.fixture
def workdir(tmp_path: Path) -> WorkDir:
    return WorkDir(tmp_path / "outputs" / "default")


def test_run_is_called_after_the_local_time(workdir: WorkDir) -> None:
    """A run is made with its work directory, which git then ignores; a second one of the same second gets a number."""
    first = create_run(workdir, NOW.astimezone(UTC))
    second = create_run(workdir, NOW)
    assert (first.root.name, second.root.name) == ("20261121_103015", "20261121_103015_2")
    assert workdir.gitignore.read_text() == "*\n"
    assert read_run_json(first)["format"] == 1
    assert run_names(workdir) == ["20261121_103015_2", "20261121_103015"]


NAMED = {
    "{TIMESTAMP}": "2026-11-21-10-30-15",
    "exp-{TIMESTAMP_DATE}_{TIMESTAMP_TIME}": "exp-2026-11-21_10-30-15",
    "exp": "exp",
}


@pytest.mark.parametrize(("name", "called"), NAMED.items(), ids=NAMED)
def test_a_suite_may_name_its_runs(workdir: WorkDir, name: str, called: str) -> None:
    """A run is called as a suite wants it, with the time filled in; a second one gets a number, and newer are first."""
    old = create_run(workdir, NOW.replace(year=2025)).root.name
    made = [create_run(workdir, NOW, name).root.name for _ in range(2)]
    assert made == [called, f"{called}_2"]
    new = create_run(workdir, NOW.replace(year=2027)).root.name
    assert run_names(workdir) == [new, f"{called}_2", called, old]


@pytest.mark.parametrize("name", ODD)
def test_any_work_directory_will_do(tmp_path: Path, name: str) -> None:
    """A run is made, found by ``latest`` and by its name, wherever the work directory is."""
    workdir = WorkDir(tmp_path / name)
    run = create_run(workdir, NOW)
    point_latest(workdir, run)
    assert resolve_run(workdir, "latest") == run
    assert resolve_run(workdir, run.root.name) == run


def test_gitignore_of_a_project_is_not_ours(tmp_path: Path) -> None:
    """A work directory that holds other files is not hidden from git."""
    (tmp_path / "setup.py").touch()
    create_run(WorkDir(tmp_path), NOW)
    assert not WorkDir(tmp_path).gitignore.exists()


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where no run can be made, the message names the directory and the option."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "file" / "w")) + ".*--eval-workdir"):
        create_run(WorkDir(tmp_path / "file" / "w"), NOW)


def test_read_only_place_is_named(tmp_path: Path) -> None:
    """A work directory that is read-only is refused by name."""
    tmp_path.chmod(0o500)
    place = tmp_path if os.geteuid() else Path("/sys")  # root writes everywhere but there
    with pytest.raises(ConfigError, match=r"(denied|not permitted|Read-only).*--eval-workdir"):
        create_run(WorkDir(place / "w"), NOW)


def test_new_and_first_runs_must_be_made(workdir: WorkDir) -> None:
    """``new`` always, and ``latest`` where there is none, stand for a run that is yet to be made."""
    assert resolve_run(workdir, "latest") is None
    point_latest(workdir, create_run(workdir, NOW))
    assert resolve_run(workdir, "new") is None


def test_latest_follows(workdir: WorkDir) -> None:
    """``latest`` is a relative link, so that a work directory can be moved; it points to one run after the other."""
    for _ in range(2):
        run = create_run(workdir, NOW)
        point_latest(workdir, run)
        point_latest(workdir, run)
        assert str(workdir.latest.readlink()) == run.root.name
    moved = WorkDir(workdir.root.rename(workdir.root.parent / "moved"))
    assert resolve_run(moved, "latest") == moved.run(run.root.name)


def test_latest_to_nowhere_is_refused(workdir: WorkDir) -> None:
    """A link to a run that is gone is a usage error that names the runs that are there."""
    run = create_run(workdir, NOW)
    workdir.latest.symlink_to("20250101_000000")
    with pytest.raises(ConfigError, match=rf"latest points to 20250101_000000, .*--eval-run new.*{run.root.name}"):
        resolve_run(workdir, "latest")


def test_latest_to_outside_is_refused(workdir: WorkDir, tmp_path: Path) -> None:
    """A link that leaves the work directory is not followed."""
    run = create_run(workdir, NOW)
    (tmp_path / "other" / run.root.name).mkdir(parents=True)
    workdir.latest.symlink_to(tmp_path / "other" / run.root.name)
    with pytest.raises(ConfigError, match="outside of"):
        resolve_run(workdir, "latest")


def test_file_in_the_way_of_latest_is_refused(workdir: WorkDir) -> None:
    """What is called ``latest`` and is no link is never replaced."""
    run = create_run(workdir, NOW)
    workdir.latest.mkdir()
    for act in (lambda: resolve_run(workdir, "latest"), lambda: point_latest(workdir, run)):
        with pytest.raises(ConfigError, match="in the way"):
            act()


@pytest.mark.parametrize("name", ["missing", "", ".", "..", "../outputs", "/", "-x", ".hidden", "a\nb", "a\0b"])
def test_unknown_run_is_refused(workdir: WorkDir, name: str) -> None:
    """A name that is no run, or would leave the work directory, is refused with the newest that are there."""
    for _ in range(7):
        create_run(workdir, NOW)
    with pytest.raises(ConfigError, match=r"no such run in .*20261121_103015_7, .*_3$"):
        resolve_run(workdir, name)


def test_unknown_run_of_no_work_directory_is_refused(workdir: WorkDir) -> None:
    """Without any run the remedy is a new one."""
    with pytest.raises(ConfigError, match=r"choose --eval-run new$"):
        resolve_run(workdir, "missing")


def test_newer_run_is_refused_untouched(workdir: WorkDir) -> None:
    """A run of a newer version is left exactly as it is."""
    run = create_run(workdir, NOW)
    check_format(run)
    run.run_json.write_text('{"format": 2}')
    with pytest.raises(ConfigError, match=r"newer version \(format 2\); this one knows up to 1; nothing was changed"):
        check_format(run)
    assert run.run_json.read_text() == '{"format": 2}'


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": true}', '{"format": 0}', "\udcff"]
)
def test_corrupt_run_json_is_refused(tmp_path: Path, text: str) -> None:
    """A ``run.json`` that we did not write is named with a remedy."""
    run = RunPaths(tmp_path)
    run.run_json.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"run\.json: .*--eval-run new"):
        check_format(run)


def test_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """A directory without ``run.json`` is none of ours."""
    with pytest.raises(ConfigError, match="not a run directory"):
        check_format(RunPaths(tmp_path))


def test_manifest_grows(workdir: WorkDir) -> None:
    """Suites and directories of every launch are remembered, once."""
    run = create_run(workdir, NOW)
    add_manifest(run, {"digits": "/p/evals/digits/evalrun.yaml"}, ["/out/b", "/out/a"])
    add_manifest(run, {"任务": "/p/t/evalrun.yaml"}, ["/out/a"])
    before = run.run_json.stat().st_ino
    add_manifest(run, {"任务": "/p/t/evalrun.yaml"}, [])
    assert run.run_json.stat().st_ino == before, "nothing new, nothing written"
    content = json.loads(run.run_json.read_text(encoding="utf-8"))
    assert content["suites"] == {"digits": "/p/evals/digits/evalrun.yaml", "任务": "/p/t/evalrun.yaml"}
    assert content["directories"] == ["/out/a", "/out/b"]
    assert content["format"] == 1
