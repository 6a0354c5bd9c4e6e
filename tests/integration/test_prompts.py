"""Prompts of a suite by real pytest: what cannot be sent costs no request, and several prompts are several tasks."""

from __future__ import annotations

import json

import pytest
from llmserver import llm_server


@pytest.fixture(scope="module")
def running():
    with llm_server("--canned", "blue") as server:
        yield server


@pytest.fixture
def server(running):
    running.reset()
    return running


@pytest.fixture
def suite(project, server):
    """A suite of eight questions for the server, with further words of its own."""

    def make(**top):
        model = {"name": "a", "model": "ngram", "base_url": server.url, "concurrency": 4}
        project.make(models=(), datasets=("one",), adapter="openai")
        rows = [{"question": f"What is the colour of sky {i}?", "hint": "look", "y": "blue"} for i in range(8)]
        (project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        project.yaml((), ("one",), **{"adapter": "openai", "models": [model], "inputs": []} | top)
        return project

    return make


def nested(loops):
    return "".join("{% for i in range(99999) %}" for _ in range(loops)) + "{% endfor %}" * loops


UNSENT = {
    "a column that is missing": ("{{ questoin }}", "prompt.template: no column 'questoin'; columns: question, hint"),
    "a template that never ends": (nested(3), "timed out after 2 s"),
}


@pytest.mark.parametrize("what", UNSENT)
def test_what_cannot_be_sent_asks_nothing(what, suite, server):
    """The pair is one ERROR that says why, before anybody was asked."""
    template, told = UNSENT[what]
    ran = suite(prompt={"template": template}, timeout=2).run()
    assert (ran.code, ran.counts) == (1, {"error": 1}), ran
    assert told in ran
    assert server.stats()["requests"] == 0


def test_prompts_are_tasks(suite, server):
    """Each asks for itself; where two say the same, nothing is saved by that, for results are of their own."""
    few = {"template": "Q: {{ question }} ({{ hint }})"}
    project = suite(prompt={"template": "Q: {{ question }}"}, prompts={"plain": None, "hint": few})
    ran = project.run("evals", "-k", "hint")
    assert (ran.code, ran.counts) == (0, {"passed": 1, "deselected": 1}), ran
    assert server.stats()["requests"] == 8
    ran = project.run()
    assert ran.code == 0, ran
    assert server.stats()["requests"] == 16
    assert {project.result(f"a@{name}", "one")["task"] for name in ("plain", "hint")} == {"a@plain", "a@hint"}
    sent = [{"role": "user", "content": "Q: What is the colour of sky 0? (look)"}]
    assert [request["body"]["messages"] for request in server.requests()].count(sent) == 1
    assert {request["body"]["model"] for request in server.requests()} == {"ngram"}
