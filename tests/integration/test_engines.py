"""The same command on a batch system: what comes out of it is what would have come out here."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
from collections import Counter

import pytest
from support import kill_alone, kill_group, wait_for

ON = ("evals", "--eval-engine", "command", "--eval-jobs", "4")
DIES = """
import os

class Model:
    def __init__(self, path=None):
        pass

    def predict(self, batch):
        print("last words", flush=True)
        os._exit(3)
"""
# Figures that differ from run to run.
SECONDS = {"seconds"}


def summary(run):
    """The rows of a run's tables without what differs each time."""
    rows = csv.DictReader((run / "summary" / "summary.csv").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in SECONDS} for row in rows]


def history(project):
    lines = (project.workdir / "history.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["pair"] for line in lines)


def jobs_file(project):
    return json.loads((project.latest / "engine" / "jobs.json").read_text())


def test_the_same_command_gives_the_same_summary(cluster, batch):
    """Locally and as jobs: the rows differ in seconds alone, no pair is twice in history, and no job is left."""
    project = cluster(models=("a", "b"), datasets=("one", "two", "three"))
    here = project.run("evals", "--eval-workdir", "here")
    assert here.code == 0, here
    there = project.run(*ON)
    assert there.code == 0, there
    assert there.counts == here.counts == {"passed": 6}
    assert summary(project.latest) == summary(project.root / "here" / "latest")
    assert set(history(project).values()) == {1}
    assert batch.wait(lambda jobs: all(job.is_over for job in jobs))
    again = project.run(*ON)
    assert again.code == 0, again
    assert again.counts == {"passed": 6}
    assert "reused" in again
    assert len(batch.jobs()) == len(batch.calls("submit"))


def test_a_launcher_that_was_killed_costs_nothing(cluster, batch, tmp_path):
    """Its jobs go on, the same command finds them, and no sample is asked twice."""
    asked = tmp_path / "asked"
    project = cluster(params={"delay": 0.3}, datasets=("one", "two"))
    with process_of(project, ASKED=str(asked)) as launcher:
        wait_for(lambda: asked.exists() and asked.read_text().count("\n") >= 4, process=launcher)
        kill_alone(launcher)
    again = project.run(*ON, ASKED=str(asked))
    assert again.code == 0, again
    assert "of an earlier launch" in again
    assert len(batch.jobs()) == len(batch.calls("submit"))
    assert Counter(asked.read_text().split()).most_common(1)[0][1] <= 2  # once for each dataset
    assert set(history(project).values()) == {1}


class process_of:  # noqa: N801 - reads as a phrase
    def __init__(self, project, *more, **env):
        self._process = project.start(*ON, *more, **env)

    def __enter__(self):
        return self._process

    def __exit__(self, *error):
        kill_group(self._process)


def test_ctrl_c_cancels_and_keeps(cluster, batch, tmp_path):
    """Jobs end after the batch at hand, what they have predicted is in the run, and a run here goes on there."""
    asked = tmp_path / "asked"
    project = cluster(params={"delay": 0.5}, samples=24)
    with process_of(project, ASKED=str(asked)) as launcher:
        wait_for(lambda: asked.exists() and asked.read_text().count("\n") >= 4, process=launcher)
        os.kill(launcher.pid, signal.SIGINT)
        output, _ = launcher.communicate(timeout=60)
        assert launcher.returncode == 2, output
    batch.wait(lambda jobs: all(job.is_over for job in jobs))
    before = len(project.predictions("a", "one"))
    assert before >= 4
    here = project.run("evals", ASKED=str(asked))
    assert here.code == 0, here
    assert f"resumed at {before} of 24" in here
    assert set(Counter(asked.read_text().split()).values()) == {1}


def test_ctrl_c_twice_cancels_all_the_same(project, batch, tmp_path):
    """Whoever is in a hurry breaks in on the wait, not on the command that ends the jobs."""
    asked, cancels = tmp_path / "asked", tmp_path / "cancels"
    late = shlex.join(["sh", "-c", f'touch {cancels}; sleep 1; exec {batch.command("cancel")} "$@"', "cancel"])
    project.make(batch_system=batch.words(cancel=f"{late} {{ids}}"), params={"delay": 0.5}, samples=100)
    with process_of(project, ASKED=str(asked)) as launcher:
        wait_for(asked.exists, process=launcher)
        os.kill(launcher.pid, signal.SIGINT)
        wait_for(cancels.exists, process=launcher)
        os.kill(launcher.pid, signal.SIGINT)
        output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 2, output
    assert batch.calls("cancel")
    batch.wait(lambda jobs: all(job.is_over for job in jobs))


def test_detached_jobs_are_found_again(cluster, batch, tmp_path):
    """With --eval-on-interrupt detach Ctrl-C leaves them alone."""
    asked = tmp_path / "asked"
    project = cluster(params={"delay": 0.3}, samples=16)
    with process_of(project, "--eval-on-interrupt", "detach", ASKED=str(asked)) as launcher:
        wait_for(asked.exists, process=launcher)
        os.kill(launcher.pid, signal.SIGINT)
        output, _ = launcher.communicate(timeout=60)
        assert launcher.returncode == 2, output
    assert batch.living()
    again = project.run(*ON, ASKED=str(asked))
    assert again.code == 0, again
    assert set(Counter(asked.read_text().split()).values()) == {1}
    assert len(batch.jobs()) == 1


def test_a_preempted_unit_goes_on_where_it_was(cluster, batch, tmp_path):
    """It does not count as a crash, and its next attempt takes over what was predicted."""
    asked = tmp_path / "asked"
    project = cluster(params={"delay": 0.3}, samples=24)
    with process_of(project, "--eval-crash-retries", "0", ASKED=str(asked)) as launcher:
        wait_for(lambda: asked.exists() and asked.read_text().count("\n") >= 8, process=launcher)
        batch.preempt(batch.living()[0].id)
        output, _ = launcher.communicate(timeout=120)
        assert launcher.returncode == 0, output
    assert "preempted" in output
    assert set(Counter(asked.read_text().split()).values()) == {1}
    assert len(batch.jobs()) == 2


def test_a_unit_that_is_too_long_becomes_two(cluster, batch, tmp_path):
    """After a time limit its pairs go on in smaller jobs, the longest alone, from the sample where they were."""
    asked = tmp_path / "asked"
    project = cluster(models=("a",), datasets=("one", "two", "three"), params={"delay": 0.3}, samples=24)
    with process_of(project, "--eval-jobs", "1", ASKED=str(asked)) as launcher:
        wait_for(lambda: asked.exists() and asked.read_text().count("\n") >= 8, process=launcher)
        batch.expire(batch.living()[0].id)
        output, _ = launcher.communicate(timeout=120)
        assert launcher.returncode == 0, output
    assert "reached its time limit on" in output
    assert "3 items to go on in 2 jobs" in output
    assert len(batch.jobs()) == 3
    assert Counter(asked.read_text().split()).most_common(1)[0][1] == 3  # once for each dataset


@pytest.mark.parametrize("words", [["-x"], ["--maxfail", "1"]])
def test_the_first_failure_ends_it(cluster, batch, words):
    """What waits is cancelled, what runs ends and is told."""
    datasets = [f"d{number}" for number in range(8)]
    project = cluster(datasets=datasets, gates={"exact_match": {"min": 1.1}}, params={"delay": 0.2})
    ran = project.run("evals", "--eval-engine", "command", "--eval-jobs", "1", *words)
    assert ran.code == 1, ran
    assert "stopping after " in ran
    assert 1 <= ran.counts["failed"] < len(datasets)
    batch.wait(lambda jobs: all(job.is_over for job in jobs))


def test_allure_and_warnings_of_jobs_are_those_of_the_launch(cluster, with_allure):
    """One result an item where the launch wants them, and each warning at the end of the session."""
    project = cluster(models=("a",), datasets=("one", "two"))
    (project.suite / "test_own.py").write_text(
        "def test_own(evaluation):\n    import warnings; warnings.warn('look here')\n"
    )
    ran = project.run(*ON, "--alluredir=allure")
    assert ran.counts == {"passed": 4, "warning": 2}, ran
    results = [json.loads(path.read_text()) for path in (project.root / "allure").glob("*-result.json")]
    assert sorted(result["name"] for result in results) == [
        "test_own[a/one]",
        "test_own[a/two]",
        "test_pair[a/one]",
        "test_pair[a/two]",
    ]
    assert {result["status"] for result in results} == {"passed"}


def test_a_pair_that_a_job_is_at_is_seen_to_move(cluster, batch, tmp_path):
    """The monitor shows how far it is, which attempt is at it, and its job."""
    project = cluster(params={"delay": 1.0}, samples=200)
    with process_of(project) as launcher:

        def moved():
            code, out, _ = project.evalrun("monitor", "--json")
            running = json.loads(out)["running"] if code == 0 else []
            return [each for each in running if each["share"] > 0]

        (seen,) = wait_for(moved, process=launcher)
        assert (seen["pair"], seen["worker"]) == ("echo/a/one", "u001.1")
        launcher.send_signal(signal.SIGINT)
        launcher.communicate(timeout=60)


def test_the_log_of_what_was_given_up_is_in_the_run(cluster, batch):
    """Whoever looks for the reason finds what the model said before its process died."""
    project = cluster()
    (project.suite / "model.py").write_text(DIES)
    ran = project.run(*ON, "--eval-crash-retries", "0")
    assert ran.code == 1, ran
    assert ran.counts == {"error": 1}
    assert "last words" in (project.latest / "logs" / "infer" / "echo" / "a" / "one.log").read_text()
