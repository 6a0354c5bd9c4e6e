"""Pairs of agents and tasks whose servers are started for the launch: real processes, and what they saw."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from agentsuite import Agents, nothing_left, processes_below
from support import kill_group, wait_for

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 6
EVERY = {"count", "slow"}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Two agents x two tasks after their first run by two workers, and how that ended."""
    suite = Agents(tmp_path_factory.mktemp("agents") / "project").write(
        {"good": {"concurrency": 3}, "poor": {"concurrency": 3, "params": {"wrong": 3}}},
        {"count": {"concurrency": 2, "seconds": 0.05}, "slow": {"concurrency": 4, "turns": 2, "seconds": 0.05}},
        gates={"success": {"min": 0.6}},
    )
    return suite, suite.run("evals", "-n", "2")


@pytest.fixture
def suite(tmp_path):
    return Agents(tmp_path / "project")


def test_pairs_are_played_once(first):
    """Every pair passes, every sample of it is played once, and what it says is the task's own result."""
    suite, ran = first

    assert (ran.code, ran.counts) == (0, {"passed": 4}), ran
    assert all(suite.noted("begun", task=task) == dict.fromkeys(range(SAMPLES), 2) for task in EVERY)
    assert suite.result("good", "count")["metrics"]["success"]["value"] == 1.0
    assert suite.result("poor", "slow")["metrics"]["success"]["value"] == pytest.approx(4 / 6)
    assert suite.predictions("good", "count")[0]["prediction"] == {
        "status": "completed", "result": {"success": True}, "reward": 1.0
    }  # fmt: skip


def test_both_limits_hold(first):
    """No worker has more samples at once than its task says, no agent more turns, and both are made use of."""
    suite, _ = first
    running = {task: max(suite.noted("running", task=task)) for task in EVERY}

    assert running["count"] == 2
    assert 2 < running["slow"] <= 4
    assert max(suite.noted("acting")) <= 3


def test_files_of_agentbench_are_left(first):
    """Each pair leaves its runs, with the conversation, and an overall figure that says of how many."""
    suite, _ = first
    runs = [json.loads(line) for line in suite.file("good", "slow", "runs.jsonl").splitlines()]
    overall = json.loads(suite.file("good", "slow", "overall.json"))

    assert sorted(line["index"] for line in runs) == list(range(SAMPLES))
    assert [turn["role"] for turn in runs[0]["output"]["history"]] == ["user", "agent", "user", "agent"]
    assert (overall["total"], overall["custom"]) == (SAMPLES, {"told": SAMPLES})


def test_servers_end_with_the_launch(first):
    """Nothing that was started for the launch is there after it."""
    nothing_left(first[0].root)


def test_second_run_starts_no_server(first, tmp_path):
    """What is complete is reused: nobody makes a task, or is asked."""
    suite = copied(first[0], tmp_path)
    ran = suite.run("evals", "-n", "2")

    assert ran.code == 0, ran
    assert ran.output.count("(reused: unchanged") == 4, ran
    assert suite.noted("begun") == {}
    assert suite.noted("asked") == {}


def copied(suite: Agents, place: Path) -> Agents:
    shutil.copytree(suite.root, place / "project", symlinks=True)
    other = Agents(place / "project")
    other.forget()
    return other


def test_another_worker_code_plays_again(first, tmp_path):
    """Another environment makes other samples: with its code, they are played again."""
    suite = copied(first[0], tmp_path)
    (suite.suite / "code.py").write_text((suite.suite / "code.py").read_text() + "\n# changed\n")
    ran = suite.run("evals", "-k", "good and count")

    assert ran.code == 0, ran
    assert suite.noted("begun") == dict.fromkeys(range(SAMPLES), 1)


def test_kill_of_everything_costs_what_was_under_way(suite):
    """After a kill -9 of all processes the next run plays what was not finished, and nothing else again."""
    suite.write(tasks={"count": {"samples": 12, "concurrency": 2, "seconds": 0.3}})
    process = suite.start("evals", "-n", "1")
    wait_for(lambda: suite.noted("ended").total() >= 4, process=process)
    kill_group(process)
    for left in processes_below(suite.root):
        with suppress(psutil.NoSuchProcess):
            left.kill()
    nothing_left(suite.root)
    done = {line["index"] for line in suite.predictions("good", "count")}
    ran = suite.run("evals", "-n", "1")

    assert ran.code == 0, ran
    # Of what has ended in the last moment nothing may be kept yet, and its slots were taken at once.
    assert suite.noted("begun").total() <= 12 + 2 + 2
    assert all(times == 1 for index, times in suite.noted("begun").items() if index in done)
    result = suite.result("good", "count")
    assert (result["samples"]["predicted"], result["metrics"]["success"]["value"]) == (12, 1.0)


def test_servers_end_when_the_launch_is_killed(suite):
    """A kill -9 of the launch leaves no controller and no worker behind."""
    suite.write(tasks={"count": {"seconds": 60}})
    process = suite.start("evals", "-n", "0")
    wait_for(lambda: suite.noted("asked"), process=process)
    kill_group(process)
    nothing_left(suite.root)


def test_a_task_that_raises_is_nobodys_score(suite):
    """A sample whose environment raised is asked again; while it raises it is failed, and has no score."""
    suite.write(tasks={"count": {"broken": {"1": 1, "4": 99}}}, retries=1, max_failed=1)
    ran = suite.run("evals", "-n", "0")
    result = suite.result("good", "count")

    assert ran.code == 0, ran
    assert suite.noted("begun") == {0: 1, 1: 2, 2: 1, 3: 1, 4: 2, 5: 1}
    assert (result["samples"]["failed"], result["metrics"]["success"]["n"]) == (1, SAMPLES - 1)
    assert result["metrics"]["success"]["value"] == 1.0
    (failed,) = [line for line in suite.predictions("good", "count") if line["status"] == "failed"]
    assert (failed["id"], "sample 4 of count is broken" in failed["error"]) == ("4", True)


def test_controller_killed_in_the_middle(suite):
    """A controller that is killed comes back: the results are those of a run that nothing disturbed."""
    suite.write(tasks={"count": {"samples": 12, "concurrency": 2, "turns": 2, "seconds": 0.2}})
    process = suite.start("evals", "-n", "1")
    wait_for(lambda: suite.noted("ended").total() >= 3, process=process)
    (controller,) = [other for other in processes_below(suite.root) if "controller" in other.cmdline()]
    controller.kill()
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 0, output
    assert suite.result("good", "count")["metrics"]["success"]["value"] == 1.0
    assert Counter(line["status"] for line in suite.predictions("good", "count")) == {"ok": 12}
    nothing_left(suite.root)
