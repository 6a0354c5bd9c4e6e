"""`evalrun stop` where a run has jobs on a cluster: whether its launch lives, has left them, or was killed."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest
from support import kill_alone, kill_group, wait_for

ON = ("evals", "--eval-engine", "command", "--eval-jobs", "4")
BATCH, SAMPLES = 4, 32


class Launched:
    """A launch with one job that asks a slow model; ``asked`` is what the model was asked."""

    def __init__(self, project, asked, *more):
        self.project, self._asked, self._more = project, asked, more

    def __enter__(self):
        self.process = self.project.start(*ON, *self._more, ASKED=str(self._asked))
        wait_for(lambda: len(self.asked()) >= 4, process=self.process)
        return self

    def __exit__(self, *error):
        kill_group(self.process)

    def asked(self):
        return self._asked.read_text().split() if self._asked.exists() else []

    def again(self, killed=False):
        """The same command, to its end: every sample was asked once, but for the batch at hand of a job killed."""
        ran = self.project.run(*ON, ASKED=str(self._asked))
        assert ran.code == 0, ran
        twice = [sample for sample, times in Counter(self.asked()).items() if times > 1]
        assert len(twice) <= (BATCH if killed else 0)
        assert len(self.project.predictions("a", "one")) == SAMPLES
        return ran


@pytest.fixture
def launched(project, batch, tmp_path):
    """``with launched(option, …) as launch:``."""
    words = {"max_batch_size": BATCH, "params": {"delay": 0.2}, "batch_system": batch.words()}
    project.make(samples=SAMPLES, **words)
    return lambda *more: Launched(project, tmp_path / "asked", *more)


def over(batch):
    return all(job.is_over for job in batch.jobs())


def test_jobs_of_a_killed_launch_are_cancelled_by_their_handles(project, batch, launched):
    """They end after the batch at hand, nobody else is blamed, and the next launch goes on where they were."""
    with launched() as launch:
        kill_alone(launch.process)
        code, told, _ = project.evalrun("stop", "--grace", "30")
        assert code == 0
        (job,) = batch.jobs()
        assert f"cancelling 1 job: {job.id} (u001)" in told
        assert "they have ended" in told
        assert "carry on with: " in told
        assert (job.state, job.code) == ("CANCEL", 75)
        assert not batch.processes()
        ran = launch.again()
        assert "cancelled" not in ran
        assert len(batch.jobs()) == 2


def test_jobs_that_were_left_are_cancelled(project, batch, launched):
    """A launch that was stopped with `--eval-on-interrupt detach` leaves its jobs; stop does not."""
    with launched("--eval-on-interrupt", "detach") as launch:
        os.kill(launch.process.pid, signal.SIGINT)
        launch.process.communicate(timeout=60)
        assert batch.living()
        assert "cancelling 1 job" in project.evalrun("stop", "--grace", "30")[1]
        assert over(batch)
        launch.again()


@pytest.mark.parametrize("how", ["cancel", "detach"])
def test_a_living_launch_is_stopped_with_its_jobs(project, batch, launched, how):
    """Whatever it does with them by itself."""
    with launched("--eval-on-interrupt", how) as launch:
        code, told, _ = project.evalrun("stop", "--grace", "30")
        assert code == 0 and "SIGTERM to process" in told
        launch.process.communicate(timeout=60)
        batch.wait(lambda jobs: over(batch))
        launch.again()


def test_jobs_that_do_not_end_in_time_are_named(project, batch, launched):
    """They are nobody's from then on: the next launch does not wait for what they write."""
    with launched() as launch:
        kill_alone(launch.process)
        (job,) = batch.living()
        batch.freeze(job.id)
        told = project.evalrun("stop", "--grace", "0")[1]
        assert f"1 job will end after the batch at hand: {job.id}" in told
        (unit,) = json.loads((project.latest / "engine" / "jobs.json").read_text())["units"].values()
        assert (unit["state"], unit["attempts"][-1]["over"]) == ("left", False)
        batch.out_of_memory(job.id)
        batch.wait(lambda jobs: over(batch))
        launch.again(killed=True)


def test_jobs_that_have_ended_are_left_to_be_read(project, batch, launched):
    """A launch was killed, its jobs went on to their end: stop finds nothing to do, the next launch takes them in."""
    with launched() as launch:
        kill_alone(launch.process)
        batch.wait(lambda jobs: over(batch))
        assert "cancelling" not in project.evalrun("stop")[1]
        launch.again()
        assert len(batch.jobs()) == 1


def test_a_cluster_that_is_away_is_an_error(project, batch, launched):
    """It says so, changes nothing, and the same command works once the cluster is back."""
    with launched() as launch:
        kill_alone(launch.process)
        batch.down()
        code, _, errors = project.evalrun("stop")
        assert code != 0
        assert "the cluster of --eval-engine command does not answer" in errors
        assert "1 job of this run may go on there" in errors
        batch.up()
        assert "cancelling 1 job" in project.evalrun("stop", "--grace", "30")[1]
        assert over(batch)
