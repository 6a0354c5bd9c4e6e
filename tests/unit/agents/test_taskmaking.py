"""The task of a worker is found by its name, made, and asked once for what it has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.agents.worker.taskmaking import load_task
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

TASK = """
import numpy

class Small:
    grace = 7

    def __init__(self, indices=("a", 1), error=None):
        self.indices = indices
        if error:
            raise ValueError(error)

    def get_indices(self):
        return list(self.indices)

    def start_sample(self, index, session):
        return True

class Knowing(Small):
    def __init__(self, name, concurrency):
        self.name, self.concurrency = name, concurrency

    def get_indices(self):
        return numpy.arange(2)

class NoTask:
    pass
"""
TASKS = """
small: {module: "./own.py:Small", parameters: {name: known-as, concurrency: 3}}
knowing: {module: "./own.py:Knowing", grace: 1, parameters: {name: x, concurrency: 2}}
no module: {parameters: {}}
no file: {module: "./other.py:Small"}
no class: {module: "./own.py:Smaller"}
no task: {module: "./own.py:NoTask"}
no import: {module: package_that_is_not_there.Task}
broken: {module: broken_task.Task}
parameters: {module: "./own.py:Small", parameters: [1]}
unknown: {module: "./own.py:Small", parameters: {sise: 3}}
raises: {module: "./own.py:Small", parameters: {error: "no data"}}
count: {module: "./own.py:Small", parameters: {concurrency: 0}}
none-at-once: {module: "./own.py:Knowing", parameters: {name: x, concurrency: 0}}
sessions: {module: "./own.py:Small", sessions: fork}
grace: {module: "./own.py:Small", grace: long}
odd index: {module: "./own.py:Small", parameters: {indices: [1, [2]]}}
twice: {module: "./own.py:Small", parameters: {indices: [1, 1]}}
"""


# Beside a whole AgentBench of the user's, as far as that matters here.
WHOLE = {
    "src/typings.py": "class Value:\n    pass\nAgentOutput = TaskOutput = ChatHistoryItem = Value\n",
    "src/server/task.py": """
from src.typings import AgentOutput, TaskOutput
class Session:
    pass
class Task:
    def __init__(self, name):
        self.name = name
    async def start_sample(self, index, session):
        pass
""",
    "beside.py": """
from src.server.task import Session, Task
from src.typings import TaskOutput
class Env(Task):
    sessions = {}
    values = (Session, TaskOutput)
    def get_indices(self):
        return [1]
""",
    "whole.yaml": """
beside: {module: "./beside.py:Env", parameters: {name: x}}
dotted: {module: beside.Env, parameters: {name: x}}
""",
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    (tmp_path / "own.py").write_text(TASK)
    (tmp_path / "broken_task.py").write_text("import json\n\nraise KeyError('x')\n")
    (tmp_path / "tasks.yaml").write_text(TASKS)
    return tmp_path


def test_name_and_concurrency_are_parameters_whether_the_class_takes_them_or_not(directory: Path) -> None:
    """A class of ours need not know by what name it is called, and how many samples at once it has."""
    small, knowing = (load_task(directory / "tasks.yaml", name, directory) for name in ("small", "knowing"))
    assert (small.name, small.concurrency, small.grace, small.indices) == ("known-as", 3, 7, ["a", 1])
    assert (knowing.name, knowing.concurrency, knowing.grace, knowing.indices) == ("x", 2, 1, [0, 1])
    assert small.is_ours


@pytest.mark.parametrize("name", ["beside", "dotted"])
def test_a_task_of_agentbench_is_known_however_it_is_named(directory: Path, name: str) -> None:
    """Its session and its values are those that it has imported itself; its own attributes are no words of ours."""
    for file, text in WHOLE.items():
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text(text)
    task = load_task(directory / "whole.yaml", name, directory)
    assert task.bench is not None
    assert (task.bench.session, task.bench.task_output) == task.task.values
    assert task.bench.agent_output is task.bench.task_output
    for module in [*sys.modules]:
        if module == "beside" or module.partition(".")[0] == "src":
            del sys.modules[module]


MISTAKES: dict[str, tuple[str, str]] = {
    "an unknown task": ("smal", "tasks.yaml: found no task 'smal'; accepted: "),
    "no module": ("no module", "tasks.yaml: no module.module: found None; accepted: package.module.Class"),
    "no file": ("no file", "tasks.yaml: no file.module: './other.py:Small': there is no file"),
    "no class": ("no class", "./own.py has no 'Smaller'; it defines: Small, Knowing, NoTask"),
    "no task": ("no task", "no task.module: ./own.py:NoTask has no get_indices and start_sample, as a task has"),
    "no import": ("no import", "package_that_is_not_there cannot be imported: ModuleNotFoundError"),
    "broken": ("broken", "broken.module: 'broken_task.Task': broken_task cannot be imported: KeyError: 'x'"),
    "parameters": ("parameters", "tasks.yaml: parameters.parameters: found [1]; accepted: a mapping"),
    "unknown": ("unknown", "unknown.parameters: Small(…) raised TypeError: Small.__init__() got an unexpected"),
    "raises": ("raises", "raises.parameters: Small(…) raised ValueError: no data (own.py:"),
    "concurrency": ("count", "count.parameters.concurrency: found 0; accepted: 1 or more"),
    "concurrency of its own": ("none-at-once", "none-at-once.parameters.concurrency: found 0; accepted: 1 or more"),
    "sessions": ("sessions", "sessions.sessions: found 'fork'; accepted: thread, process, loop"),
    "grace": ("grace", "grace.grace: found 'long'; accepted: seconds"),
    "odd index": ("odd index", "Small.get_indices() returned [2]; accepted: numbers and texts, each once"),
    "twice": ("twice", "Small.get_indices() returned an index twice; accepted: numbers and texts, each once"),
}


@pytest.mark.parametrize(("name", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_name_the_file_and_the_key(directory: Path, name: str, said: str) -> None:
    """One line tells what was found there, and what is accepted."""
    with pytest.raises(ConfigError) as caught:
        load_task(directory / "tasks.yaml", name, directory)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
