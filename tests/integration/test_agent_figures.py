"""What is said of an agent's samples by real pytest: metrics, statuses, and the figure of the task itself."""

from __future__ import annotations

import json
import shutil

import pytest
from support import Project

CODE = '''
class Count:
    """Wants to be told how many messages there are, once for each turn; every fourth sample runs out of turns."""

    concurrency = 4

    def __init__(self, **parameters):
        pass

    def get_indices(self):
        return list(range(8))

    async def start_sample(self, index, session):
        for turn in range(1 + index % 2):
            answer = await session.action({"role": "user", "content": str(index)})
        status = "completed" if index % 4 else "task limit reached"
        return {"status": status, "result": {"is_correct": answer.content == str(index)}}

    def calculate_overall(self, results):
        return {"overall": {"acc": sum(result["result"]["is_correct"] for result in results) / len(results)}}


class Agent:
    """Echoes what it is told; of index 7 it does not the first time."""

    def __init__(self):
        self.told = 0

    def inference(self, history):
        self.told += history[-1]["content"] == "7"
        return "" if history[-1]["content"] == "7" and self.told < 3 else history[-1]["content"]
'''
SUITE = {
    "name": "echo",
    "format": "agentbench",
    "models": [{"name": "a", "adapter": "./code.py:Agent"}],
    "datasets": [{"name": "count"}],
    "tasks": {"count": {"module": "./code.py:Count"}},
    "generations": 2,
    "metrics": ["success", {"pass_at": {"k": 2}}, "turns", {"overall": {"field": "overall.acc"}}],
}


def write(project, **top):
    project.suite.mkdir(parents=True, exist_ok=True)
    (project.root / "pytest.ini").write_text("[pytest]\n")
    (project.suite / "code.py").write_text(CODE)
    (project.suite / "evalrun.yaml").write_text(json.dumps(SUITE | top))
    return project


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A run of the suite, and how it ended."""
    project = write(Project(tmp_path_factory.mktemp("played") / "project"))
    return project, project.run("evals")


@pytest.fixture
def again(played, project):
    """The same for a test of its own: suite, run and all."""
    shutil.copytree(played[0].root, project.root, symlinks=True)
    return project


def files_of(project):
    return project.latest / "agents" / "echo" / "a" / "count"


def figures(project):
    metrics = project.result("a", "count")["metrics"]
    return {name: metric["value"] for name, metric in metrics.items()}


def test_figures_of_an_agent(played):
    """Successes over all answers and over samples, turns, and what the task says itself; how samples ended is shown."""
    project, ran = played
    assert ran.code == 0, ran
    found = figures(project)
    assert found == {"success": 11 / 16, "pass_at_2": 0.75, "turns": 1.5, "overall": 15 / 16}
    assert project.result("a", "count")["statuses"] == {"completed": 12, "task limit reached": 4}
    assert "16 samples  (12 completed, 4 task limit reached)" in ran
    code, told, _ = project.evalrun("show", "echo/a/count")
    assert (code, "ended: 12 completed, 4 task limit reached" in told) == (0, True)


def test_files_are_whole(played):
    """Each answer has one run, and overall.json is of all of them."""
    runs = [json.loads(line)["index"] for line in (files_of(played[0]) / "runs.jsonl").read_text().splitlines()]
    assert sorted(runs) == sorted([*range(8), *range(8)])
    overall = json.loads((files_of(played[0]) / "overall.json").read_text())
    assert (overall["total"], overall["coverage"]) == (16, {"finished": 16, "total": 16})
    assert overall["custom"] == {"overall": {"acc": 15 / 16}}
    assert not (files_of(played[0]) / "sessions.json").exists()


def test_what_a_kill_left_half_is_made_whole(again):
    """Lost runs come back from predictions, and the task is asked again; the agent is not."""
    runs = files_of(again) / "runs.jsonl"
    raw = runs.read_bytes()
    runs.write_bytes(raw[: len(raw) // 2])
    (files_of(again) / "overall.json").unlink()
    (files_of(again) / "overall.json").write_text('{"custom": {"overall": {"acc": 1}}, "coverage": {"finished": 1, "to')
    before = again.predictions("a", "count")
    write(again, metrics=["success", {"overall": {"field": "overall.acc"}}])
    ran = again.run("evals")
    assert ran.code == 0, ran
    assert figures(again) == {"success": 11 / 16, "overall": 15 / 16}
    assert again.predictions("a", "count") == before
    assert len(runs.read_text().splitlines()) == 16


def test_figure_that_the_task_does_not_say(again):
    """A path that leads to no number is an ERROR that names those there are."""
    write(again, metrics=[{"overall": {"field": "overall.ac"}}])
    ran = again.run("evals")
    assert ran.code == 1
    assert "metric overall: field: found 'overall.ac'" in ran
    assert "did you mean 'overall.acc'?" in ran
