"""The samples of a pair as a DataFrame, against pandas' own reader of the same predictions.

Both run in this process, in turns, after a first round that imports what they need.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest_evalrun as er
from benchmarks.harness import Figure, Scale, Spent, Timed, ratio, write_suite
from pytest_evalrun.rundir.layout import WorkDir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAMPLES = 100_000
PAIR = "m0/d0"


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Ours finds the run and the pair, checks each line, joins the scores, and reads the dataset for the inputs."""
    import pandas as pd

    suite = write_suite(place / "suite", 1, 1, SAMPLES, 256)
    Timed(suite, ("-n", "0")).run()
    workdir = suite / "outputs/default"
    (predictions,) = WorkDir(workdir).latest.glob("predictions/*/*/d0.jsonl")
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: er.load("latest", workdir=workdir).samples(PAIR),
        "pandas": lambda: pd.read_json(predictions, lines=True),
    }
    _check(*(way() for way in ways.values()))
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for _ in range(max(3, scale.rounds)):
        for name, way in ways.items():
            spent[name].append(_timed(way))
    return [ratio(f"{SAMPLES:,} samples as a DataFrame with scores and inputs, against read_json", spent, 2.0)]


def _timed(way: Callable[[], Any]) -> Spent:
    started, used = time.perf_counter(), time.process_time()
    way()
    return Spent(time.perf_counter() - started, time.process_time() - used)


def _check(ours: Any, theirs: Any) -> None:
    """A table that lacks something is no figure."""
    same = ours["prediction"].tolist() == theirs["prediction"].tolist() == ours["input.x"].tolist()
    if not same or len(ours) != SAMPLES or ours["score.exact_match"].sum() != SAMPLES:
        raise SystemExit(f"the samples are not those of the run:\n{ours}")
