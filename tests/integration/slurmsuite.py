"""A suite whose pairs go out to a real Slurm, what its model was asked, and what must hold whatever happened."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from slurmhost import belonging
from support import Project, kill_group, wait_for

from pytest_evalrun.rundir.durable import write_atomic

if TYPE_CHECKING:
    import psutil

# Figures that differ from run to run.
SECONDS = {"seconds"}
BATCH = 4

MODEL = '''
import os, time
from pathlib import Path

HERE = Path(__file__).parent

class Model:
    """Answers with the input, after the seconds a batch that a file says; notes every sample that it is asked."""

    def __init__(self, path=None):
        self.name = Path(path).stem
        place = f"{self.name} {os.getpid()} {os.environ.get('SLURMD_NODENAME', 'here')}"
        with open(HERE / "loaded.txt", "a") as file:
            file.write(f"{place} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\\n")

    def predict(self, batch):
        with open(HERE / "asked.txt", "a") as file:
            file.write("".join(f"{self.name}/{sample.input}\\n" for sample in batch))
        started = time.monotonic()
        while time.monotonic() - started < float((HERE / "pace.txt").read_text() or 0):
            time.sleep(0.01)
        return [sample.input for sample in batch]
'''
# A batch that does not end before somebody says so.
FOR_EVER = 1e6


class OnSlurm:
    """A project, the Slurm that its jobs run on, and a launch in the background."""

    def __init__(self, place: Path, slurm) -> None:
        self.slurm = slurm
        self.project = Project(place / "project")
        self._started: list = []

    # ---- what is launched

    def make(self, models=("a",), datasets=("one", "two"), samples: int = 8, pace: float = 0.0, **top) -> OnSlurm:
        """Each sample has an input of its own: what was asked is known by it. One of eight is answered wrongly."""
        self.project.make(models, datasets, samples, **{"retries": 0, "max_batch_size": BATCH} | top)
        (self.project.suite / "model.py").write_text(MODEL)
        self.pace(pace)
        for name in datasets:
            lines = [{"x": f"{name}-{i}", "y": f"{name}-{i}" if i % 8 else "else"} for i in range(samples)]
            (self.project.suite / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return self

    def pace(self, seconds: float) -> None:
        """From now on a batch takes so long, also one that is under way."""
        write_atomic(self.project.suite / "pace.txt", str(seconds))

    def run(self, *more: str, **words):
        return self.project.run(*self._words(*more, **words))

    def _words(self, *more: str, jobs: int = 4, slurm: str = "", minutes: float = 1e-5) -> list[str]:
        """As a user would have them, but that each pair is a job of its own."""
        engine = ["--eval-engine", "slurm", "--eval-jobs", str(jobs), f"--eval-slurm=--mem=100 {slurm}".strip()]
        return ["evals", *engine, "--eval-unit-minutes", str(minutes), *more]

    def launch(self, *more: str, **words):
        """Start it; what is not waited for is killed at the end."""
        process = self.project.start(*self._words(*more, **words))
        self._started.append(process)
        return process

    def finish(self, process) -> str:
        """Wait for a launch that is to end well, quickly from now on; what it said."""
        self.pace(0)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def stop_node_of_first_job(self) -> tuple[str, list[psutil.Process]]:
        """Slurm loses a node, on which all that belongs to jobs is stopped, and may go on later."""
        _, pid, node, _ = self.loaded()[0]
        found = [one for one in belonging(self.slurm.conf) if one.environ().get("SLURMD_NODENAME") == node]
        assert pid in [one.pid for one in found]
        for one in found:
            one.suspend()
        self.slurm.kill_node(node, jobs=False)
        return node, found

    def close(self) -> None:
        for process in self._started:
            kill_group(process)
        self.slurm.clear()

    # ---- what is seen

    def asked(self) -> Counter[str]:
        """How often each sample was asked."""
        file = self.project.suite / "asked.txt"
        return Counter(file.read_text().split() if file.exists() else ())

    def asked_of(self, model: str, dataset: str) -> int:
        return sum(count for name, count in self.asked().items() if name.startswith(f"{model}/{dataset}-"))

    def asked_again(self) -> int:
        return sum(count - 1 for count in self.asked().values())

    def hold(self, count: int, process=None) -> None:
        """Wait for so many samples to be asked; batches that are under way then do not end by themselves."""
        self.until_asked(count, process)
        self.pace(FOR_EVER)

    def until_asked(self, count: int, process=None) -> None:
        wait_for(lambda: self.asked().total() >= count, process=process)

    def loaded(self) -> list[tuple[str, int, str, str]]:
        """Name, process, node and GPUs of each model that was loaded."""
        lines = (self.project.suite / "loaded.txt").read_text().splitlines()
        return [(name, int(pid), node, gpus) for name, pid, node, gpus in map(str.split, lines)]

    def units(self) -> dict[str, dict]:
        """What jobs.json says of each unit."""
        file = self.project.latest / "engine" / "jobs.json"
        return json.loads(file.read_text())["units"] if file.exists() else {}

    def attempts(self) -> list[dict]:
        return [attempt for unit in self.units().values() for attempt in unit["attempts"]]

    def pairs_of(self, units) -> list[str]:
        """The pairs that went out in these units."""
        specs = [self.project.latest / "engine" / unit / "1" / "job.json" for unit in units]
        return [item["pair"] for spec in specs for item in json.loads(spec.read_text())["items"]]

    def job(self) -> dict:
        """The attempt of a job that Slurm runs now."""
        return wait_for(lambda: next(iter(self.running()), None))

    def running(self) -> list[dict]:
        """The attempts that Slurm runs now, as jobs.json has them."""
        return [one for one in self.attempts() if one["phase"] == "running"]

    def waiting(self) -> list[dict]:
        return [one for one in self.attempts() if one["phase"] == "waiting"]

    def history(self) -> Counter[str]:
        lines = (self.project.workdir / "history.jsonl").read_text().splitlines()
        return Counter(json.loads(line)["pair"] for line in lines)

    def summary(self, run: Path | None = None) -> list[dict[str, str]]:
        """The rows of a run's table without what differs each time."""
        text = ((run or self.project.latest) / "summary" / "summary.csv").read_text()
        return [
            {name: value for name, value in row.items() if name not in SECONDS}
            for row in csv.DictReader(text.splitlines())
        ]

    def answers(self, run: Path | None = None) -> dict[str, list[str]]:
        """What was predicted, by pair and in order of samples."""
        place = (run or self.project.latest) / "predictions"
        found = {}
        for file in sorted(place.rglob("*.jsonl")):
            if file.name.endswith(".scores.jsonl"):
                continue
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found[str(file.relative_to(place))] = [line["prediction"] for line in lines]
        return found

    # ---- what must hold

    def undisturbed(self, *words: str) -> tuple[list[dict[str, str]], dict[str, list[str]]]:
        """The summary and predictions of the same suite evaluated here, in a directory and of samples of its own."""
        asked = self.project.suite / "asked.txt"
        kept = asked.read_bytes()
        self.pace(0)
        ran = self.project.run("evals", "--eval-workdir", "here", *words)
        assert ran.code in (0, 1), ran
        asked.write_bytes(kept)
        run = (self.project.root / "here" / "latest").resolve()
        return self.summary(run), self.answers(run)

    def check(self, *words: str, again: int = 0) -> None:
        """Results are those of an undisturbed local run, no pair is twice in history, no job is left.

        ``words`` are for the run here. ``again``: so many samples may have been asked twice.
        """
        summary, answers = self.undisturbed(*words)
        assert self.summary() == summary
        assert self.answers() == answers
        assert set(self.history().values()) == {1}, self.history()
        self.slurm.until(lambda: not self.slurm.squeue(), "no job is left", 30)
        assert self.asked_again() <= again, {name: count for name, count in self.asked().items() if count > 1}


def on_slurm(tmp_path: Path, slurm, monkeypatch):
    """For a fixture: jobs of this project go to this Slurm."""
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    place = OnSlurm(tmp_path, slurm)
    try:
        yield place
    finally:
        place.close()
