"""Runs by what people type, and how each of them stands."""

from __future__ import annotations

import json
import os

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.known import known_pairs
from pytest_evalrun.report.runs import find_run, is_run, overviews
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.sessions import open_session


@pytest.fixture
def workdir(tmp_path):
    """Two runs, the newer one the latest."""
    work = tmp_path / "outputs"
    for name in ("20261120_000000", "20261121_000000"):
        (work / name).mkdir(parents=True)
        (work / name / "run.json").write_text('{"format": 1}')
        (work / name / ".task_list").write_text("*s/a||2\n-one|2\n-two|3\n+summary|1|2\n")
    (work / "latest").symlink_to("20261121_000000")
    return work


@pytest.mark.parametrize("wanted", ["latest", "20261121_000000", "{}/latest", "{}/20261121_000000", "{}/latest/"])
def test_a_run_by_name_by_path_or_as_the_latest(workdir, wanted):
    """Always the same run, in the same work directory."""
    found = find_run(wanted.format(workdir), workdir)
    assert (found.name, found.workdir.root) == ("20261121_000000", workdir)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("20261120_00000", "nearest: 20261120_000000"),
        ("nightly", "the newest: 20261121_000000, 20261120_000000"),
        ("./nowhere", "no such run"),
        ("new", "a run is started by pytest"),
        ("/", "is not a run directory: it has no run.json"),
        ("..", "is not a run directory"),
    ],
)
def test_an_unknown_run_is_told_with_the_nearest(workdir, wanted, text):
    """What there is instead."""
    with pytest.raises(ConfigError, match=text):
        find_run(wanted, workdir)


def test_no_run_at_all(tmp_path):
    """Whatever is asked for, it is said that there is none."""
    for wanted in ("latest", "20261121_000000"):
        with pytest.raises(ConfigError, match="no run here"):
            find_run(wanted, tmp_path / "other")


def test_without_a_link_the_newest_is_taken(workdir):
    """And that is said; with the link there is nothing to say."""
    assert find_run("latest", workdir).remark == ""
    (workdir / "latest").unlink()
    found = find_run("latest", workdir)
    assert found.name == max(path.name for path in workdir.iterdir() if path.is_dir())
    assert found.remark.endswith(f"nothing says which run is the latest; this is the newest, {found.name}")


def test_a_run_of_a_newer_version_is_closed(workdir):
    """It says so; in the list of runs it is one line."""
    (workdir / "20261121_000000/run.json").write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="newer version"):
        find_run("latest", workdir)
    assert [run.problem for run in overviews(workdir)] == ["written by a newer version (format 99)", ""]


def test_which_words_are_runs(workdir, tmp_path, monkeypatch):
    """A path to look in is none."""
    monkeypatch.chdir(tmp_path)
    assert [
        word for word in ("latest", "20261120_000000", "outputs/latest", "outputs", ".") if is_run(word, workdir)
    ] == [
        "latest",
        "20261120_000000",
        "outputs/latest",
    ]


def test_runs_and_how_they_stand(workdir):
    """Newest first: alive with PID and host, ended, interrupted, killed, never started."""
    paths = RunPaths(workdir / "20261121_000000")
    newest = lambda: next(overviews(workdir))  # noqa: E731
    assert (newest().state, newest().latest) == ("never started", True)
    session = open_session(paths, ["/bin/pytest", "evals"])
    assert newest().state.startswith(f"running (PID {os.getpid()} on ")
    session.close(clean=False)
    assert newest().state == "interrupted"
    open_session(paths, ["/bin/pytest", "evals"]).close(clean=True)
    assert newest().state == "ended"
    content = json.loads(paths.session_json.read_text())
    paths.session_json.write_text(json.dumps({k: v for k, v in content.items() if k != "ended"}))
    assert newest().state == "killed"
    assert newest().cells()[:5] == ("20261121_000000 (latest)", "killed", "1", "1", "0")
    assert newest().command == "pytest evals"
    assert newest().to_json()["counts"] == {"pending": 0, "running": 0, "completed": 1, "failed": 1}


def test_a_run_counts_its_pairs_and_not_those_of_its_last_launch(run):
    """The task list is of that one's suites; of the others their results tell, but not of first samples."""
    run.paths.task_list.write_text("*s/a||2\n-one|2\n-two|3\n+summary|1|2\n")
    for name, status in (("one", "passed"), ("two", "failed")):
        run.result("s", "a", name, status=status)
    for name, status in (("p", "passed"), ("q", "failed"), ("r", "error"), ("s", "skipped"), ("p.limit-3", "failed")):
        run.result("other", "a", name, status=status)
    (found,) = overviews(run.paths.root.parent)
    assert found.counts == {"pending": 0, "running": 0, "completed": 2, "failed": 3}


def test_damage_is_shown_as_damage(workdir):
    """Whatever of a run cannot be read; the others are as they are."""
    run = workdir / "20261121_000000"
    for name in ("run.json", ".task_list", "session.json"):
        (run / name).write_text("{torn")
    first, second = overviews(workdir)
    assert first.problem == "run.json is damaged; .task_list is damaged; session.json is damaged"
    assert second.problem == ""
    assert "run.json is damaged" in first.cells()[1]


def test_the_pairs_that_a_run_knows(run, metric):
    """By results, task list and files; a damaged result is its pair's status."""
    run.result("s", "a", "v10", metrics={"top1": 0.5}, status="failed")
    run.result("s", "a", "v9", metrics={"top1": 0.5})
    run.write(run.paths.root / "results/s/b/one.json", "{torn")
    run.write(run.paths.root / "state/s/c/only.complete.state", "x")
    run.paths.task_list.write_text("*s/a||3\n-v9|2\n-v10|3\n-new|1\n+summary|1|3\n")
    found = known_pairs(run.paths)
    assert [(pair.full_id, pair.status, pair.failed) for pair in found.pairs] == [
        ("s/a/new", "pending", False),
        ("s/a/v9", "passed", False),
        ("s/a/v10", "failed", True),
        ("s/b/one", "damaged", False),
        ("s/c/only", "pending", False),
    ]
    assert found.damaged == ("results/s/b/one.json",)
    assert {p.status for p in known_pairs(run.paths, live=True).pairs if p.dataset == "new"} == {"running"}
    run.paths.task_list.write_text("torn")
    assert ".task_list" in known_pairs(run.paths).damaged
