"""kill -9 of whatever takes part in an agent's pair: each sample ends once, no slot is lost, results are the same."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from agentsuite import evalrun_process, free_port, nothing_left, processes_below
from support import Project, kill_alone, kill_group, wait_for

from pytest_evalrun.agents.wire.listing import listed_workers

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

SUITE = "evals/count/"
# The task asks three times for a sum; the agent takes its time as long as there is a file `slowly`.
CODE = """
import asyncio
from pathlib import Path

SLOWLY = Path(__file__).with_name("slowly")


class Count:
    sessions = "loop"

    def __init__(self, samples, concurrency=4):
        self.samples, self.concurrency = samples, concurrency

    def get_indices(self):
        return list(range(self.samples))

    async def start_sample(self, index, session):
        total = index
        for turn in range(3):
            answer = await session.action({"role": "user", "content": f"{total} + {turn}"})
            await asyncio.sleep(0.005)
            total = int(answer.content)
        return {"status": "completed", "result": {"total": total}, "reward": float(total == index + 3)}


class Adder:
    async def act(self, messages, tools):
        await asyncio.sleep(0.25 if SLOWLY.exists() else 0.005)
        first, _, second = messages[-1]["content"].partition(" + ")
        return str(int(first) + int(second))
"""
# By which word of its command a process is told.
MANAGER = "from pytest_evalrun.agents.launch.manager import main; main()"
WORDS = {
    "controller": {"controller"},
    "worker": {"task-worker"},
    "manager": {MANAGER},
    "agent": {"import sys;exec(eval(sys.stdin.readline()))"},
}


class Counting(Project):
    """A project of one pair, whose work lasts as long as it shall."""

    # Who is to be killed is known by what it was started with: its processes start from nothing.
    warm = None

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.suite = root / SUITE

    def write(self, samples: int, controller: str | None) -> None:
        self.samples = samples
        self.suite.mkdir(parents=True)
        (self.root / "pytest.ini").write_text("[pytest]\n")
        (self.suite / "code.py").write_text(CODE)
        task = {"module": "./code.py:Count", "parameters": {"samples": samples}, "workers": 2, "sessions": "loop"}
        (self.root / "start.yaml").write_text(json.dumps({"definition": {"count": task}, "start": {"count": 2}}))
        where: dict[str, Any] = {"controller": controller} if controller else {"tasks": {"count": task}}
        content = {
            "name": "count",
            "format": "agentbench",
            "models": [{"name": "adder", "adapter": "./code.py:Adder", "concurrency": 8}],
            "datasets": [{"name": "count"}],
            "metrics": ["success"],
        }
        (self.suite / "evalrun.yaml").write_text(json.dumps(content | where))

    def slowly(self, *, on: bool) -> None:
        (self.suite / "slowly").touch() if on else (self.suite / "slowly").unlink()

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.latest / name).read_text().splitlines()]

    def undisturbed(self) -> None:
        """Assert what an undisturbed run leaves: each index once, each with its sum, in every file."""
        expected = {
            index: {"status": "completed", "result": {"total": index + 3}, "reward": 1.0}
            for index in range(self.samples)
        }
        lines = self.lines("predictions/count/adder/count.jsonl")
        assert [line["index"] for line in lines] == list(range(self.samples))
        assert {line["detail"]["index"]: line["prediction"] for line in lines} == expected
        assert all(len(line["detail"]["history"]) == 6 for line in lines)
        runs = Counter(line["index"] for line in self.lines("agents/count/adder/count/runs.jsonl"))
        assert runs == Counter(range(self.samples))
        result = json.loads((self.latest / "results/count/adder/count.json").read_text())
        assert result["metrics"]["success"]["value"] == 1.0
        assert result["metrics"]["success"]["n"] == self.samples
        assert json.loads((self.latest / "agents/count/adder/count/overall.json").read_text())["total"] == self.samples

    def progress(self) -> int:
        with suppress(OSError):
            return (self.latest / "predictions/count/adder/count.jsonl").read_bytes().count(b"\n")
        return 0


class Launches:
    """The same command again and again, until it has gone through."""

    def __init__(self, project: Counting) -> None:
        self._project = project
        self._process: subprocess.Popen[str] | None = None

    def process(self) -> subprocess.Popen[str]:
        """The launch that runs; a new one where it has ended."""
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = self._project.start("evals", "-n", "1")
        return self._process

    def finish(self) -> None:
        """Let it end; what a kill has cost is asked in the next launch."""
        for _ in range(3):
            process = self.process()
            output, _ = process.communicate(timeout=PATIENCE)
            if process.returncode == 0:
                return
        raise AssertionError(output)

    def end(self) -> None:
        if self._process is not None:
            kill_group(self._process)


class Killer:
    """kill -9 of something that takes part, chosen by chance."""

    def __init__(self, project: Counting, launches: Launches, seed: int) -> None:
        self._project = project
        self._launches = launches
        self._chance = random.Random(seed)
        self.killed: Counter[str] = Counter()

    def rounds(self, count: int, names: list[str]) -> None:
        """So many, each at a moment chosen by chance, of each kind about as often as of the others."""
        kinds = [names[at % len(names)] for at in range(count)]
        self._chance.shuffle(kinds)
        for name in kinds:
            process = self._launches.process()
            before = self._project.progress()
            wait_for(
                lambda before=before, process=process: self._project.progress() > before or _ended(process), PATIENCE
            )
            time.sleep(self._chance.uniform(0.0, 1.0))
            self._kill(name)

    def _has_moved(self, before: int, process: subprocess.Popen[str]) -> bool:
        return self._project.progress() > before or _ended(process)

    def _kill(self, name: str) -> None:
        launch = self._launches.process()
        if name == "launcher":
            kill_alone(launch)
            self.killed[name] += 1
            return
        found = wait_for(lambda: self._victims(name, launch) or _ended(launch), PATIENCE)
        if found is not True:
            self._chance.choice(found).kill()
            self.killed[name] += 1

    def _victims(self, name: str, launch: subprocess.Popen[str]) -> list[psutil.Process]:
        with suppress(psutil.Error):
            near = psutil.Process(launch.pid).children() if name == "agent" else processes_below(self._project.root)
            return [process for process in near if any(word in WORDS[name] for word in process.cmdline())]
        return []


def _ended(process: subprocess.Popen[str]) -> bool:
    return process.poll() is not None


# Where a disk is busy, a launch that ends waits until all that it wrote is on it: for minutes beside who fills it.
PATIENCE = 600.0
ROUNDS = [5, pytest.param(50, marks=pytest.mark.slow)]


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "project")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_task_server_of_its_own_loses_nothing(counting: Counting, rounds: int) -> None:
    """Controller, workers, agent and launcher die at random moments: each index ends once, all slots are free."""
    url = f"http://127.0.0.1:{free_port()}/api"
    counting.write(60 + 25 * rounds, url)
    words = ["start", "-a", "-l", url, "-p", str(free_port()), "--config", "../../start.yaml", "--lease", "3"]
    with evalrun_process(counting, *words, "--root", SUITE):
        wait_for(lambda: len(listed_workers(url) or []) == 2)
        killer = disturbed(counting, rounds, ["controller", "worker", "agent", "launcher"])
        workers = wait_for(lambda: listed_workers(url))
        assert workers is not None
        wait_for(lambda: all(worker.current == 0 for worker in listed_workers(url) or workers), 60)
    assert killer.killed.total() == rounds
    nothing_left(counting.root)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_task_server_of_the_launch_loses_nothing(counting: Counting, rounds: int) -> None:
    """The same of servers that the launch starts, whose manager is killed, too; nothing is left of any of them."""
    counting.write(60 + 25 * rounds, None)
    killer = disturbed(counting, rounds, ["manager", "controller", "worker", "agent", "launcher"])
    assert killer.killed.total() == rounds
    nothing_left(counting.root)


def disturbed(counting: Counting, rounds: int, names: list[str]) -> Killer:
    """Go through the pair with so many deaths on the way, and look at what is left."""
    launches = Launches(counting)
    killer = Killer(counting, launches, seed=rounds)
    try:
        counting.slowly(on=True)
        killer.rounds(rounds, names)
        counting.slowly(on=False)
        launches.finish()
    finally:
        launches.end()
    counting.undisturbed()
    return killer
