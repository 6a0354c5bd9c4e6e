"""A suite of agents and tasks on disk, what its tasks and agents saw, and task servers as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
from sshd import free_port
from support import EVALRUN, Project, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A task that wants to be told each sample's number, `turns` times, and agents that tell it or do not. Both note what
# they see, in a file above the suite.
CODE = '''
import asyncio, json, os, time
from pathlib import Path

NOTES = next(place / "notes.jsonl" for place in Path(__file__).parents if (place / "notes.jsonl").exists())


def note(**what):
    with NOTES.open("a") as file:
        file.write(json.dumps(what | {"pid": os.getpid()}) + "\\n")


class Count:
    """A task of coroutines. Samples of ``broken`` raise, as often as that says."""

    sessions = "loop"

    def __init__(self, name, samples=6, concurrency=2, seconds=0.0, turns=1, broken=None):
        self.name, self.samples, self.concurrency = name, samples, concurrency
        self.seconds, self.turns, self.broken = seconds, turns, broken or {}
        self.running = 0
        note(made=name)

    def get_indices(self):
        return list(range(self.samples))

    async def start_sample(self, index, session):
        self.running += 1
        note(begun=index, task=self.name, running=self.running)
        try:
            return await self.play(index, session)
        finally:
            self.running -= 1

    async def play(self, index, session):
        if self.broken.get(str(index), 0) > told(self.name, index) - 1:
            raise RuntimeError(f"sample {index} of {self.name} is broken")
        for turn in range(self.turns):
            answer = await session.action({"role": "user", "content": f"{self.name}: say {index}."})
            if answer.status != "normal":
                return {"status": "agent context limit", "result": {"success": False}}
            if not (answer.content or "").strip().isdigit():
                return {"status": "agent validation failed", "result": {"success": False}, "reward": 0.0}
            await asyncio.sleep(self.seconds)
        note(ended=index, task=self.name)
        success = answer.content.strip() == str(index)
        return {"status": "completed", "result": {"success": success}, "reward": float(success)}

    def calculate_overall(self, results):
        return {"told": len(results)}


def told(name, index):
    lines = map(json.loads, NOTES.read_text().splitlines())
    return sum(line.get("begun") == index and line["task"] == name for line in lines)


BAD = {
    "nothing": None,
    "huge": "7" * 11_000_000,
    "json": {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "say", "arguments": "{no"}}]},
    "ansi": "\\x1b[31m7\\x1b[0m",
}


class Agent:
    """Says the number, but of every ``wrong``-th sample; or what is ``bad``."""

    def __init__(self, wrong=0, seconds=0.0, bad=None):
        self.wrong, self.seconds, self.bad = wrong, seconds, bad
        self.running = 0

    async def act(self, messages, tools):
        self.running += 1
        asked = messages[-1]["content"]
        number = int(asked.rpartition(" ")[2].rstrip("."))
        note(asked=number, task=asked.partition(":")[0], acting=self.running)
        await asyncio.sleep(self.seconds)
        self.running -= 1
        if self.bad is not None:
            return BAD[self.bad]
        return str(number if not self.wrong or number % self.wrong else -1 - number)
'''


class Agents(Project):
    """A project of one suite, ``evals/agents``: agents x tasks."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.suite = root / "evals" / "agents"

    def write(self, agents=None, tasks=None, **top: Any) -> Agents:
        """Agents and tasks by name, with their parameters; ``top`` overrides keys of the suite."""
        self.suite.mkdir(parents=True, exist_ok=True)
        (self.root / "pytest.ini").write_text("[pytest]\n")
        (self.root / "notes.jsonl").touch()
        (self.suite / "code.py").write_text(CODE)
        content = {
            "name": "agents",
            "format": "agentbench",
            "models": [
                {"name": name, "adapter": "./code.py:Agent", "concurrency": 4, **(entry or {})}
                for name, entry in (agents or {"good": {}}).items()
            ],
            "datasets": [{"name": name} for name in (tasks or {"count": {}})],
            "tasks": None if top.get("controller") else self.tasks(tasks or {"count": {}}),
            "metrics": ["success"],
        } | top
        kept = {key: value for key, value in content.items() if value is not None}
        (self.suite / "evalrun.yaml").write_text(json.dumps(kept, indent=1))
        return self

    def tasks(self, tasks: dict[str, dict]) -> dict[str, Any]:
        return {
            name: {"module": "./code.py:Count", "parameters": {"name": name, **parameters}}
            for name, parameters in tasks.items()
        }

    def notes(self) -> list[dict[str, Any]]:
        """What tasks and agents have seen so far."""
        return [json.loads(line) for line in (self.root / "notes.jsonl").read_text().splitlines()]

    def forget(self) -> None:
        (self.root / "notes.jsonl").write_text("")

    def noted(self, what: str, **where: object) -> Counter[Any]:
        """How often each value of a note was seen."""
        wanted = where.items()
        return Counter(line[what] for line in self.notes() if what in line and wanted <= line.items())

    def result(self, task: str, dataset: str) -> dict:
        return json.loads((self.latest / "results" / "agents" / task / f"{dataset}.json").read_text())

    def predictions(self, task: str, dataset: str) -> list[dict]:
        text = (self.latest / "predictions" / "agents" / task / f"{dataset}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def file(self, agent: str, task: str, name: str) -> str:
        """What one of AgentBench's files holds."""
        return (self.latest / "agents" / "agents" / agent / task / name).read_text()


def processes_below(root: Path) -> list[psutil.Process]:
    """The processes that work in a directory, or have its name in their arguments."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                words = [*process.cmdline(), process.cwd() + "/"]
                if any(str(root) + "/" in word for word in words):
                    found.append(process)
    return found


def nothing_left(root: Path) -> None:
    """Wait until no process of a project runs any more."""
    wait_for(lambda: not processes_below(root), 60)


@contextmanager
def evalrun_process(project: Project, *arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A command of evalrun that runs until the end of the block."""
    process = subprocess.Popen(
        [*EVALRUN, *arguments],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


__all__ = ["Agents", "evalrun_process", "free_port", "nothing_left", "processes_below"]
