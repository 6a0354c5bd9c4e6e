"""``results/….json``: what an evaluation of one pair came to. Notebooks and CI read it too."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import read_file, read_objects
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.rundir.durable import Disk


# How the seconds of a sample are meant today.
TIMING = 2
STATUSES = frozenset({"passed", "failed", "error", "skipped", "pending"})
# Beside the statuses of an agent's samples, how many of them came to nothing.
FAILED_SAMPLES = "failed"


@dataclass(frozen=True)
class Result:
    """One pair's result, in raw names.

    ``metrics``: name → value, n, low, high, better, table; ``samples``: total, predicted, failed, reused;
    ``seconds``: load, predict, score, total, p50, p95, throughput. ``timing`` says how samples were timed: ``TIMING``,
    each by the request that answered it, or None, by a share of its batch; p50 and p95 of such are None here.
    ``usage`` is what an endpoint told: requests, attempts, tokens (input, output, cached), finish reason → count, cost
    and currency where there is a price; ``judge`` in it the same of each judge. ``statuses`` is how an agent's samples
    ended: status → count, and ``failed`` for those that came to nothing.
    """

    suite: str
    """The name of the suite."""
    task: str
    """The name of the model."""
    dataset: str
    """The name of the dataset."""
    status: str
    """passed, failed, error, skipped or pending."""
    metrics: dict[str, dict[str, Any]]
    """Name → value, n, low, high, better, and table where there is one."""
    samples: dict[str, int]
    """total, predicted, failed, reused."""
    seconds: dict[str, float | None]
    """load, predict, score, total, p50, p95 in seconds; throughput in samples per second."""
    gates: list[dict[str, Any]]
    """What was judged: metric, kind, limit, verdict, whether it holds, and what the verdict rests on."""
    fingerprint: dict[str, Any]
    """What the result depends on, part by part."""
    environment: dict[str, Any]
    """Versions and machine."""
    timing: int | None = None
    """2 where each sample's seconds are those of the request that answered it."""
    usage: dict[str, Any] | None = None
    """requests, attempts, tokens, finish reasons, and the cost where there is a price; `judge` has those of judges."""
    statuses: dict[str, int] | None = None
    """Of an agent, how its samples ended: status → count, and `failed` for those that came to nothing."""

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in _KINDS}
        return values | {name: value for name in _OPTIONAL if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, values: Any) -> Result:
        """Raises ValueError where a field is missing or not what it should be."""
        if not isinstance(values, dict):
            raise ValueError("a result is an object")  # noqa: TRY004 - callers look for damage, not for types
        for name, kind in _KINDS.items():
            if not isinstance(values.get(name), kind):
                raise ValueError(f"{name}: {values.get(name)!r}; it must be {kind.__name__}")  # noqa: TRY004
        if values["status"] not in STATUSES:
            raise ValueError(f"status: {values['status']!r}; accepted: {', '.join(sorted(STATUSES))}")
        if not all(isinstance(metric, dict) and "value" in metric for metric in values["metrics"].values()):
            raise ValueError("metrics: each must have a value")
        timing, usage, statuses = (values.get(name) for name in _OPTIONAL)
        if timing != TIMING:  # a batch's time by its size: no latency that anybody saw
            values = values | {"seconds": {**values["seconds"], "p50": None, "p95": None}}
        fields = {name: values[name] for name in _KINDS}
        return cls(
            **fields,
            timing=timing if timing == TIMING else None,
            usage=usage if isinstance(usage, dict) else None,
            statuses=statuses if isinstance(statuses, dict) else None,
        )

    def dumps(self) -> str:
        """The text of the file: a line a field, for the eye and for diff, at the price of compact JSON.

        Raises PairError for a number that JSON does not have.
        """
        try:
            lines = [f'  "{name}": {_encode(value)}' for name, value in self.to_json().items()]
        except ValueError as error:
            raise PairError(f"{self.suite}/{self.task}/{self.dataset}: the result cannot be kept: {error}") from error
        return "{\n" + ",\n".join(lines) + "\n}\n"


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
# Statuses that say that something is to be mended: quality, or trouble.
FAILED = frozenset({"failed", "error"})
_KINDS: dict[str, type] = {
    **dict.fromkeys(("suite", "task", "dataset", "status"), str),
    **dict.fromkeys(("metrics", "samples", "seconds"), dict),
    "gates": list,
    **dict.fromkeys(("fingerprint", "environment"), dict),
}
_OPTIONAL = ("timing", "usage", "statuses")
assert [*_KINDS, *_OPTIONAL] == [field.name for field in fields(Result)]


def ends(statuses: Mapping[str, int]) -> str:
    """How samples ended, for people: ``14 completed, 3 task limit reached, 1 failed``."""
    return ", ".join(f"{count} {status}" for status, count in statuses.items())


def read_result(path: Path) -> Result | None:
    """A result, or None where there is none or it is damaged."""
    try:
        return Result.from_json(parse_json(read_file(path)))
    except (OSError, ValueError):
        return None


def record_text(result: Result | None, names: tuple[str, str, str], test: str, values: dict[str, Any]) -> str:
    """What a user's own test found, and of which result: of a later one it says nothing."""
    suite, task, dataset = names
    content = {"suite": suite, "task": task, "dataset": dataset, "test": test, "values": values}
    if result is not None:
        content["fingerprint"] = result.fingerprint
    return json.dumps(content, ensure_ascii=False, indent=1, default=str)


def recorded_of(path: Path, result: Result) -> dict[str, Any]:
    """``<test name>.<name>`` → value, of all that tests recorded of the result at ``path``; what is damaged has none.

    Files of earlier versions do not say of which result they are, and are taken for this one's.
    """
    directory = path.with_suffix("")
    found: dict[str, Any] = {}
    for name in sorted(_names(directory, of_files=True)):
        try:
            content = parse_json(read_file(directory / name))
            if content.get("fingerprint", result.fingerprint) == result.fingerprint:
                found |= {f"{content['test']}.{key}": value for key, value in content["values"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def iter_results(results: Path) -> Iterator[tuple[Path, Result | None]]:
    """Every pair's result of a run, one at a time, in the order of their names; damaged ones as None.

    What a user's own tests recorded lies one level deeper and is left out.
    """
    return ((path, read_result(path)) for path in result_files(results))


def result_files(results: Path) -> Iterator[Path]:
    """The file of every pair's result of a run, in the order of their names."""
    for suite in _directories(results):
        for task in _directories(suite):
            for name in sorted(_names(task, of_files=True)):
                if name.endswith(".json"):
                    yield task / name


def _directories(root: Path) -> list[Path]:
    return [root / name for name in sorted(_names(root, of_files=False))]


def _names(root: Path, *, of_files: bool) -> list[str]:
    """Names of the files, or of the directories; hidden ones are on their way to become a file."""
    try:
        with os.scandir(root) as entries:
            return [e.name for e in entries if not e.name.startswith(".") and e.is_file() == of_files]
    except (FileNotFoundError, NotADirectoryError):
        return []


SUFFIX = ".timing.json"


@dataclass(frozen=True)
class Timing:
    """``samples`` were predicted in ``predict`` seconds; ``gpu_peak_gb`` of GPU memory were in use then, if known."""

    predict: float = 0.0
    samples: int = 0
    gpu_peak_gb: float | None = None

    def __add__(self, other: Timing) -> Timing:
        peaks = [peak for peak in (self.gpu_peak_gb, other.gpu_peak_gb) if peak is not None]
        return Timing(self.predict + other.predict, self.samples + other.samples, max(peaks, default=None))

    @property
    def throughput(self) -> float | None:
        """Samples per second of predicting; None where nothing was predicted."""
        return round(self.samples / self.predict, 6) if self.predict > 0 and self.samples > 0 else None

    @classmethod
    def from_json(cls, values: Any) -> Timing:
        """Raises ValueError, KeyError or TypeError for what ``to_json`` did not write."""
        peak = values["gpu_peak_gb"]
        return cls(float(values["predict"]), int(values["samples"]), None if peak is None else float(peak))


def add_timing(disk: Disk, predictions: Path, timing: Timing) -> None:
    """Beside the predictions of a shard, on top of what earlier sessions took for it."""
    path = predictions.with_name(predictions.stem + SUFFIX)
    disk.write(path, json.dumps(asdict(_read(path) + timing)))


def timings_in(directory: Path) -> Timing:
    """What all shards of a pair took together; what is damaged counts for nothing."""
    return sum(map(_read, sorted(directory.glob(f"*{SUFFIX}"))), Timing())


def _read(path: Path) -> Timing:
    try:
        return Timing.from_json(parse_json(read_file(path)))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return Timing()


def history_entry(pair: str, result: Result, time: str) -> dict[str, Any]:
    """What the history says of an evaluation: ``pair`` is the full id, ``time`` when it was complete."""
    return {
        "pair": pair,
        "fingerprint": result.fingerprint,
        "metrics": {name: metric["value"] for name, metric in result.metrics.items()},
        "samples": result.samples,
        "seconds": result.seconds,
        "time": time,
        "timing": result.timing,
    }


def append_history(disk: Disk, path: Path, entry: dict[str, Any]) -> None:
    """Add one evaluation; all workers append to the one file, each line in one write."""
    disk.append_line(path, entry)


def read_history(path: Path, damaged: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """The evaluations, oldest first; lines that a power cut tore are left out, their numbers put into ``damaged``."""
    return read_objects(path, damaged)
