"""A small suite built by hand, and the worker's side that evaluates it: real files, a real disk, a plain model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.evaluation.context import Context, Launch
from pytest_evalrun.evaluation.life import evaluate
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task
from pytest_evalrun.suite.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

# Answers with its input, and writes down every id that it is asked. What it shall fail at is told by its parameters.
MODEL = """
from pathlib import Path

HERE = Path(__file__).parent

class Model:
    def __init__(self, path=None, bad=(), plus=0, message="no such sample"):
        self.bad, self.plus, self.message = bad, plus, message
        self.note("loaded")

    def note(self, *lines):
        with (HERE / "asked.txt").open("a") as file:
            file.writelines(f"{line}\\n" for line in lines)

    def predict(self, batch):
        self.note(*(sample.id for sample in batch))
        if any(sample.id in self.bad for sample in batch):
            raise ValueError(self.message)
        return [sample.input + self.plus for sample in batch]
"""
METRICS = """
def wrong(prediction, reference):
    return float(prediction != reference)

wrong.better = "lower"

def off_by(prediction, reference):
    return abs(prediction - reference)

def broken(prediction, reference):
    raise KeyError("no such label")
"""


class Workshop:
    """A suite's directory, and pairs whose layers are written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "data").mkdir(parents=True)
        (root / "model.py").write_text(MODEL)
        (root / "m.py").write_text(METRICS)
        (root / "weights.bin").write_bytes(b"weights")

    def data(self, name="clean", count=6, start=0, wrong=()):
        """Rows whose reference is their input, but where it is ``wrong``."""
        rows = [
            {"id": f"s{i}", "x": i, "y": -1 if i in wrong else i}  # a model that echoes is right about all others
            for i in range(start, start + count)
        ]
        path = self.root / "data" / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def pair(self, dataset="clean", task="echo", *, skip=None, **settings):
        values = {
            "adapter": "./model.py:Model",
            "format": "jsonl",
            "id_column": "id",
            "inputs": ["x"],
            "reference": "y",
            "metrics": ["exact_match"],
            "max_batch_size": 2,
            "retries": 0,
        }
        layer = Layer("suite", str(self.root / "evalrun.yaml"), values | settings)
        path = self.root / "data" / f"{dataset}.jsonl"
        model = Task(task, str(self.root / "weights.bin"), str(self.root))
        return Pair("letters", str(self.root), model, Dataset(dataset, str(path)), (layer,), skip=skip)

    def asked(self):
        """What the model was asked since the last time, without its loads."""
        return [line for line in self.notes() if line != "loaded"]

    def notes(self):
        file = self.root / "asked.txt"
        lines = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


class Evaluator:
    """Evaluates pairs as one launch after another would, each with a context of its own."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self.run = workdir / "run 1"
        self.contexts = []

    def context(self, run_id="launch", secrets=(), launcher=None, **launch):
        launch = Launch(str(self.run), str(self.workdir), run_id, **launch)
        self.contexts.append(Context(launch, "main", Secrets(tuple(secrets)), launcher=launcher))
        return self.contexts[-1]

    def __call__(self, pair, *, shared=False, **launch):
        return evaluate(pair, self.context(**launch), shared=shared)

    def events(self):
        file = self.run / "events" / "main.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def close(self):
        for context in self.contexts:
            context.disk._dirty.clear()  # no test here outlives a power cut, and syncing takes most of its time
            context.close()


@pytest.fixture
def shop(tmp_path):
    return Workshop(tmp_path / "suite 'a' $(x) 任务")


@pytest.fixture
def evaluator(tmp_path):
    evaluator = Evaluator(tmp_path / "outputs")
    yield evaluator
    evaluator.close()


@pytest.fixture
def context(evaluator):
    return evaluator.context()
