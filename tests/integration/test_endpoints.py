"""Models behind an endpoint, by real pytest against a real server that counts what it is asked."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
from llmserver import llm_server
from support import Project, kill_group, wait_for

KEY = "the-key-of-this-endpoint"


@pytest.fixture(scope="module")
def running():
    with llm_server("--canned", "blue") as server:
        yield server


@pytest.fixture
def server(running):
    """The same for all tests of the module, with no faults and nothing counted."""
    running.faults(**dict.fromkeys(running.faults(), None) | {"canned": "blue"})
    running.reset()
    return running


@pytest.fixture
def suite(project, server):
    """A suite of so many prompts for the server, with further words for its model."""

    def make(samples=8, top=None, **words):
        model = {"name": "a", "model": "ngram", "base_url": server.url, "concurrency": 4, **words}
        model = {name: value for name, value in model.items() if value is not None}
        project.make(models=(), datasets=("one",), adapter="openai")
        rows = [{"x": f"What is the colour of sky {i}?", "y": "blue"} for i in range(samples)]
        (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        project.yaml((), ("one",), **{"adapter": "openai", "models": [model]} | (top or {}))
        return project

    return make


def test_a_model_behind_an_endpoint(suite, server):
    """Each prompt is asked once, and the second run asks nothing."""
    project = suite(price={"input": 1, "output": 2})
    first, second = project.run(), project.run()

    assert (first.code, second.code) == (0, 0), (first, second)
    assert "reused" in second
    assert server.stats()["requests"] == 8
    lines = project.predictions("a", "one")
    assert {line["prediction"] for line in lines} == {"blue"}
    detail = lines[0]["detail"]
    assert (detail["finish_reason"], detail["attempts"], detail["model"]) == ("stop", 1, "ngram")
    assert detail["cost"] == (detail["usage"]["input"] + 2 * detail["usage"]["output"]) / 1_000_000
    assert len({line["detail"]["digest"] for line in lines}) == 8


def test_rate_limits(suite, server):
    """What is refused is asked again when the endpoint wants that, and nothing else is."""
    server.faults(**{"429": "each:1"})
    project = suite(retries=0)
    ran = project.run()

    assert ran.code == 0, ran
    stats = server.stats()
    assert stats["refused"] == {"429": 8}
    assert stats["requests"] == 8 + 8
    assert set(stats["answered_prompts"].values()) == {1}
    assert {line["detail"]["attempts"] for line in project.predictions("a", "one")} == {2}


def test_a_key_that_is_refused_ends_the_pair(suite, project):
    """A wrong key costs as many requests as are under way, and its variable is named; the key is in no file."""
    with llm_server("--api-key", "another") as locked:
        suite(200, base_url=locked.url, api_key="${LLM_KEY}")
        ran = project.run(LLM_KEY=KEY)
        assert ran.code == 1, ran
        assert "the key of `api_key: ${LLM_KEY}` is not accepted there" in ran
        assert locked.stats()["requests"] <= 4
    assert KEY not in ran
    assert not [path for path in project.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_key_is_sent_and_kept_nowhere(suite, project):
    """The right key opens the endpoint, and no file of the run has it."""
    with llm_server("--api-key", KEY) as locked:
        ran = suite(base_url=locked.url, api_key="${LLM_KEY}", top={"max_failed": 0}).run(LLM_KEY=KEY)
        assert locked.stats()["answered"] == 8, ran
    assert not [path for path in project.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_each_model_is_asked_with_its_own_key(suite, project):
    """Two models that differ in nothing but their key are two: the wrong key of one is not that of the other."""
    with llm_server("--api-key", KEY) as locked:
        model = {"model": "ngram", "base_url": locked.url}
        models = [{"name": name, "api_key": f"${{{name.upper()}_KEY}}", **model} for name in ("right", "wrong")]
        ran = suite(top={"models": models, "max_failed": 0}).run(RIGHT_KEY=KEY, WRONG_KEY="guessed-by-somebody")

    assert "api_key: ${WRONG_KEY}` is not accepted" in ran
    assert len(project.predictions("right", "one")) == 8


def test_a_limit_of_time(suite, server):
    """A pair that is out of time costs itself only: its requests end, and the next pair asks the same model."""
    server.faults(stall="contains:sky 2?")
    datasets = [{"name": "one", "path": "one.jsonl", "timeout": 2}, {"name": "two", "path": "two.jsonl"}]
    project = suite(top={"datasets": datasets})
    (project.suite / "two.jsonl").write_text('{"x": "And the sea?", "y": "blue"}\n')
    ran = project.run()

    assert ran.code == 1, ran
    assert len(project.predictions("a", "one")) == 7
    assert project.result("a", "two")["metrics"]["exact_match"]["value"] == 1
    wait_for(lambda: server.stats()["in_flight"] == 0)
    loaded = [event for event in project.events() if event["event"] == "model_loaded"]
    assert len(loaded) == 1


def test_a_key_that_is_not_set(suite, server):
    """Without its variable nothing is asked, and the variable is named."""
    ran = suite(api_key="${LLM_KEY}").run()

    assert ran.code == 1, ran
    assert "the environment variable LLM_KEY is not set" in ran
    assert server.stats()["requests"] == 0


def test_what_arrived_is_kept_at_ctrl_c(suite, server):
    """One request that hangs holds up nothing: all others are kept, and Ctrl-C waits for none."""
    server.faults(stall="contains:sky 2?")
    project = suite()
    process = project.start("evals")
    try:
        wait_for(lambda: server.stats()["answered"] == 7, process=process)
        wait_for(lambda: len(project.predictions("a", "one")) == 7, process=process)
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        kill_group(process)

    assert process.returncode == 2, output
    wait_for(lambda: server.stats()["in_flight"] == 0)
    server.faults(stall=None)
    assert project.run().code == 0
    assert server.stats()["requests"] == 8 + 1


def test_nothing_is_paid_twice_after_a_kill(suite, server):
    """After kill -9 at half of 2,000 prompts, only those under way then are asked again."""
    project = suite(2000, concurrency=16)
    server.faults(delay=0.005)
    process = project.start("evals")
    try:
        wait_for(lambda: server.stats()["requests"] >= 1000, process=process)
    finally:
        kill_group(process)
    ran = project.run()

    assert ran.code == 0, ran
    stats = server.stats()
    assert stats["most"] <= 16
    assert len(stats["prompts"]) == 2000
    assert stats["requests"] <= 2000 + 16


def test_two_sessions_share_one_budget(suite, server, tmp_path):
    """However many workers of however many sessions ask an endpoint, they never ask more than `concurrency` at once."""
    server.faults(delay=0.02)
    datasets = [f"d{number}" for number in range(4)]
    project = suite(100, concurrency=20, top={"datasets": [{"name": name, "path": "one.jsonl"} for name in datasets]})
    other = shutil.copytree(project.root, tmp_path / "other")
    processes = [project.start("evals", "-n4"), Project(other).start("evals", "-n4")]
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            kill_group(process)

    assert [process.returncode for process in processes] == [0, 0], outputs
    stats = server.stats()
    assert stats["requests"] == 8 * 100
    assert stats["most"] <= 20


def test_mistakes_are_usage_errors(suite, server):
    """What is wrong with an endpoint is told before anything runs, and a key that stands there is not shown."""
    ran = suite(api_key=KEY, serve="serve {port}").run()

    assert ran.code == 4, ran
    assert "base_url: found next to serve" in ran
    assert "api_key: found a text as it is; accepted: ${NAME}" in ran
    assert KEY not in ran
    assert server.stats()["requests"] == 0
