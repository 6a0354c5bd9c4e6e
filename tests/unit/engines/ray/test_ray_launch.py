"""Whole launches on a real Ray: what comes out is what would have come out here, whatever happens to machines."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter

import pytest
from support import Project, kill_alone, kill_group, wait_for

ON = ("evals", "--eval-engine", "ray", "--eval-jobs", "2")
# Figures that differ from run to run.
SECONDS = {"seconds"}


@pytest.fixture
def cluster(rayhost, tmp_path, monkeypatch):
    """``cluster(models=…)``: a suite whose models write down what they are asked, wherever they run."""
    monkeypatch.setenv("RAY_ADDRESS", rayhost.address)
    monkeypatch.setenv("ASKED", str(tmp_path / "asked.txt"))
    return lambda **words: Project(tmp_path / "project").make(secrets_env=["ASKED"], **words)


@pytest.fixture
def asked(tmp_path):
    """How often the models were asked for each sample."""
    return lambda: Counter((tmp_path / "asked.txt").read_text().split() if (tmp_path / "asked.txt").exists() else ())


@pytest.fixture
def start():
    processes = []

    def started(project, *words):
        processes.append(project.start(*ON, *words))
        return processes[-1]

    yield started
    for process in processes:
        kill_group(process)


def summary(workdir):
    with (workdir / "latest" / "summary" / "summary.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in SECONDS} for row in csv.DictReader(file)]


def jobs(project):
    """The cluster's ids of all attempts that were made."""
    units = json.loads((project.latest / "engine" / "jobs.json").read_text())["units"]
    return [attempt["handle"] for unit in units.values() for attempt in unit["attempts"]]


def test_the_same_command_gives_the_same_summary(cluster):
    """Here and on Ray the rows differ in seconds alone; no pair is twice in history, and again all is reused."""
    project = cluster(models=("a", "b"), datasets=("one", "two"), gates={"exact_match": {"min": 0.9}})
    project.dataset("two", 8, wrong=3)
    here = project.run("evals", "--eval-workdir", "here")
    there = project.run(*ON)
    assert (here.code, there.code) == (1, 1), there
    assert here.counts == there.counts == {"passed": 2, "failed": 2}
    assert summary(project.workdir) == summary(project.root / "here")
    history = (project.workdir / "history.jsonl").read_text().splitlines()
    assert set(Counter(json.loads(line)["pair"] for line in history).values()) == {1}
    submitted = jobs(project)
    again = project.run(*ON)
    assert again.counts == there.counts and "reused" in again
    assert jobs(project) == submitted


def test_a_unit_whose_machine_dies_goes_on_elsewhere(cluster, rayhost, start, asked):
    """Its job is lost, which counts for nothing; the next one goes on behind what was predicted."""
    first = rayhost.add_machine(resources={"here": 1})
    project = cluster(params={"delay": 0.3}, samples=120, ray={"resources": {"here": 1}})
    launch = start(project, "--eval-crash-retries", "0")
    wait_for(lambda: sum(asked().values()) >= 8, process=launch)
    rayhost.lose(first)
    rayhost.add_machine(resources={"here": 1})
    output, _ = launch.communicate(timeout=120)
    assert launch.returncode == 0, output
    assert "its node has died" in output
    # A machine that is lost may live on for a while: nothing but what it did then is done again.
    assert len(asked()) == 120 and {asked()[str(sample)] for sample in range(8)} == {1}
    assert len(jobs(project)) == 2


def test_a_launch_that_was_killed_costs_nothing(cluster, start, asked):
    """Its jobs go on, and the same command finds them."""
    project = cluster(params={"delay": 0.3}, samples=24)
    launch = start(project)
    wait_for(lambda: sum(asked().values()) >= 4, process=launch)
    kill_alone(launch)
    again = project.run(*ON)
    assert again.code == 0, again
    assert set(asked().values()) == {1}
    assert len(jobs(project)) == 1


def test_ctrl_c_ends_the_job_and_keeps_what_it_has(cluster, start, asked):
    """The batch at hand ends, and a run here goes on behind it."""
    project = cluster(params={"delay": 0.5}, samples=24)
    launch = start(project)
    wait_for(lambda: sum(asked().values()) >= 4, process=launch)
    os.kill(launch.pid, signal.SIGINT)
    output, _ = launch.communicate(timeout=60)
    assert launch.returncode == 2, output
    here = project.run("evals")
    assert here.code == 0, here
    assert "resumed at" in here
    assert set(asked().values()) == {1}
