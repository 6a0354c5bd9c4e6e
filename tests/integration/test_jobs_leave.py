"""Jobs that are asked to leave, or killed, and the attempts that go on for them."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from jobsuite import Jobs
from support import kill_group, wait_for

MANY = 24
SLOW = """
import time

class Model:
    def __init__(self, path):
        open("loading", "w").close()
        time.sleep(3600)

    def predict(self, batch): ...
"""

DIES_AFTER_THE_OUTCOME = """
import os, signal
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    try:
        open("died", "x").close()
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def jobs(project):
    project.make(models=("a", "b"), datasets=("one",), samples=MANY)
    project.yaml(["a", "b"], ["one"], params={"delay": 0.15})
    return Jobs(project)


def in_the_middle(job, process, batches=2):
    wait_for(lambda: job.jobs.asked_for().total() >= 4 * batches, process=process)


def left(process, job):
    """Its exit code, once it has ended by itself; nothing of it is left."""
    try:
        output, _ = process.communicate(timeout=60)
        assert not alive(process.pid), output
    finally:
        kill_group(process)
    return process.returncode, output


def alive(group):
    return [entry.pid for entry in psutil.process_iter() if entry.pid != group and _group(entry.pid) == group]


def _group(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def kept(job):
    """How many answers there are of all pairs."""
    return sum(len(path.read_text().splitlines()) for path in job.paths.root.glob("predictions/*/*/one.jsonl"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
@pytest.mark.parametrize("workers", [pytest.param(1, id="alone"), pytest.param(2, id="two workers")])
def test_the_batch_at_hand_ends_and_is_kept(jobs, number, workers):
    """Whoever is told to leave finishes what it has asked; the next attempt asks for the rest, and nothing twice."""
    job = jobs.write(workers=workers)
    process = job.start()
    in_the_middle(job, process)
    os.kill(process.pid, number)
    code, output = left(process, job)
    assert code == 75, output
    assert job.ended == []
    assert job.lines[-1]["code"] == 75
    assert kept(job) == jobs.asked_for().total() < 2 * MANY
    goes_on(jobs, job)


def goes_on(jobs, *before, twice=0):
    """The next attempt takes over what others have; so many samples at most may have been asked for twice."""
    job = jobs.write(attempt=2, sources=tuple(str(each.paths.root) for each in before))
    ran = job.run()
    assert ran.code == 0, ran
    assert sorted(job.ended) == sorted(jobs.ids())
    for task in "ab":
        assert [line["index"] for line in job.predictions(task, "one")] == [*range(MANY)]
    assert sum(count - 2 for count in jobs.asked_for().values()) <= twice  # by each of two models
    assert len(jobs.asked_for()) == MANY
    return job


def test_all_signals_that_a_cluster_sends_are_one_wish(jobs):
    """The job's script hands on what its processes get too: that is no second wish, and cuts nothing short."""
    job = jobs.write(workers=2)
    process = job.start()
    in_the_middle(job, process)
    for pid in (process.pid, *(entry.pid for entry in psutil.Process(process.pid).children())):
        os.kill(pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    code, output = left(process, job)
    assert code == 75, output
    assert kept(job) == jobs.asked_for().total()


def test_a_second_wish_ends_at_once(jobs):
    """Whoever is told once more does not wait for a batch that takes long."""
    jobs.project.yaml(["a", "b"], ["one"], params={"delay": 3600})
    job = jobs.write()
    process = job.start()
    in_the_middle(job, process, batches=1)
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
    code, output = left(process, job)
    assert code == 75, output
    assert job.ended == []


def test_a_job_that_waits_for_a_model_leaves_at_once(jobs):
    """Nothing of a model that is still being loaded is paid for."""
    (jobs.project.suite / "model.py").write_text(SLOW)
    jobs.project.yaml(["a", "b"], ["one"])
    job = jobs.write()
    process = job.start()
    wait_for(lambda: (jobs.project.root / "loading").exists(), process=process)
    process.send_signal(signal.SIGUSR1)
    code, output = left(process, job)
    assert code == 75, output


@pytest.mark.parametrize("workers", [pytest.param(1, id="alone"), pytest.param(2, id="two workers")])
def test_a_job_that_is_killed_costs_the_batch_at_hand(jobs, workers):
    """What it has kept is taken over; only what was under way is asked for again."""
    job = jobs.write(workers=workers)
    process = job.start()
    in_the_middle(job, process)
    kill_group(process)
    goes_on(jobs, job, twice=4 * workers)


def test_a_worker_that_is_killed_is_no_end_of_its_job(jobs):
    """Its item is run again by another worker of the same job, and told once."""
    jobs.project.yaml(["a", "b"], ["one"], params={"delay": 0.5})  # both are under way for seconds
    job = jobs.write(workers=2)
    process = job.start()
    in_the_middle(job, process)
    psutil.Process(process.pid).children()[0].kill()
    code, output = left(process, job)
    assert code == 0, output
    assert sorted(job.ended) == sorted(jobs.ids()), output
    assert set(job.outcomes().values()) == {"passed"}
    assert sum(count - 2 for count in jobs.asked_for().values()) <= 4


def test_an_item_that_had_its_outcome_is_told_although_its_worker_died(jobs):
    """It is not run again, so whatever the worker could not tell of its teardown, nobody would."""
    (jobs.project.root / "conftest.py").write_text(DIES_AFTER_THE_OUTCOME)
    job = jobs.write(workers=2)
    process = job.start()
    code, output = left(process, job)
    assert code == 0, output
    assert (jobs.project.root / "died").exists()
    assert sorted(job.ended) == sorted(jobs.ids()), output
    assert set(job.outcomes().values()) == {"passed"}
    assert set(jobs.asked_for().values()) == {2}  # once by each pair
