"""A project of AgentBench's: its configuration as a suite, and an output directory that its assigner has begun."""

from __future__ import annotations

import json
import re

import pytest
from agentsuite import CODE, Agents

SUITE = {"name": "theirs", "assignment": "configs/assignments/default.yaml", "metrics": ["success"]}
TIME = {"timestamp": 1764345600000, "str": "2025-11-28 16:00:00"}


class Bench(Agents):
    """The suite lies in the project's own directory, beside configs and src."""

    def __init__(self, root) -> None:
        super().__init__(root)
        self.suite = root

    def make(self, output: str) -> Bench:
        assignment = {
            "import": "definition.yaml",
            "concurrency": {"task": {"count": 2}, "agent": {"good": 3, "poor": 3}},
            "assignments": [{"agent": ["good", "poor"], "task": "count"}],
            "output": output,
        }
        agents = {name: {"module": "src.count.Agent"} for name in ("good", "poor")}
        agents["poor"]["parameters"] = {"wrong": 2}
        tasks = {"count": {"module": "src.count.Count", "parameters": {"name": "count", "concurrency": 4}}}
        files = {
            "pytest.ini": "[pytest]\n",
            "notes.jsonl": "",
            "src/__init__.py": "",
            "src/count.py": CODE,
            "evalrun.yaml": json.dumps(SUITE),
            "configs/assignments/default.yaml": json.dumps(assignment),
            "configs/assignments/definition.yaml": json.dumps({"definition": {"task": tasks, "agent": agents}}),
        }
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def result(self, agent: str) -> dict:
        return json.loads((self.latest / "results" / "theirs" / agent / "count.json").read_text())


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "bench")


def test_an_assignment_is_a_suite(bench):
    """Its pairs are played within its concurrency, in a run that bears the time; the next launch goes on in it."""
    bench.make("outputs/{TIMESTAMP}")
    ran = bench.run(".", "-n", "2")
    first = bench.latest
    again = bench.run(".", "-n", "2")

    assert (ran.code, ran.counts) == (0, {"passed": 2}), ran
    assert bench.noted("begun") == dict.fromkeys(range(6), 2)
    assert max(bench.noted("running")) <= 2
    assert [bench.result(agent)["metrics"]["success"]["value"] for agent in ("good", "poor")] == [1.0, 0.5]
    assert re.fullmatch(r"\d{4}(-\d\d){5}", first.name)
    assert again.output.count("(reused: unchanged") == 2, again
    assert bench.latest == first


def test_what_the_assigner_began_is_taken_over(bench):
    """Indices that are finished in its output directory count, a torn line costs itself, the rest is played."""
    bench.make("outputs/begun")
    place = bench.root / "outputs" / "begun" / "good" / "count"
    place.mkdir(parents=True)
    history = [{"role": "user", "content": "count: say 0."}, {"role": "agent", "content": "0"}]
    lines = [
        {
            "index": index,
            "error": None,
            "info": None,
            "output": {"index": index, "status": "completed", "result": {"success": index == 0}, "history": history},
            "time": TIME,
        }
        for index in range(3)
    ]
    (place / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines)[:-9])
    ran = bench.run(".", "-n", "0", "-k", "good")

    assert ran.code == 0, ran
    assert bench.noted("begun") == dict.fromkeys(range(2, 6), 1)
    assert bench.result("good")["metrics"]["success"]["value"] == pytest.approx(5 / 6)
