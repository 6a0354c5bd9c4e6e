"""200,000 samples of one pair against a bare loop that reads, calls, compares and writes with the json module."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Timed, alternate, ratio, write_suite
from pytest_evalrun.rundir.layout import WorkDir

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 200_000
BATCH = 256

# What somebody writes who needs no more than the lines and one number.
BARE = f"""
import itertools, json, time
from adapter import predict
def loop():
    right = index = 0
    with open("../suite/data/d0", encoding="utf-8") as rows, open("lines.jsonl", "w", encoding="utf-8") as out:
        while batch := [json.loads(row) for row in itertools.islice(rows, {BATCH})]:
            started = time.perf_counter()
            predictions = predict([row["x"] for row in batch])
            seconds = round(time.perf_counter() - started, 6)
            for row, prediction in zip(batch, predictions, strict=True):
                right += prediction == row["y"]
                line = {{"index": index, "id": str(index), "status": "ok", "prediction": prediction,
                        "reference": row["y"], "error": None, "seconds": seconds}}
                out.write(json.dumps(line, ensure_ascii=False) + "\\n")
                index += 1
    assert right == index == {SAMPLES}
loop()
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Ours starts pytest, knows the dataset by content, can be resumed after each batch, and scores."""
    suite = write_suite(place / "suite", 1, 1, SAMPLES, BATCH)
    bare = place / "bare"
    bare.mkdir()
    (bare / "adapter.py").write_text("def predict(batch):\n    return list(batch)\n")
    (bare / "loop.py").write_text(BARE)
    commands = {"suite": Timed(suite, ("-n", "0")), "bare": Timed(bare, ("loop.py",), program=())}
    spent = alternate(commands, scale.rounds)
    _check(suite)
    return [ratio(f"{SAMPLES:,} samples of one pair, batches of {BATCH}, against a bare loop", spent, 2.5)]


def _check(suite: Path) -> None:
    (path,) = WorkDir(suite / "outputs/default").latest.glob("results/*/*/*.json")
    metric = json.loads(path.read_text())["metrics"]["exact_match"]
    if (metric["value"], metric["n"]) != (1.0, SAMPLES):
        raise SystemExit(f"{path}: found {metric}")
