"""What a launch pays for each pair that its jobs evaluate, among 10,000 and among 1,000: processor time of its own.

The cluster is the batch system of the tests, whose jobs are processes of this machine.
"""

from __future__ import annotations

import json
import statistics
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import MODELS, Figure, Scale, Timed, write_suite

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration"))

from batchsystem import BatchSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = 10
MOST = 1.1
ON = ("--eval-engine", "command", "--eval-jobs", "2", "-p", "ownseconds")
# Of the launching process alone: what jobs take is theirs, and programs of the batch system are children.
OWN_SECONDS = """
import time
from pathlib import Path

def pytest_unconfigure(config):
    if not config.getoption("eval_job"):
        Path("ownseconds.txt").write_text(str(time.process_time()))
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Start-up, measured as a launch of ten pairs, is taken off: it would hide a cost that grows."""
    sizes = (FEW, scale.pairs, 10 * scale.pairs)
    spent: dict[int, list[float]] = {size: [] for size in sizes}
    with _cluster(place) as words:
        suites = {size: _write(place / str(size), size, words) for size in sizes}
        for _ in range(scale.rounds):
            for size, suite in suites.items():
                spent[size].append(_own_seconds(suite, size))
    few, base, many = (statistics.median(seconds) for seconds in spent.values())
    found = ((many - few) / (sizes[2] - FEW)) / ((base - few) / (sizes[1] - FEW))
    what = f"a launch's own cost per pair of jobs at {sizes[2]:,} pairs against {sizes[1]:,}, start-up taken off"
    return [Figure(what, many, base, f"{found:.2f} x", f"{found:.2f} x", f"<= {MOST:g} x", found <= MOST)]


@contextmanager
def _cluster(place: Path) -> Iterator[dict[str, object]]:
    with BatchSystem(place / "batch") as system:
        yield system.words()


def _write(directory: Path, pairs: int, words: dict[str, object]) -> Path:
    suite = write_suite(directory, MODELS, pairs // MODELS)
    (suite / "ownseconds.py").write_text(OWN_SECONDS)
    with (suite / "evalrun.yaml").open("a") as file:
        file.write(f"batch_system: {json.dumps(words)}\n")
    return suite


def _own_seconds(suite: Path, pairs: int) -> float:
    Timed(suite, ON, pairs=pairs, environment=(("PYTHONPATH", str(suite)),)).run()
    return float((suite / "ownseconds.txt").read_text())
