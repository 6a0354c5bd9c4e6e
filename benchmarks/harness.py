"""Suites made for measuring, commands timed in turns, and what was found as a table."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 16
BATCH = 4
MODELS = 10  # of every suite but the matrix: more pairs are more datasets


@dataclass(frozen=True)
class Scale:
    """How much to measure; the figures of the README are made with the defaults."""

    pairs: int = 1_000
    rounds: int = 3
    files: int = 50_000
    peers: bool = False


class Spent(NamedTuple):
    """What one command took: seconds on the wall, and processor seconds of all its processes."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``ours`` and ``theirs`` are median seconds.

    ``processor`` is ``found`` in processor time: what to look at where the machine has other things to do.
    """

    what: str
    ours: float
    theirs: float
    found: str
    processor: str
    target: str
    held: bool


def ratio(what: str, spent: dict[str, list[Spent]], most: float, more: float = 0.0) -> Figure:
    """Ours against theirs: the median of the ratios of neighbours, so that a busy minute weighs on both.

    Ours may be ``most`` times theirs, and ``more`` seconds.
    """
    ours, theirs = spent.values()
    pairs = list(zip(ours, theirs, strict=True))
    found = statistics.median(left.seconds / right.seconds for left, right in pairs)
    processor = statistics.median(left.processor / right.processor for left, right in pairs)
    beyond = statistics.median(left.seconds - most * right.seconds for left, right in pairs)
    target = f"<= {most:g} x" + (f" + {more:g} s" if more else "")
    shown = (f"{found:.2f} x", f"{processor:.2f} x", target)
    return Figure(what, median_seconds(ours), median_seconds(theirs), *shown, beyond <= more)


def median_seconds(spent: list[Spent]) -> float:
    return statistics.median(each.seconds for each in spent)


def alternate(commands: dict[str, Timed], rounds: int) -> dict[str, list[Spent]]:
    """Run the commands A B A B; what each took."""
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            spent[name].append(command.run())
    return spent


@dataclass(frozen=True)
class Timed:
    """A command in a directory, pytest's by itself, whose run directories do not outlive it unless kept."""

    directory: Path
    args: tuple[str, ...]
    accepted: int = 0
    pairs: int | None = None
    keep: bool = False
    program: tuple[str, ...] = ("-m", "pytest", "-q")
    environment: tuple[tuple[str, str], ...] = ()

    def run(self) -> Spent:
        """Run it once; stop the benchmark where it fails or did not do all its work."""
        if not self.keep:
            shutil.rmtree(self.directory / "outputs", ignore_errors=True)
        command = [sys.executable, *self.program, *self.args]
        start, used = time.perf_counter(), _processor_seconds()
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environment() | dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        spent = Spent(time.perf_counter() - start, _processor_seconds() - used)
        if done.returncode != self.accepted:
            text = (done.stdout + done.stderr)[-4000:]
            raise SystemExit(f"{' '.join(command)} in {self.directory} ended with {done.returncode}:\n{text}")
        if self.pairs is not None:
            check_run(self.directory, self.pairs)
        return spent


def _processor_seconds() -> float:
    """Of all child processes that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def environment() -> dict[str, str]:
    """Ours, without what would change how pytest runs: plugins that only our own tests bring along, too.

    Bytecode is written: a package that was installed has it, and pytest's own cache of it lies beside.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_XDIST", "EVALRUN_", "COVERAGE_", "PYTHONDONTWRITEBYTECODE"))
    }
    return kept | {"PYTEST_ADDOPTS": "-p no:anyio"}


def write_bare(directory: Path, count: int) -> Path:
    """A project of ``count`` parametrized tests that do nothing."""
    directory.mkdir(parents=True)
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_bare.py").write_text(
        f'import pytest\n\n\n@pytest.mark.parametrize("number", range({count}))\ndef test_bare(number):\n    pass\n'
    )
    return directory


def write_suite(directory: Path, models: int, datasets: int, samples: int = SAMPLES, batch: int = BATCH) -> Path:
    """A project of one suite of no-op pairs: 16 samples in batches of 4, one metric."""
    data = directory / "data"
    data.mkdir(parents=True)
    rows = "".join(json.dumps({"x": f"text {i}", "y": f"text {i}"}) + "\n" for i in range(samples))
    for number in range(datasets):
        (data / f"d{number}").write_text(rows)
    head = ["format: jsonl", "inputs: [x]", "reference: y", f"max_batch_size: {batch}"]
    return _write_project(directory, head, models, datasets)


def write_file_suite(directory: Path, models: int, datasets: int, files: int) -> Path:
    """A project of a suite whose datasets are directories of ``files`` files each; only ever collected."""
    for number in range(datasets):
        place = directory / "data" / f"d{number}"
        place.mkdir(parents=True)
        for name in range(files):
            (place / f"{name}.txt").touch()
    return _write_project(directory, ["format: files"], models, datasets)


def _write_project(directory: Path, head: list[str], models: int, datasets: int) -> Path:
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "adapter.py").write_text("def predict(batch):\n    return [sample.input for sample in batch]\n")
    lines = [
        "name: noop",
        'adapter: "./adapter.py:predict"',
        "metrics: [exact_match]",
        *head,
        "models:",
        *(f"  - {{name: m{number}}}" for number in range(models)),
        "datasets:",
        *(f"  - {{name: d{number}, path: data/d{number}}}" for number in range(datasets)),
    ]
    (directory / "evalrun.yaml").write_text("\n".join(lines) + "\n")
    return directory


def check_run(directory: Path, pairs: int) -> None:
    """Make sure that every pair left all that DESIGN promises: a fast run that did nothing is no figure."""
    run = WorkDir(directory / "outputs/default").latest
    paths = RunPaths(run.resolve())
    results = sorted(paths.results.glob("*/*/*.json"))
    if len(results) != pairs:
        raise SystemExit(f"{run}: {len(results)} results, expected {pairs}")
    events = _count_events(paths.events)
    for result in results:
        key = PairKey(result.parent.parent.name, result.parent.name, result.stem)
        lacking = _lacking(paths, key, events)
        if lacking:
            raise SystemExit(f"{run}: pair {'/'.join(key)} lacks {', '.join(lacking)}")


def _lacking(paths: RunPaths, key: PairKey, events: Counter[tuple[str, str]]) -> list[str]:
    pair = paths.pair(key)
    files = {
        "fingerprint": pair.fingerprint,
        "state": pair.state,
        "marker": pair.marker,
        "result": pair.result,
        "log": pair.infer_log,
    }
    lacking = [name for name, path in files.items() if not path.is_file()]
    if not pair.predictions.is_file() or len(pair.predictions.read_bytes().splitlines()) != SAMPLES:
        lacking.append(f"{SAMPLES} prediction lines")
    if not lacking:
        metric = json.loads(pair.result.read_text())["metrics"]["exact_match"]
        if (metric["value"], metric["n"]) != (1.0, SAMPLES):
            lacking.append(f"the right result (found {metric})")
    lacking += [name for name in ("item_started", "item_finished") if events["/".join(key), name] != 1]
    return lacking


def _count_events(path: Path) -> Counter[tuple[str, str]]:
    with path.open() as file:
        return Counter((event.get("pair"), event["event"]) for event in map(json.loads, file))
