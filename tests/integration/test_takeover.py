"""Nothing is paid twice, by real pytest: a server counts what it is asked when dataset or prompt have changed."""

from __future__ import annotations

import json

import pytest
from llmserver import llm_server
from support import kill_group, wait_for


@pytest.fixture(scope="module")
def running():
    with llm_server("--canned", "blue") as server:
        yield server


@pytest.fixture
def server(running):
    running.faults(**dict.fromkeys(running.faults(), None) | {"canned": "blue"})
    running.reset()
    return running


class Asked:
    """A suite of questions; ``run`` tells how many requests a run of it made."""

    def __init__(self, project, server):
        self.project = project
        self.server = server
        self.top = {"prompt": {"template": "Q: {{ x }}"}}
        self.rows = [{"x": f"What is the colour of sky {i}?", "y": "blue"} for i in range(200)]
        project.make(models=(), datasets=("one",), adapter="openai")

    def write(self):
        model = {"name": "a", "model": "ngram", "base_url": self.server.url, "concurrency": 8}
        (self.project.suite / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        self.project.yaml((), ("one",), **{"adapter": "openai", "models": [model]} | self.top)

    def run(self, *options):
        self.write()
        before = self.server.stats()["requests"]
        ran = self.project.run("evals", *options)
        assert ran.code == 0, ran
        return self.server.stats()["requests"] - before

    @property
    def log(self):
        return next((self.project.latest / "logs" / "infer").rglob("one*.log")).read_text()

    @property
    def samples(self):
        return self.project.result("a", "one")["samples"]


@pytest.fixture
def asked(project, server):
    return Asked(project, server)


def test_one_row_mended_asks_once(asked):
    """All others are taken over, and the result and the log say so; who asks for new answers gets no old ones."""
    assert asked.run() == 200
    asked.rows[17]["x"] = "What is the colour of the sea?"
    assert asked.run() == 1
    assert asked.samples == {"total": 200, "predicted": 200, "failed": 0, "reused": 199}
    assert "199 answers taken over" in asked.log
    assert "re-run: dataset changed" in asked.log
    assert asked.run("--eval-fresh") == 200


def test_a_quick_look_is_no_waste(asked):
    """What a limited run asked, the full one has, wherever the rows are by then; and the other way round."""
    assert asked.run("--eval-limit", "30") == 30
    asked.rows = [{"x": "Another one?", "y": "blue"}, *asked.rows[:-1]]
    asked.rows[5]["y"] = "red"
    assert asked.run() == 170
    assert asked.samples["reused"] == 30
    lines = asked.project.predictions("a", "one")
    assert [line["index"] for line in lines] == list(range(200))
    assert [line["reference"] for line in lines][4:7] == ["blue", "red", "blue"]
    assert asked.project.result("a", "one")["metrics"]["exact_match"]["value"] == 199 / 200
    assert asked.run("--eval-limit", "40") == 0


def test_the_prompt_of_some_changed(asked):
    """What is sent decides, not what the suite says: other examples in reserve ask nothing, and the reason names them;
    a template that says the same of most samples asks for the others alone.
    """
    examples = asked.project.suite / "dev.jsonl"
    examples.write_text('{"x": "Grass?", "y": "green"}\n{"x": "Snow?", "y": "white"}\n')
    asked.top["prompt"] = {"template": "Q: {{ x }}", "fewshot": {"from": "dev.jsonl", "n": 1}}
    assert asked.run() == 200
    examples.write_text('{"x": "Grass?", "y": "green"}\n{"x": "Snow?", "y": "cold"}\n')
    assert asked.run() == 0
    assert "re-run: prompt changed (few-shot file dev.jsonl)" in asked.log
    asked.top["prompt"]["template"] = "Q: {{ x }}{% if '13' in x %} Think!{% endif %}"
    assert asked.run() == 12
    assert "re-run: prompt changed (template)" in asked.log


def test_killed_while_it_carries_on(asked, server):
    """What was taken over stays, what was asked stays, and the next run asks for the rest alone."""
    asked.run()
    for row in asked.rows[100:]:
        row["x"] += " Really?"
    asked.write()
    server.faults(delay=0.05)
    process = asked.project.start("evals")
    try:
        wait_for(lambda: server.stats()["requests"] >= 220, process=process)
    finally:
        kill_group(process)
    server.faults(delay=None)
    asked.rows[0]["x"] = "What is the colour of the sea?"
    asked.run()
    assert len(server.stats()["prompts"]) == 200 + 100 + 1
    assert server.stats()["requests"] <= 200 + 100 + 1 + 8
