"""What people see of a launch on a cluster: its plan, its scripts, its jobs as they run; whatever paths are called."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from batchsystem import BatchSystem
from support import Project, kill_group, wait_for

from pytest_evalrun.engines.exits import GO_ON_LATER

ON = ("evals", "--eval-engine", "command", "--eval-jobs", "2")
ODD = "größe 'it's \"$(touch PWNED)\" [1] & $HOME"


@pytest.fixture
def project(tmp_path, batch):
    """A project whose directory has all that a shell and pytest may stumble over."""
    root = tmp_path / ODD
    root.mkdir()
    return Project(root)


def test_a_launch_runs_under_any_path(project, batch, tmp_path):
    """Its jobs start in the same directories, and nothing of a path is run by a shell."""
    project.make(models=("a", "b [2]"), datasets=("one",), batch_system=batch.words())
    ran = project.run(*ON)
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 2}
    assert len(batch.jobs()) == 1
    assert not [*tmp_path.rglob("PWNED")]


def test_a_plan_shows_units_and_their_scripts_are_written(project, batch):
    """Nothing is submitted, and no run is begun."""
    project.make(models=("a",), datasets=("one", "two"), batch_system=batch.words())
    (project.root / "evals" / "test_own.py").write_text("def test_own(): pass\n")
    planned = project.run(*ON, "--collect-only", "--eval-scripts", "scripts")
    assert planned.code == 0, planned
    assert re.search(r"^u001 +2 +~.* echo/a$", planned, re.MULTILINE), planned
    assert "1 item would run here\n  ordinary tests: 1 item (evals/test_own.py::test_own)" in planned
    assert re.search(r"^  \$ .*submit --name evalrun-.*u001", planned, re.MULTILINE)
    assert f"1 script in {project.root}/scripts" in planned
    assert not batch.jobs()
    assert not project.workdir.exists()
    for script in (project.root / "scripts").glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_jobs_are_seen_while_they_wait_and_run(project, batch, tmp_path):
    """By the id that the batch system gave them, in `evalrun list`, for programs, and in the monitor."""
    asked = tmp_path / "asked"
    project.make(models=("a",), datasets=("one",), params={"delay": 0.3}, samples=40, batch_system=batch.words())
    launcher = project.start(*ON, ASKED=str(asked))
    try:
        wait_for(asked.exists, process=launcher)
        job = batch.living()[0]

        def seen():
            return json.loads(project.evalrun("list", "--jobs", "--json")[1])["jobs"][0]["state"] == "running"

        wait_for(seen, process=launcher)
        _, out, _ = project.evalrun("list", "--no-why")
        assert "Jobs on command (1 running)" in out
        assert re.search(rf"^u001 +{job.id} +running +{job.node} ", out, re.MULTILINE), out
        _, out, _ = project.evalrun("monitor", "--once")
        assert f"u001  running  {job.id}" in out
    finally:
        kill_group(launcher)


def test_a_job_of_which_the_script_alone_is_told_ends_by_itself(tmp_path):
    """As Slurm's batch shell and a container's first process are: it says that it wants to go on, and does."""
    with BatchSystem(tmp_path / "batch", at="script") as batch:
        asked = tmp_path / "asked"
        project = Project(tmp_path / "project")
        project.make(params={"delay": 0.3}, batch_system=batch.words())
        launcher = project.start(*ON, ASKED=str(asked))
        try:
            wait_for(asked.exists, process=launcher)
            batch.preempt(batch.living()[0].id)
            output, _ = launcher.communicate(timeout=120)
            assert launcher.returncode == 0, output
        finally:
            kill_group(launcher)
        ended = batch.wait(
            lambda jobs: all(job.is_over for job in jobs)
        )  # a launch ends with what its last job has told
        assert [job.code for job in ended] == [GO_ON_LATER, 0]
        assert "1 passed" in output
