"""A project of AgentBench's with one line of evalrun.yaml: its assignment is run, carried on, and taken over."""

from __future__ import annotations

import json
import re

import pytest
from support import Project

SUITE = "name: bench\nassignment: configs/assignments/default.yaml\nmetrics: [success]\n"
ASSIGNMENT = """\
import: definition.yaml
concurrency: {task: {sums: 2, names: 2}, agent: {good: 3, bad: 3}}
assignments:
  - {agent: [good, bad], task: sums}
  - {agent: good, task: [names, sums]}
output: "outputs/exp-{TIMESTAMP}"
"""
FILES = {
    "pytest.ini": "[pytest]\n",
    "evalrun.yaml": SUITE,
    "configs/assignments/default.yaml": ASSIGNMENT,
    "configs/assignments/definition.yaml": """\
definition:
  task: {import: ../tasks/task_assembly.yaml}
  agent:
    good: {module: own.agents.Agent, parameters: {says: right}}
    bad: {module: own.agents.Agent, parameters: {says: wrong}}
""",
    "configs/tasks/task_assembly.yaml": """\
default: {module: own.tasks.Ask, parameters: {concurrency: 4, log: ../made}}
sums: {parameters: {indices: [0, 1, 2, 3]}}
names: {parameters: {indices: [ada, bob]}}
""",
    "own/__init__.py": "",
    "own/agents.py": """\
from pathlib import Path


class Agent:
    def __init__(self, says):
        self.says = says

    def inference(self, history):
        with Path("asked").open("a") as file:
            file.write(f"{self.says} {history[-1]['content']}\\n")
        return self.says
""",
    "own/tasks.py": """\
from pathlib import Path


class Ask:
    def __init__(self, indices, concurrency, log):
        self.concurrency = concurrency
        self._indices = indices
        with Path(log).open("a") as file:
            file.write("made\\n")

    def get_indices(self):
        return self._indices

    async def start_sample(self, index, session):
        action = await session.action({"role": "user", "content": str(index)})
        return {"success": action.content == "right"}
""",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The project, run once."""
    bench = Project(tmp_path_factory.mktemp("assignments") / "bench")
    for name, text in FILES.items():
        (bench.root / name).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / name).write_text(text)
    ran = bench.run("evalrun.yaml", "-n", "2")
    assert ran.code == 0, ran
    return bench


def asked(bench):
    """What agents were asked since the last time."""
    log = bench.root / "asked"
    lines = sorted(log.read_text().splitlines()) if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def result(bench, agent, task):
    return json.loads((bench.latest / "results" / "bench" / agent / f"{task}.json").read_text())


def test_only_what_is_assigned_is_asked(bench):
    """Each agent is asked the samples of the tasks that it is assigned, each once, and scored by their results."""
    sums = [f"{says} {index}" for says in ("right", "wrong") for index in range(4)]
    assert asked(bench) == sorted([*sums, "right ada", "right bob"])
    values = {pair: result(bench, *pair)["metrics"]["success"]["value"] for pair in (("good", "sums"), ("bad", "sums"))}
    assert values == {("good", "sums"): 1.0, ("bad", "sums"): 0.0}
    assert not (bench.latest / "results" / "bench" / "bad" / "names.json").exists()


def test_the_run_is_called_as_the_output(bench):
    """What the assigner would call its directory is the name of the run."""
    assert re.fullmatch(r"exp-\d{4}(-\d\d){5}", bench.latest.name)


def test_what_is_finished_starts_nothing(bench):
    """A second launch, and one that only lists pairs, reuse results and load no task."""
    asked(bench)
    (bench.root.parent / "made").unlink()
    listed = bench.run("evalrun.yaml", "--collect-only", "-q")
    assert len(re.findall(r"^reuse +bench/", listed.output, re.MULTILINE)) == 3, listed
    ran = bench.run("evalrun.yaml")
    assert (ran.code, asked(bench), (bench.root.parent / "made").exists()) == (0, [], False), ran
    assert "assignments[1]: good × sums is assigned again; once is enough" in ran


def test_commands_know_its_pairs(bench):
    """`evalrun list` and `evalrun explain` show them as any others."""
    code, out, _ = bench.evalrun("list", "--json")
    assert code == 0
    listed = [(pair["task"], pair["dataset"], pair["data"], pair["status"]) for pair in json.loads(out)]
    assert sorted(listed) == [
        ("bad", "sums", "task://sums", "passed"),
        ("good", "names", "task://names", "passed"),
        ("good", "sums", "task://sums", "passed"),
    ]
    code, out, _ = bench.evalrun("explain", "bad/sums")
    assert code == 0
    assert re.search(r"^task +sums +dataset entry +configs/assignments/default.yaml: task sums$", out, re.MULTILINE)
    assert re.search(r"^concurrency +3 +model entry +configs/assignments/default.yaml: agent bad$", out, re.MULTILINE)


def test_a_changed_task_is_asked_again(bench):
    """Code of a task that changed makes its pairs anew; that of agents those of the agents."""
    asked(bench)
    with (bench.root / "own/tasks.py").open("a") as file:
        file.write("\n# changed\n")
    ran = bench.run("evalrun.yaml", "-k", "bad")
    assert ran.code == 0, ran
    assert asked(bench) == [f"wrong {index}" for index in range(4)]


def test_an_output_of_the_assigner_is_taken_over(bench):
    """Where the assigner began in a directory that it was given, what it finished is not asked again."""
    asked(bench)
    (bench.root / "configs/assignments/default.yaml").write_text(ASSIGNMENT.replace("exp-{TIMESTAMP}", "begun"))
    begun = bench.root / "outputs/begun/good/sums"
    begun.mkdir(parents=True)
    output = {"index": 2, "status": "completed", "result": {"success": False}, "history": []}
    line = {"index": 2, "error": None, "info": None, "output": output, "time": {"timestamp": 1, "str": ""}}
    (begun / "runs.jsonl").write_text(json.dumps(line) + "\n")
    ran = bench.run("evalrun.yaml", "-k", "good and sums", "--eval-run", "new")
    assert ran.code == 0, ran
    assert asked(bench) == ["right 0", "right 1", "right 3"]
    assert result(bench, "good", "sums")["metrics"]["success"]["value"] == 0.75
    assert re.fullmatch(r"\d{8}_\d{6}", bench.latest.name)
