"""64 evaluations of 8 models as they are in life: loads of seconds to minutes, durations that spread log-normally.

``workload.json`` is what ``make`` answers; ``python -m benchmarks.workload`` writes it again. Its seconds are those of
life, a run takes the same shape in a shorter time.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from pytest_evalrun.planning.work import Work

FILE = Path(__file__).with_name("workload.json")
SEED = 20_261_121
MODELS, DATASETS = 8, 8
SAMPLES, BATCH = 8, 4
NAME = "workload"

# Sleeps instead of thinking, and writes down each load: what is counted does not come from who is measured.
ADAPTER = """\
import json
import time
from pathlib import Path

HERE = Path(__file__).parent
TRUTH = json.loads((HERE / "truth.json").read_text())


class Model:
    def __init__(self, model):
        self.model = model

    def load(self):
        with (HERE / "loads.txt").open("a") as file:
            file.write(f"{self.model}\\n")
        time.sleep(TRUTH["loads"][self.model])

    def predict(self, batch):
        time.sleep(TRUTH["seconds"][f"{self.model}/{batch[0].input}"] * len(batch) / TRUTH["samples"])
        return [sample.input for sample in batch]
"""


@dataclass(frozen=True)
class Workload:
    """Seconds that each model takes to load, and each ``model/dataset`` to be evaluated."""

    loads: dict[str, float]
    seconds: dict[str, float]

    def bound(self, workers: int) -> float:
        """No schedule ends earlier: one load a model, and nobody ever waits; or the longest pair alone."""
        longest = max(self.loads[model_of(pair)] + seconds for pair, seconds in self.seconds.items())
        return max(longest, (sum(self.seconds.values()) + sum(self.loads.values())) / workers)

    def scaled(self, factor: float) -> Workload:
        loads = {model: factor * seconds for model, seconds in self.loads.items()}
        return Workload(loads, {pair: factor * seconds for pair, seconds in self.seconds.items()})

    def to_last(self, seconds: float, workers: int) -> Workload:
        """The same shape, for a run that takes so long at best."""
        return self.scaled(seconds / self.bound(workers))


def model_of(pair: str) -> str:
    return pair.partition("/")[0]


def works_of(work: Workload) -> list[Work]:
    """As the scheduler sees it, with the truth for expectations."""
    told = enumerate(work.seconds.items())
    return [Work(place, model_of(pair), seconds, work.loads[model_of(pair)]) for place, (pair, seconds) in told]


def make(seed: int = SEED) -> Workload:
    """Models differ in size, which costs load and pace; datasets in length; and nothing is quite as expected."""
    rng = random.Random(seed)  # noqa: S311 - the same numbers each time are the point
    sizes = {f"m{number}": rng.lognormvariate(0, 0.7) for number in range(MODELS)}
    lengths = {f"d{number}": rng.lognormvariate(4, 0.8) for number in range(DATASETS)}
    loads = {model: round(20 * size * rng.lognormvariate(0, 0.3), 1) for model, size in sizes.items()}
    seconds = {
        f"{model}/{dataset}": round(length * size * rng.lognormvariate(0, 0.3), 1)
        for model, size in sizes.items()
        for dataset, length in lengths.items()
    }
    return Workload(loads, seconds)


def read() -> Workload:
    return Workload(**json.loads(FILE.read_text()))


def write_suite(directory: Path, work: Workload) -> Path:
    """A project whose models take as long as the workload says."""
    directory.mkdir(parents=True)
    truth = {"loads": work.loads, "seconds": work.seconds, "samples": SAMPLES}
    (directory / "truth.json").write_text(json.dumps(truth))
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "adapter.py").write_text(ADAPTER)
    datasets = sorted({pair.partition("/")[2] for pair in work.seconds})
    for name in datasets:
        rows = (json.dumps({"x": name, "y": name}) + "\n" for _ in range(SAMPLES))
        (directory / f"{name}.jsonl").write_text("".join(rows))
    suite = {
        "name": NAME,
        "adapter": "./adapter.py:Model",
        "format": "jsonl",
        "inputs": ["x"],
        "reference": "y",
        "metrics": ["exact_match"],
        "max_batch_size": BATCH,
        "models": [{"name": model, "params": {"model": model}} for model in work.loads],
        "datasets": [{"name": name, "path": f"{name}.jsonl"} for name in datasets],
    }
    (directory / "evalrun.yaml").write_text(json.dumps(suite, indent=1))
    return directory


if __name__ == "__main__":
    made = make()
    FILE.write_text(json.dumps({"loads": made.loads, "seconds": made.seconds}, indent=1) + "\n")
