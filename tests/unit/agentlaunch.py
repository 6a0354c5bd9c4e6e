"""A launch without pytest: a process with which all ends, a private directory, and a suite of tasks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil

from pytest_evalrun.agents.launch.embedded import TaskServers, end_servers
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import time

class Count:
    def __init__(self, concurrency=1):
        self.concurrency = concurrency
    def get_indices(self):
        return [0, 1, 2]
    async def start_sample(self, index, session):
        return index

class Broken(Count):
    def __init__(self):
        raise SystemError("the database is not there")

class Nothing:
    pass

class Slow(Count):
    def __init__(self):
        super().__init__()
        time.sleep(1)
"""
TASKS = {
    "count": {"module": "./task.py:Count", "parameters": {"concurrency": 4}, "workers": 2},
    "single": {"module": "./task.py:Count"},
    "broken": {"module": "./task.py:Broken"},
    "slow": {"module": "./task.py:Slow"},
    "nothing": {"module": "./task.py:Nothing"},
}
# By which word of its command a process is told.
WORDS = {"controller": "--db", "worker": "--self"}


def pair_of(root: Path, task: str, tasks: Any = TASKS) -> Pair:
    words = {"format": "agentbench", "task": task, "tasks": tasks}
    layer = Layer("suite", "evalrun.yaml", {"adapter": "openai"} | words)
    return Pair("s", str(root), Task("m", None, str(root)), Dataset("d", "task://d"), (layer,))


def asked(directory: Path, launcher: int, pids: list[int] | None = None, said: list[str] | None = None) -> TaskServers:
    found, told = [] if pids is None else pids, [] if said is None else said
    return TaskServers(directory, launcher=launcher, say=told.append, started=lambda pid, _: found.append(pid))


class Launch:
    """A launch: a process with which all ends, a private directory, and a suite."""

    def __init__(self, place: Path) -> None:
        self.launcher = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        self.directory = place / "servers"
        self.directory.mkdir()
        self.root = place / "suite"
        self.root.mkdir()
        (self.root / "task.py").write_text(CODE)
        self.pids: list[int] = []
        self.said: list[str] = []

    def servers(self) -> TaskServers:
        """As one process of the launch sees them."""
        return asked(self.directory, self.launcher.pid, self.pids, self.said)

    def address(self, task: str, tasks: Any = TASKS) -> str:
        return self.servers().address(pair_of(self.root, task, tasks))

    @property
    def manager(self) -> psutil.Process:
        return psutil.Process(self.pids[-1])

    def family(self) -> list[psutil.Process]:
        return [self.manager, *self.manager.children(recursive=True)]

    def end(self) -> None:
        end_servers(self.directory)
        self.launcher.kill()
        self.launcher.wait()
