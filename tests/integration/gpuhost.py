"""A host with GPUs of a test's own, models that would notice a second one on theirs, and what became of it all."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import psutil
from support import Project

sys.path.insert(0, str(Path(__file__).parents[1]))

from nvml import FakeNvml

WITNESS = '''
import fcntl, os, time
from pathlib import Path

HERE = Path(__file__).parent

class Model:
    """Answers with the input, after it has locked a file by the name of each GPU that it sees."""

    def __init__(self, path, delay=0.0):
        self.name, self.delay = Path(path).stem, delay
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        self.files = [open(HERE / f"gpu{gpu}", "w") for gpu in seen.split(",")]
        for file in self.files:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open(HERE / "seen.txt", "a") as file:
            file.write(f"{self.name} {os.getpid()} {seen}\\n")

    def predict(self, batch):
        time.sleep(self.delay)
        return [sample.input for sample in batch]
'''
MARK = "EVALRUN_TEST_MARK"


class GpuHost:
    """GPUs, a lease directory and a project; what is started from it is known by its environment."""

    def __init__(self, place: Path, monkeypatch) -> None:
        self.nvml = FakeNvml(place)
        self.slots = place / "slots"
        self.mark = uuid.uuid4().hex
        self.project = Project(place / "project")
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**self.nvml.env, "EVALRUN_SLOTS_DIR": str(self.slots), MARK: self.mark}.items():
            monkeypatch.setenv(name, value)

    def make(self, models=("a",), datasets=("one",), samples=8, code=WITNESS, **top) -> Project:
        """A suite whose models need a GPU each, unless told otherwise."""
        self.project.make(models, datasets, samples, **{"gpus": 1, "retries": 0} | top)
        (self.project.suite / "model.py").write_text(code)
        return self.project

    def seen(self) -> list[tuple[str, int, str]]:
        """Name and process of each model that was loaded, and the GPUs that it saw."""
        file = self.project.suite / "seen.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(name, int(pid), seen) for name, pid, seen in map(str.split, lines)]

    def processes(self) -> dict[int, str]:
        """What lives of all that was started here: PID → command."""
        commands = {process.pid: self._command(process) for process in psutil.process_iter()}
        return {pid: command for pid, command in commands.items() if command is not None}

    def _command(self, process: psutil.Process) -> str | None:
        """None for what is not ours, or has just ended."""
        try:
            ours = process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
            return " ".join(process.cmdline()) if ours else None
        except psutil.Error:
            return None

    def held(self) -> list[str]:
        """The lock files of GPUs that somebody has."""
        import fcntl

        held = []
        for path in self.slots.glob("*") if self.slots.exists() else ():
            with path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held.append(path.name)
        return held

    def is_quiet(self) -> bool:
        """Nothing runs, and nobody has a GPU."""
        return not self.processes() and not self.held()


def leases(run: Path) -> tuple[list, list]:
    """The GPUs that were taken in a run, and those that were given back, each in the order of their names."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    taken, freed = (sorted(e["uuids"] for e in events if e["event"] == name) for name in ("slot_taken", "slot_freed"))
    return taken, freed
