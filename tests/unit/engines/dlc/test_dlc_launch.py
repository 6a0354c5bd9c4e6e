"""The same command on DLC: what comes out of it is what would have come out here."""

from __future__ import annotations

import csv
import json
import signal

import pytest
from dlcservice import Service
from support import Project, kill_group, wait_for

# Figures that differ from run to run.
SECONDS = {"seconds"}
SAMPLES, BATCH = 8, 4
SLOW = {"name": "a", "path": "a.bin", "params": {"delay": 1.0}}


@pytest.fixture
def service():
    service = Service()
    yield service
    service.close()


@pytest.fixture
def project(service, tmp_path):
    words = {"workspace_id": 1, "resource_id": "quota1", "worker_image": "img", "dlc_sleep_time": 10}
    words |= {"endpoint": service.endpoint, "protocol": "http", "extra_envs": [f"ASKED={tmp_path}/asked"]}
    (tmp_path / "dlc.json").write_text(json.dumps(words))
    return Project(tmp_path)


ON = ("evals", "--eval-engine", "dlc", "--eval-dlc-config", "dlc.json", "--eval-jobs", "2")


def summary(file):
    rows = csv.DictReader(file.read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in SECONDS} for row in rows]


def test_the_same_command_gives_the_same_summary(project, service):
    """Locally and as jobs: the rows differ in seconds alone, and no job is left. What has no effect is remarked."""
    project.make(models=("a", "b"), datasets=("one", "two"))
    here = project.run("evals", "--eval-workdir", "here")
    there = project.run(*ON)
    assert there.code == here.code == 0, there
    assert there.counts == here.counts == {"passed": 4}
    local = summary(project.root / "here" / "latest" / "summary" / "summary.csv")
    assert summary(project.latest / "summary" / "summary.csv") == local
    assert {job.state()["Status"] for job in service.jobs.values()} == {"Succeeded"}
    assert "dlc.json:1: dlc_sleep_time: has no effect; jobs are asked for as often as those of every engine" in there
    assert all("passed" in log.read_text() for log in project.latest.glob("engine/*/*/job.log"))


def test_a_job_that_is_preempted_goes_on(project, service, tmp_path):
    """In another attempt, without counting, from the batch that was lost; what the cluster said is shown."""
    asked = tmp_path / "asked"
    project.make().yaml([], ("one",), models=[SLOW])
    process = project.start(*ON, "--eval-crash-retries", "0")
    try:
        wait_for(lambda: asked.exists() and asked.read_text().count("\n") == SAMPLES, process=process)
        service.take_away(next(iter(service.jobs)), "JobPreempted", "Job is preempted by dlc2")
        output, _ = process.communicate(timeout=120)
    finally:
        kill_group(process)
    assert process.returncode == 0, output
    assert "was preempted (JobPreempted: Job is preempted by dlc2)" in output
    assert [job.state()["Status"] for job in service.jobs.values()] == ["Stopped", "Succeeded"]
    assert asked.read_text().count("\n") == SAMPLES + BATCH


def test_ctrl_c_stops_the_jobs(project, service, tmp_path):
    """By their ids, and each of them ends."""
    asked = tmp_path / "asked"
    project.make().yaml([], ("one",), models=[SLOW | {"params": {"delay": 5}}])
    process = project.start(*ON)
    try:
        wait_for(asked.exists, process=process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    finally:
        kill_group(process)
    assert [action for action, *_ in service.asked if action == "StopJob"]
    assert {job.state()["Status"] for job in service.jobs.values()} == {"Stopped"}
