"""Judges in a real session: a rough endpoint, a kill in the middle, and what is asked again after that: nothing."""

from __future__ import annotations

import json
import time

import pytest
from llmserver import llm_server
from support import kill_group

SAMPLES = 60
PLACES = 4


@pytest.fixture(scope="module")
def running():
    with llm_server("--canned", "GRADE: 1") as server:
        yield server


@pytest.fixture
def server(running):
    """Without faults, and nothing counted yet."""
    running.faults(**dict.fromkeys(("429", "delay")), retry_after=None, canned="GRADE: 1")
    running.reset()
    return running


@pytest.fixture
def judged(project, server):
    """A suite whose model echoes numbers, each of which a judge grades."""

    def make(metrics=("exact_match",), **words):
        model = {"model": "ngram", "base_url": server.url, "concurrency": PLACES, **words.pop("model", {})}
        template = "Is {{ prediction }} what was asked for? {{ scale }}"
        judge = {"judge": {"name": "good", "model": model, "template": template, **words}}
        project.make(samples=SAMPLES, metrics=[judge, *metrics])
        return project

    return make


def verdicts(project):
    path = project.latest / "predictions" / "echo" / "a" / "one.judged.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def score(project):
    result = project.result("a", "one")
    return result["metrics"]["good"], result["usage"]["judge"]["good"]["finish"]


def test_each_text_is_judged_once_whatever_happens(judged, server):
    """Refused again and again and killed in the middle, the result is that of an undisturbed run."""
    project = judged()
    server.faults(**{"429": "every:3"}, retry_after="ms:20", delay=0.05)
    process = project.start("evals")
    try:
        deadline = time.monotonic() + 60
        while server.stats()["answered"] < SAMPLES // 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        kill_group(process)
    assert 0 < len(verdicts(project)) < SAMPLES
    assert project.run().code == 0
    times = server.stats()["answered_prompts"].values()
    assert len(times) == SAMPLES
    assert sum(times) - SAMPLES <= PLACES, "at most what was in flight when it was killed is asked twice"
    assert len(verdicts(project)) == SAMPLES
    rough = score(project)
    server.faults(**{"429": None}, delay=None)
    assert project.run("evals", "--eval-run", "new").code == 0
    assert score(project) == rough
    assert (rough[0]["value"], rough[0]["n"]) == (1.0, SAMPLES)


def test_another_metric_asks_no_judge(judged, server):
    """Scores are made again, of the verdicts that there are; another judge beside it is asked alone."""
    project = judged()
    assert project.run().code == 0
    assert server.stats()["answered"] == SAMPLES
    server.reset()
    judged(metrics=("exact_match", "mae"))
    again = project.run()
    assert again.code == 0
    assert "scored again: metrics changed (mae)" in again
    assert server.stats()["answered"] == 0


def test_judge_is_paid_within_the_limit(judged, server):
    """Where the money ends the verdicts that there are stay; more of it carries on with the others."""
    project = judged(model={"price": {"output": 1000}})
    stopped = project.run("evals", "--eval-max-cost", "0.06")
    asked = server.stats()["answered"]
    assert stopped.code == 1
    assert asked < SAMPLES
    assert f"{SAMPLES - asked} of {SAMPLES} samples" in stopped
    assert len(verdicts(project)) == asked
    done = project.run("evals", "--eval-max-cost", "1")
    assert done.code == 0
    assert server.stats()["answered"] == SAMPLES
    assert project.result("a", "one")["usage"]["judge"]["good"]["cost"] > 0.06
