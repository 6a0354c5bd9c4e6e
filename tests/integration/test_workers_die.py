"""Workers that are killed at any moment: the run ends as if nothing had happened, or says what is missing."""

from __future__ import annotations

import os
import random
import re
import time

import pytest
from support import kill_group, wait_for

MODELS = ("a", "b", "c")
DATASETS = ("one", "two", "three", "four")
PAIRS = [f"echo/{model}/{dataset}" for model in MODELS for dataset in DATASETS]
ROUNDS = 50

# Answers slowly; KILL names a file: "model dataset-size times", each time one worker less.
DEADLY = """
import os, signal, time
from pathlib import Path

class Model:
    def __init__(self, path=None, delay=0.0, dies=None, times=1):
        self.delay = delay
        self.dies, self.times = dies and path.endswith(dies), times

    def predict(self, batch):
        time.sleep(self.delay)
        if self.dies and batch[0].index >= 4 and len(list(Path().glob("death-*"))) < self.times:
            Path(f"death-{time.monotonic_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [sample.input for sample in batch]
"""


def kill(pid):
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


def deadly(project, models=MODELS, **params):
    project.make(models=models, datasets=("one",), samples=8, params=params)
    (project.suite / "model.py").write_text(DEADLY)
    return project


def lines_of(output):
    """Outcome and pair of every line that says how a pair ended."""
    return sorted(re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) +(echo/\S+)", output, re.MULTILINE))


# ------------------------------------------------------------------ at random moments


@pytest.fixture(scope="module")
def undisturbed():
    return [("PASSED", pair) for pair in sorted(PAIRS)]


# What dies before it has said a word ends xdist's own start, long before anybody knows of a suite.
UP = """
import os
from pathlib import Path

def pytest_sessionstart():
    if "PYTEST_XDIST_WORKER" in os.environ:
        Path(f"up-{os.getpid()}").touch()
"""


def up(project):
    return {int(path.name.removeprefix("up-")) for path in project.root.glob("up-*")}


def disturbed(project, chance, *args):
    """A fresh run with three workers of which some are killed; how many, and how it ended."""
    (project.root / "conftest.py").write_text(UP)
    before, killed = up(project), set()
    process = project.start("evals", "-n3", "--eval-run", "new", *args)
    try:
        wait_for(lambda: len(up(project) - before) == 3, process=process)
        for pause in [chance.uniform(0.0, 0.6) for _ in range(chance.randrange(1, 5))]:
            time.sleep(pause)  # the moment is what is random
            if process.poll() is None and (victims := sorted(up(project) - before - killed)):
                killed.add(victim := chance.choice(victims))
                kill(victim)
        output, _ = process.communicate(timeout=60)
        return len(killed), process.returncode, output
    finally:
        kill_group(process)


def test_killed_workers_change_neither_results_nor_exit_code(project, undisturbed):
    """Fifty rounds with one to four kills each: every pair once in the summary, exit code 0."""
    project.make(models=MODELS, datasets=DATASETS, samples=8, params={"delay": 0.03})
    seed = int(os.environ.get("EVALRUN_SEED", random.randrange(1 << 30)))
    print(f"EVALRUN_SEED={seed}")
    chance, kills = random.Random(seed), 0
    for turn in range(ROUNDS):
        count, code, output = disturbed(project, chance, "--eval-crash-retries=9")
        kills += count
        assert (code, lines_of(output)) == (0, undisturbed), f"seed {seed}, round {turn}:\n{output}"
    print(f"{kills} workers killed")
    assert kills > ROUNDS
