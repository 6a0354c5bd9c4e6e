"""A run as pytest-benchmark saves one: the seconds of a pair's samples are its rounds."""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left, bisect_right
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.export.target import REMEDY
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.results import TIMING
from pytest_evalrun.rundir.samplelines import SampleLines
from pytest_evalrun.rundir.sessions import read_session
from pytest_evalrun.suite.printable import counted, first_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.report.export.chosen import ChosenPair
    from pytest_evalrun.rundir.layout import RunPaths

# The version of pytest-benchmark whose files these are like.
FORMAT = "5.3.1"
# The first key of ours, which that reads over: a file that begins so may be replaced.
OURS = "evalrun"
_BEGINNING = 64
_MOST_NAMED = 5
_OPTIONS = {"disable_gc": False, "timer": "perf_counter", "warmup": False}


def export_benchmark(pairs: Sequence[ChosenPair], paths: RunPaths, file: Path, *, force: bool = False) -> list[str]:
    """Write the file in one step; returns what is to be said of it.

    Raises ConfigError where somebody else's file is in the way, or no sample of the run has been timed.
    """
    if not force:
        check_ours(file)
    found: list[dict[str, Any]] = []
    untimed: list[str] = []
    for pair in pairs:
        seconds = seconds_of(pair)
        if seconds:
            found.append(_benchmark(pair, seconds))
        else:
            untimed.append(pair.known.full_id)
    if not found:
        raise ConfigError(f"run {paths.root.name}: no sample was timed by itself; accepted: a run with such")
    write_atomic(file, json.dumps(_content(pairs, paths, found), indent=4) + "\n")
    left = f"{counted(len(untimed), 'pair')} left out, whose samples were not timed one by one"
    return [f"{left}: {first_of(untimed, _MOST_NAMED)}"] if untimed else []


def check_ours(file: Path) -> None:
    """Raise ConfigError for a file that no export of ours has written."""
    try:
        with open_file(file) as there:
            beginning = there.read(_BEGINNING)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; accepted: the name of a new file") from None
    if not beginning.lstrip(b"{ \r\n").startswith(f'"{OURS}"'.encode()):
        raise ConfigError(f"{file}: it exists and was not written by evalrun export; {REMEDY}")


def seconds_of(pair: ChosenPair) -> array[float]:
    """What was waited for each answer, in dataset order; of those that failed nothing. Eight bytes an answer.

    Nothing of a result whose samples were timed by shares of their batches.
    """
    seconds = array("d")
    if pair.result is None or pair.result.timing != TIMING or not pair.files.predictions.is_file():
        return seconds
    for line in SampleLines(pair.files.predictions).ordered():
        value = line.get("seconds")
        if line.get("status") == "ok" and isinstance(value, int | float) and math.isfinite(value) and value >= 0:
            seconds.append(value)
    return seconds


def statistics_of(seconds: array[float]) -> dict[str, Any]:
    """The statistics of at least one round, as pytest-benchmark calculates them, quartiles and outliers too."""
    data = array("d", sorted(seconds))
    n, total = len(data), math.fsum(data)
    mean = total / n
    stddev = math.sqrt(math.fsum((value - mean) ** 2 for value in data) / (n - 1)) if n > 1 else 0.0
    q1, q3 = _quartiles(data)
    iqr = q3 - q1
    low, high = q1 - 1.5 * iqr, q3 + 1.5 * iqr
    beyond = _outside(data, mean - stddev, mean + stddev), _outside(data, low, high)
    return {
        "min": data[0],
        "max": data[-1],
        "mean": mean,
        "stddev": stddev,
        "rounds": n,
        "median": median(data),
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond[1],
        "stddev_outliers": beyond[0],
        "outliers": f"{beyond[0]};{beyond[1]}",
        "ld15iqr": data[bisect_left(data, low)],
        "hd15iqr": data[bisect_right(data, high) - 1],
        "ops": n / total if total else 0.0,
        "total": total,
        "iterations": 1,
    }


def _quartiles(data: array[float]) -> tuple[float, float]:
    """Of an odd number of rounds between two of them, of an even one the medians of both halves."""
    n = len(data)
    if n == 1:
        return data[0], data[0]
    if n % 2 == 0:
        return median(islice(data, n // 2)), median(islice(data, n // 2, n))
    quarter, rest = divmod(n, 4)
    if rest == 1:
        low = 0.25 * data[quarter - 1] + 0.75 * data[quarter]
        return low, 0.75 * data[3 * quarter] + 0.25 * data[3 * quarter + 1]
    low = 0.75 * data[quarter] + 0.25 * data[quarter + 1]
    return low, 0.25 * data[3 * quarter + 1] + 0.75 * data[3 * quarter + 2]


def _outside(data: array[float], low: float, high: float) -> int:
    return bisect_left(data, low) + len(data) - bisect_right(data, high)


def _benchmark(pair: ChosenPair, seconds: array[float]) -> dict[str, Any]:
    """A pair; the models of a dataset are a group, so that they stand below each other."""
    known = pair.known
    values = {name: metric["value"] for name, metric in pair.metrics.items()}
    told: dict[str, Any] = {"status": known.status, "metrics": values}
    if pair.result is not None:
        told |= {"samples": dict(pair.result.samples), "seconds": dict(pair.result.seconds)}
    return {
        "group": f"{known.suite}/{known.id.removeprefix(f'{known.task}/')}",
        "name": known.id,
        "fullname": known.full_id,
        "params": {"task": known.task, "dataset": known.dataset},
        "param": known.id,
        "extra_info": told,
        "options": dict(_OPTIONS),
        "stats": statistics_of(seconds),
    }


def _content(pairs: Sequence[ChosenPair], paths: RunPaths, found: list[dict[str, Any]]) -> dict[str, Any]:
    session = read_session(paths)
    host, ended = (session.host, session.ended or session.started) if session else ("", "")
    return {
        OURS: {"run": paths.root.name},
        "machine_info": {"node": host, **_machine(pairs), "cpu": {}},
        "commit_info": _COMMIT,
        "benchmarks": found,
        "datetime": ended.replace("Z", "+00:00"),
        "version": FORMAT,
    }


# A run does not know of which commit it is, and what is checked out today may be another.
_COMMIT = {
    "id": "unversioned",
    "time": None,
    "author_time": None,
    "dirty": False,
    "project": "pytest-evalrun",
    "branch": "(unknown)",
}


def _machine(pairs: Sequence[ChosenPair]) -> dict[str, str]:
    """The machine of the first pair that says which it was."""
    return next(_machines(pairs), {})


def _machines(pairs: Sequence[ChosenPair]) -> Iterator[dict[str, str]]:
    for pair in pairs:
        told = {} if pair.result is None else pair.result.environment
        if isinstance(platform := told.get("platform"), str):
            system, _, release = platform.partition("-")
            yield {"system": system, "release": release, "python_version": str(told.get("python", ""))}
