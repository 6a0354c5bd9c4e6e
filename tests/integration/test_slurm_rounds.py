"""Whatever dies on a Slurm, in whatever order: the same command ends with what a run here would have come to."""

from __future__ import annotations

import random
import signal
from contextlib import suppress

import psutil
import pytest
from slurmhost import NODES, belonging
from slurmsuite import BATCH, on_slurm
from support import kill_alone, wait_for

SAMPLES = 24
ROUNDS = [2, pytest.param(20, marks=pytest.mark.slow)]


@pytest.fixture
def there(tmp_path, slurm, monkeypatch):
    yield from on_slurm(tmp_path, slurm, monkeypatch)


class Fate:
    """What happens to a launch; ``again`` counts the samples that may be asked twice for it."""

    def __init__(self, there, dice: random.Random) -> None:
        self._there = there
        self._slurm = there.slurm
        self._dice = dice
        self.again = 0
        self.story: list[str] = []
        self.launcher = self._launch()

    def _launch(self):
        return self._there.launch("--eval-crash-retries", "20", slurm="--requeue")

    def strike(self) -> None:
        blow = self._dice.choice(
            [self.job, self.shell, self.node, self.slurmd, self.controller, self.launch, self.requeue, self.cancel]
        )
        self.story.append(blow.__name__)
        blow()

    # ---- blows

    def job(self) -> None:
        """The Python of a job is killed."""
        self.again += BATCH * self._kill(lambda one: "--eval-job" in one.cmdline())

    def shell(self) -> None:
        """The script of a job is killed: what it has started goes on, seen by nobody, and may ask all that is left."""
        self.again += SAMPLES * self._kill(lambda one: one.cmdline()[-1].endswith(".sh"))

    def node(self) -> None:
        node = self._dice.choice(NODES)
        self.again += BATCH * self._running_on(node)
        self._slurm.kill_node(node)
        self._slurm.start_node(node, wait=False)

    def slurmd(self) -> None:
        """Its jobs go on; Slurm may have given them up by the time it is back."""
        node = self._dice.choice(NODES)
        self.again += SAMPLES * self._running_on(node)
        self._slurm.kill_node(node, jobs=False)
        self._slurm.start_node(node, wait=False)

    def controller(self) -> None:
        self._slurm.kill_controller()
        self._slurm.start_controller()

    def launch(self) -> None:
        kill_alone(self.launcher)
        self.launcher = self._launch()

    def requeue(self) -> None:
        """By hand; unless there is no job just now."""
        if jobs := self._there.running():
            with suppress(RuntimeError):
                self._slurm.call("scontrol", "requeue", self._dice.choice(jobs)["handle"])
                self.again += BATCH

    def cancel(self) -> None:
        if jobs := self._there.running():
            with suppress(RuntimeError):
                self._slurm.call("scancel", self._dice.choice(jobs)["handle"])
                self.again += BATCH

    def _kill(self, is_it) -> int:
        found = []
        for process in belonging(self._slurm.conf):
            with suppress(psutil.Error, IndexError):
                if "SLURM_JOB_ID" in process.environ() and is_it(process):
                    found.append(process)
        if found:
            with suppress(psutil.Error):
                self._dice.choice(found).send_signal(signal.SIGKILL)
        return min(1, len(found))

    def _running_on(self, node: str) -> int:
        """At most so many jobs: those that it has, and one that it gets just now for each slot."""
        return max(4, sum(state == "RUNNING" for state in self._slurm.jobs().values()))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_rounds(there, rounds):
    """Results are those of an undisturbed run here, no pair is twice in history, no job is left, and no sample was
    asked twice beyond what died times the batch."""
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    there.make(models=("a", "b"), samples=SAMPLES, pace=0.3)
    fate = Fate(there, dice)
    for _ in range(rounds):
        there.pace(0.3)
        more = there.asked().total() + dice.randrange(4 * BATCH)
        # Where all jobs were queued again just now, Slurm lets them wait for two minutes.
        wait_for(lambda more=more: there.asked().total() >= more or fate.launcher.poll() is not None, seconds=400)
        fate.strike()
    told = f"seed {seed}: {' '.join(fate.story)}"
    there.pace(0)
    output = end(there, fate)
    for _ in range(3):
        ran = there.run()
        if ran.code == 0:
            break
        output = ran
    assert ran.code == 0, f"{told}\n{output}\n{ran}"
    print(told)
    there.check(again=fate.again)


def end(there, fate) -> str:
    """The launch ends by itself; a job that was queued again by hand need not wait as long as Slurm wants."""

    def ended() -> bool:
        for handle, state in there.slurm.jobs().items():
            if state == "PENDING":
                there.slurm.start_soon(handle)
        return fate.launcher.poll() is not None

    wait_for(ended)
    output, _ = fate.launcher.communicate()
    return output
