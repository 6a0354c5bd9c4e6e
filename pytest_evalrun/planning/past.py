"""What ``history.jsonl`` knows of pairs and their relatives, read from its end: it may have grown for years."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
    from pathlib import Path

# The newest part of a long history says enough.
MOST_BYTES = 64 << 20
BLOCK = 1 << 20
# No evaluation takes longer, or has more samples.
MOST = 1e12

_PAIR = re.compile(rb'\{"pair": ?("(?:[^"\\]|\\.)*")')

_Key = TypeVar("_Key", bound="Hashable")


@dataclass(frozen=True)
class Measured:
    """Samples of the whole dataset, and what one of them took, asked and scored.

    Everything else is paid once: imports, hashing data that is hashed no more, waiting for a GPU.
    """

    samples: int
    each: float

    def seconds(self, limit: int | None) -> float:
        return self.each * (self.samples if limit is None else min(limit, self.samples))


class Past:
    """The newest measurement of each pair, and the newest load of each model (``suite/task``)."""

    def __init__(self) -> None:
        self.pairs: dict[str, Measured] = {}
        self.loads: dict[str, float] = {}

    @cached_property
    def of_models(self) -> dict[str, Measured]:
        """What is usual for a model, over the datasets that it was measured with."""
        return {model: typical(found) for model, found in self._grouped(model_of).items()}

    @cached_property
    def of_datasets(self) -> dict[tuple[str, str], Measured]:
        """What is usual for a dataset, over the models that were measured with it."""
        return {dataset: typical(found) for dataset, found in self._grouped(dataset_of).items()}

    def _grouped(self, key: Callable[[str], _Key]) -> dict[_Key, list[Measured]]:
        groups = defaultdict(list)
        for name, measured in self.pairs.items():
            groups[key(name)].append(measured)
        return groups


def typical(found: Collection[Measured]) -> Measured:
    """The medians, because one slow evaluation must not count for all."""
    samples = int(median(one.samples for one in found))
    return Measured(samples, median(one.each for one in found))


def model_of(name: str) -> str:
    """``suite/task`` of a pair's full id; datasets have no slash in their names."""
    return name.rpartition("/")[0]


def dataset_of(name: str) -> tuple[str, str]:
    """Suite and dataset: in one suite, what has one name is taken for the same data."""
    return name.partition("/")[0], name.rpartition("/")[2]


def read_past(history: Path, wanted: Iterable[str]) -> Past:
    """Newest lines first, until all that is wanted is known or MOST_BYTES were read."""
    search = _Search(wanted)
    for line in newest_lines(history) if search.missing else ():
        name = _name(line)
        if search.asks(name) and (entry := _entry(line)) is not None:
            search.learn(name, entry)
            if not search.missing and not search.unloaded:
                break
    return search.found()


class _Search:
    """What is still to be found out. Of others only what tells something about the wanted: their models, their data."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.past = Past()
        self._limited: dict[str, Measured] = {}
        self.missing = set(wanted)
        self.datasets = {dataset_of(name) for name in self.missing}
        self.models = {model_of(name) for name in self.missing}
        self.unloaded = set(self.models)

    def asks(self, name: str) -> bool:
        model = model_of(name)
        if name in self.past.pairs:
            return model in self.unloaded
        return model in self.models or dataset_of(name) in self.datasets

    def found(self) -> Past:
        """Of whom only first samples were ever evaluated, these tell the pace of the others."""
        self.past.pairs = self._limited | self.past.pairs
        return self.past

    def learn(self, name: str, entry: dict[str, Any]) -> None:
        if name not in self.past.pairs and (measured := _measured(entry)):
            if _is_limited(entry):
                self._limited.setdefault(name, measured)
            else:
                self.past.pairs[name] = measured
                self.missing.discard(name)
        model = model_of(name)
        if model not in self.past.loads and (load := _number(entry, "seconds", "load")):
            self.past.loads[model] = load
            self.unloaded.discard(model)


def newest_lines(path: Path, most: int = MOST_BYTES) -> Iterator[bytes]:
    """The lines of a file from its end, read in blocks; none where it cannot be read."""
    try:
        file = open_file(path)
    except OSError:
        return
    with file:
        fd = file.fileno()
        low = size = os.fstat(fd).st_size
        rest = b""
        while low > 0 and size - low < most:
            low, high = max(0, low - BLOCK), low
            first, *lines = (os.pread(fd, high - low, low) + rest).split(b"\n")
            yield from reversed(lines)
            rest = first
        if low == 0:
            yield rest


def _name(line: bytes) -> str:
    """The pair of a line, mostly without reading all of it: few lines are of use, and they are long."""
    found = _PAIR.match(line)
    if found is None:
        return str((_entry(line) or {}).get("pair", ""))
    try:
        return str(parse_json(found[1].decode()))
    except ValueError:
        return ""


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = parse_json(line)
    except ValueError:  # torn by a power cut
        return None
    return entry if isinstance(entry, dict) else None


def _measured(entry: dict[str, Any]) -> Measured | None:
    """What the samples that were asked took holds for all; where none was, what they took when they were."""
    predict, score = (_number(entry, "seconds", key) for key in ("predict", "score"))
    count = int(_number(entry, "samples", "predicted") + _number(entry, "samples", "failed"))
    asked = count - int(_number(entry, "samples", "reused"))
    each = predict / asked if asked > 0 else _usual(entry)
    if count <= 0 or each <= 0:
        return None
    return Measured(max(count, int(_number(entry, "samples", "total"))), each + score / count)


def _is_limited(entry: dict[str, Any]) -> bool:
    """Whether it is of the first samples alone, which say less of a pair than the last time that it was whole."""
    fingerprint = entry.get("fingerprint")
    prediction = fingerprint.get("prediction") if isinstance(fingerprint, dict) else None
    return isinstance(prediction, dict) and prediction.get("limit") is not None


def _usual(entry: dict[str, Any]) -> float:
    """Seconds of predicting a sample; p50 was that only as long as a batch's time was divided among its samples."""
    throughput = _number(entry, "seconds", "throughput")
    if throughput:
        return 1 / throughput
    return _number(entry, "seconds", "p50") if entry.get("timing") is None else 0.0


def _number(entry: dict[str, Any], part: str, key: str) -> float:
    """0 for what is not there, or is no number that time or samples can be: others may write to the file."""
    values = entry.get(part)
    value = values.get(key) if isinstance(values, dict) else None
    return float(value) if isinstance(value, int | float) and 0 < value < MOST else 0.0
