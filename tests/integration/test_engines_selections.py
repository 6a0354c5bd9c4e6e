"""Launches of one run with an engine that do not want the same: nothing of one costs another anything."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
from support import kill_alone, kill_group, wait_for

ON = ("evals", "--eval-engine", "command", "--eval-jobs", "4")
SAMPLES = 24


@pytest.fixture
def asked(tmp_path):
    """What models were asked, a line each."""
    return tmp_path / "asked"


def begin(project, process_ended, *words, asked):
    """Start a launch, wait, and kill it: its jobs go on."""
    launcher = project.start(*ON, *words, ASKED=str(asked))
    try:
        wait_for(process_ended, process=launcher)
        kill_alone(launcher)
    finally:
        kill_group(launcher)


def times(asked):
    """How often each sample was asked for."""
    return Counter(Counter(asked.read_text().split()).values())


def test_jobs_of_another_selection_are_left_alone(project, batch, asked):
    """A launch that ends well leaves what an earlier one has under way, for whoever selects that again."""
    project.make(("a", "b"), ("one",), samples=SAMPLES, batch_system=batch.words(), params={"delay": 0.3})
    begin(project, lambda: asked.exists() and asked.read_text().count("\n") >= 8, "-k", "a/one", asked=asked)
    (job,) = batch.living()
    batch.freeze(job.id)
    other = project.run(*ON, "-k", "b/one", "--eval-set", "params.delay=0")
    assert other.code == 0, other
    batch.wait(lambda jobs: [living.id for living in jobs if not living.is_over] == [job.id])
    batch.thaw(job.id)
    again = project.run(*ON, "-k", "a/one", ASKED=str(asked))
    assert again.code == 0, again
    assert "found 1 unit of an earlier launch" in again
    assert times(asked) == {1: SAMPLES}
    assert len(project.predictions("a", "one")) == SAMPLES


def test_what_an_adopted_job_has_predicted_is_taken_over(project, batch, asked):
    """A job that had not begun when its launch died is a source for the attempt that goes on for it."""
    project.make(("a",), ("one",), samples=SAMPLES, batch_system=batch.words(), params={"delay": 0.3})
    batch.hold()
    begin(project, batch.living, asked=asked)
    launcher = project.start(*ON, ASKED=str(asked))
    try:
        wait_for(lambda: len(batch.calls("status")) >= 2, process=launcher)
        batch.hold(held=False)
        wait_for(lambda: asked.exists() and asked.read_text().count("\n") >= 8, process=launcher)
        batch.preempt(batch.living()[0].id)
        output, _ = launcher.communicate(timeout=60)
    finally:
        kill_group(launcher)
    assert launcher.returncode == 0, output
    assert times(asked) == {1: SAMPLES}


def test_what_the_first_failure_spares_is_no_error(project, batch):
    """Items that nobody wanted any more are in no report, however few deaths are allowed; the next launch has them."""
    datasets = [f"d{number}" for number in range(6)]
    gate = {"gates": {"exact_match": {"min": 1.1}}}
    project.make(("a",), datasets, batch_system=batch.words(), params={"delay": 0.3}, **gate)
    ran = project.run("evals", "--eval-engine", "command", "--eval-jobs", "1", "-x", "--eval-crash-retries", "0")
    assert ran.code == 1, ran
    assert set(ran.counts) == {"failed"}, ran
    assert ran.counts["failed"] < len(datasets)
    assert "ended with code" not in ran
    states = json.loads((project.latest / "engine" / "jobs.json").read_text())["units"]
    assert {unit["state"] for unit in states.values()} == {"left"}


def test_a_test_that_leases_gpus_needs_none_of_this_machine(project, batch):
    """It goes out with what it asks for, whatever there is here; of one that no job will report its error says why."""
    project.make(("a",), ("one",), batch_system=batch.words())
    (project.suite / "test_own.py").write_text("def test_own(gpus):\n    pass\n")
    batch.hold()
    launcher = project.start("evals", *ON[1:], "-k", "test_own or a/one", CUDA_VISIBLE_DEVICES="")
    try:
        for job in batch.wait(lambda jobs: len(jobs) == 2):
            batch.cancel(job.id)
        output, _ = launcher.communicate(timeout=60)
    finally:
        kill_group(launcher)
    assert launcher.returncode == 1, output
    assert "2 errors" in output
    assert "ERROR at setup of test_own __________________________\njob 1 was cancelled on the cluster" in output
    assert ["--gpus 1" in " ".join(words) for words in batch.calls("submit")].count(True) == 1, output


def test_a_cluster_that_takes_nothing_is_an_error(project, batch):
    """Its words are the error of the launch, and no item is passed over in silence."""
    project.make(("a",), ("one",), batch_system=batch.words())
    batch.refuse("your project has no hours left")
    ran = project.run(*ON)
    assert ran.code == 4, ran
    assert ran.output.count("your project has no hours left") == 1, ran


WAITS = """
import os, time

def test_here():
    end = time.monotonic() + 120
    while open(os.environ["ASKED"], "a+").tell() < {size}:
        assert time.monotonic() < end, "nobody was submitted"
        time.sleep(0.1)
"""


def test_a_long_item_here_keeps_no_job_waiting(project, batch, asked):
    """Whoever runs here holds up reports, not the cluster: what has a slot is submitted all the same."""
    models = [{"name": "a", "path": "a.bin", "slurm": "--exclusive"}, {"name": "b", "path": "b.bin"}]
    project.make(("a", "b"), ("one",), samples=4)
    project.yaml((), ("one",), models=models, batch_system=batch.words())
    probe = project.run("evals", ASKED=str(asked))
    assert probe.code == 0, probe
    size = asked.stat().st_size
    asked.unlink()
    (project.suite / "test_own.py").write_text(WAITS.format(size=size))
    ran = project.run("evals", "--eval-engine", "command", "--eval-jobs", "1", "--eval-run", "new", ASKED=str(asked))
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 3}
    assert len(batch.jobs()) == 2


def test_ctrl_c_while_an_item_runs_here(project, batch, asked):
    """It ends that item, and the jobs."""
    project.make(("a",), ("one",), samples=400, batch_system=batch.words(), params={"delay": 0.5})
    (project.suite / "test_own.py").write_text("import time\n\ndef test_here():\n    time.sleep(300)\n")
    launcher = project.start(*ON, ASKED=str(asked))
    try:
        wait_for(asked.exists, process=launcher)
        launcher.send_signal(signal.SIGINT)
        output, _ = launcher.communicate(timeout=60)
    finally:
        kill_group(launcher)
    assert launcher.returncode == 2, output
    assert "1 job cancelled" in output
    batch.wait(lambda jobs: all(job.is_over for job in jobs))
