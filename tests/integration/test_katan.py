"""An endpoint that is not ours, with its own ideas of answers and of bad days: llm-katan."""

from __future__ import annotations

import json
import re

import pytest
from llmserver import katan_server

PROMPTS = 100
KEY = "whichever-it-takes"


def evaluate(project, endpoint, **model):
    """Ask the echo of it ``PROMPTS`` questions; it answers with the question, below a line about itself."""
    suite = project.make((), ("one",)).suite
    lines = [{"question": f"What is {i} and {i}?", "answer": f"What is {i} and {i}?"} for i in range(PROMPTS)]
    (suite / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    entry = {"name": "echo", "base_url": endpoint.url, "api_key": "${KATAN_KEY}", "sampling": {"max_tokens": 9}} | model
    top = {"adapter": "openai", "inputs": ["question"], "reference": "answer", "retries": 20}
    project.yaml((), ("one",), **top, models=[entry])
    return project.run("evals", KATAN_KEY=KEY)


def asked(endpoint):
    """How many prompts it says that it has answered."""
    return int(re.search(r"^llm_katan_requests_total\{.*\} (\d+)$", endpoint.text("/metrics"), re.MULTILINE)[1])


def test_each_prompt_is_answered_once(project):
    """What another server answers is read as its own, and counted as it counts."""
    with katan_server("--max-concurrent", "8") as endpoint:
        ran = evaluate(project, endpoint, concurrency=8)

        assert ran.code == 0, ran
        lines = project.predictions("echo", "one")
        assert [line["id"] for line in lines if "What is" in line["prediction"]] == [line["id"] for line in lines]
        assert len(lines) == PROMPTS == asked(endpoint)
        assert all(line["detail"]["usage"]["input"] == 5 for line in lines)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(("--error-rate", "0.15"), id="one in seven fails"),
        pytest.param(("--max-inflight", "2", "--latency-ms", "20"), id="two at once"),
    ],
)
def test_bad_days_are_survived(project, fault):
    """Errors and refusals cost time, and no prompt: each is answered, and none twice."""
    with katan_server("--max-concurrent", "8", *fault) as endpoint:
        ran = evaluate(project, endpoint, concurrency=8)

        assert ran.code == 0, ran
        lines = project.predictions("echo", "one")
        assert len(lines) == PROMPTS == asked(endpoint)
        assert {line["status"] for line in lines} == {"ok"}
        assert any(line["detail"]["attempts"] > 1 for line in lines)


def test_streams_are_read(project):
    """An answer that comes in pieces is the same, and says when its first one came."""
    with katan_server("--max-concurrent", "8", "--itl-ms", "1") as endpoint:
        ran = evaluate(project, endpoint, concurrency=8, stream=True)

        assert ran.code == 0, ran
        lines = project.predictions("echo", "one")
        assert all(
            f"User: What is {i} and {i}?" in line["prediction"]
            for i, line in enumerate(sorted(lines, key=lambda line: line["index"]))
        )
        assert all(0 < line["detail"]["ttft"] <= line["seconds"] for line in lines)


def test_wrong_key_ends_the_pair(project):
    """Where it wants another key the pair ends at once, and names the variable that holds it."""
    with katan_server("--validate-keys", "--api-keys", "openai=another") as endpoint:
        ran = evaluate(project, endpoint)

        assert ran.code == 1, ran
        assert "KATAN_KEY" in ran
        assert KEY not in ran.output
