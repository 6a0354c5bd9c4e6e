"""Endpoints on bad days, by real pytest: what passes is waited for, what is final costs the sample that it meets."""

from __future__ import annotations

import json

import pytest
from llmserver import llm_server

ROWS = 40


@pytest.fixture(scope="module")
def running():
    with llm_server("--canned", "blue") as server:
        yield server


@pytest.fixture
def server(running):
    running.faults(**dict.fromkeys(running.faults()) | {"canned": "blue"})
    running.reset()
    return running


@pytest.fixture
def evaluate(project, server):
    """Ask for the colour of so many skies; ``words`` are of the model."""

    def run(*options, top=None, **words):
        project.make(models=(), datasets=("one",), adapter="openai")
        rows = [{"x": f"What is the colour of sky {i}?", "y": "blue"} for i in range(ROWS)]
        (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        model = {"name": "a", "model": "ngram", "base_url": server.url, "concurrency": 8} | words
        project.yaml((), ("one",), **{"adapter": "openai", "models": [model], "retries": 30} | (top or {}))
        return project.run("evals", *options)

    return run


# Each strikes one of the first requests; then every prompt is refused once.
PASSING = {
    "500": "nth:2",
    "cut": "nth:4",
    "cut_body": "nth:7",
    "half_json": "nth:9",
    "html": "nth:12",
    "503": "nth:14",
    "stall": "nth:17",
    "stall_body": "nth:20",
    "408": "nth:22",
    "429": "each:1",
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_all_that_passes_at_once(evaluate, project, server, stream):
    """Refusals, errors, cut and stalled connections, halves of answers: no prompt is lost, and none is paid twice."""
    server.faults(**PASSING, retry_after="ms:20")
    ran = evaluate(request_timeout=2, stream=stream)

    assert ran.code == 0, ran
    stats = server.stats()
    assert stats["faults"].keys() == PASSING.keys()
    assert len(stats["answered_prompts"]) == ROWS
    assert sum(stats["answered_prompts"].values()) <= ROWS + stats["gone"]  # who waits no longer asks again
    lines = project.predictions("a", "one")
    assert sorted(line["index"] for line in lines) == list(range(ROWS))
    assert {line["prediction"] for line in lines} == {"blue"}


FINAL = {
    "empty": "the endpoint answered no choices",
    "null": "the endpoint answered no text (finish_reason: stop)",
    "tool_calls": "the endpoint answered no text (finish_reason: tool_calls)",
    "huge": "the endpoint answered more than 10 MB",
    "context": "HTTP 400: This model's maximum context length is 8192 tokens.",
    "422": "HTTP 422: refused with 422",
}


def test_what_is_final_costs_its_sample_alone(evaluate, project, server):
    """It is asked once and fails, for a reason that is told; the next run asks for such samples alone."""
    server.faults(**{fault: f"contains:sky {row}?" for row, fault in enumerate(FINAL)})
    ran = evaluate()

    assert ran.code == 1, ran
    assert f"{len(FINAL)} of {ROWS} failed" in ran
    assert server.stats()["requests"] == ROWS
    failed = {line["index"]: line["error"] for line in project.predictions("a", "one") if line["status"] != "ok"}
    assert failed.keys() == set(range(len(FINAL)))
    assert {row: told for row, told in enumerate(FINAL.values()) if told not in failed[row]} == {}

    server.faults(**dict.fromkeys(FINAL))
    assert evaluate().code == 0
    assert server.stats()["requests"] == ROWS + len(FINAL)


def test_another_model_ends_the_pair(evaluate, server):
    """Where another model answers than the one that was asked for, nothing of it counts, and both are named."""
    server.faults(model="nth:9")
    ran = evaluate()

    assert ran.code == 1, ran
    assert "the model 'ngram' was asked for, and 'another-than-ngram' answered" in ran


def test_answers_that_were_cut_off_are_counted(evaluate, project, server):
    """They are answers, and how many of them were not finished stands in the result."""
    server.faults(length="contains:sky 3?", content_filter="contains:sky 4?")
    ran = evaluate()

    assert ran.code == 0, ran
    finish = project.result("a", "one")["usage"]["finish"]
    assert finish == {"stop": ROWS - 2, "length": 1, "content_filter": 1}
