"""What a pair will probably take: from its own past, else from its relatives', else from sizes.

Runs in the launching process before the first item starts: no data is read, no directory listed, no settings resolved.
"""

# ruff: noqa: PTH116, PTH118
# Paths are text here: there are tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

import math
import os
import stat
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from pytest_evalrun.planning.past import dataset_of, model_of, read_past
from pytest_evalrun.planning.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.planning.past import Past
    from pytest_evalrun.rundir.layout import RunPaths, WorkDir
    from pytest_evalrun.slots.need import Need
    from pytest_evalrun.suite.pairs import Pair

# A plan of zeros would put everything into one lane.
LEAST = 0.001
# Where nothing was ever measured: only the order that they give matters.
LEAST_GUESS = 0.1
SECONDS_PER_BYTE = {"file": 1e-6, "directory": 2.5e-4}  # a directory's own size: some 40 bytes a name in it
SECONDS_PER_SAMPLE = 0.01
LOAD_BYTES_PER_SECOND = 200e6
UNKNOWN_SECONDS = 1.0
# Of the seconds of a pair, about so many go into scoring it.
SCORING = 0.05


@dataclass(frozen=True)
class Estimate:
    """``load`` is paid besides ``seconds`` by a worker that does not hold the model.

    ``source`` is history, samples, size, finished (it will be reused) or skipped.
    """

    seconds: float
    load: float
    source: str


def estimates(pairs: Sequence[Pair], workdir: WorkDir, paths: RunPaths | None, *, fresh: bool) -> dict[str, Estimate]:
    """One for each pair by its full id; ``paths`` is the run to carry on in, None for a new one."""
    files = _Files()
    found: dict[str, Estimate] = {}
    rest: list[Pair] = []
    for pair in pairs:
        if pair.skip is not None:
            found[pair.full_id] = Estimate(LEAST, 0.0, "skipped")
        elif not fresh and paths is not None and _is_finished(pair, paths, files):
            found[pair.full_id] = Estimate(LEAST, 0.0, "finished")
        else:
            rest.append(pair)
    judge = _Judge(rest, read_past(workdir.history, [pair.full_id for pair in rest]), files)
    return found | {pair.full_id: judge.estimate(pair) for pair in rest}


def work_of(place: int, pair: Pair, estimate: Estimate, need: Need) -> Work:
    """A pair as work, by the estimate of the whole pair: a shard takes its share.

    A pair that is cut only gathers and scores, for which any worker will do. Whatever it is sent, a model that is
    loaded is one.
    """
    model = f"{pair.suite}/{pair.task.model}"
    if pair.is_shard:
        return Work(place, model, max(LEAST, estimate.seconds * pair.share), estimate.load, need)
    if pair.is_cut:
        return Work(place, f"score {pair.full_id}", max(LEAST, estimate.seconds * SCORING))
    return Work(place, model, estimate.seconds, estimate.load, need)


class _Files:
    """Looks at each path once; many pairs share a model, a dataset, an adapter."""

    def __init__(self) -> None:
        self._seen: dict[str, os.stat_result | None] = {}

    def __call__(self, path: str) -> os.stat_result | None:
        if path not in self._seen:
            try:
                self._seen[path] = os.stat(path)
            except (OSError, ValueError):
                self._seen[path] = None
        return self._seen[path]

    def modified(self, path: str | None) -> float:
        """0 where nothing lies there."""
        found = self(path) if path is not None else None
        return found.st_mtime if found else 0.0


def _is_finished(pair: Pair, paths: RunPaths, files: _Files) -> bool:
    """Marked, and neither model, adapter nor data looks newer: most likely it is reused.

    Results of a limit have markers of other names: they are expected to be made again.
    """
    if pair.peek("limit") is not None:
        return False
    marker, *_ = paths.pair(pair.key).complete
    marked = files.modified(marker)
    return marked > max(map(files.modified, (pair.task.path, _adapter(pair), pair.dataset.path, _data(pair))))


def _adapter(pair: Pair) -> str | None:
    """The user's file that the adapter is in, where it is named by one."""
    file, colon, _ = str(pair.peek("adapter") or "").partition(":")
    return os.path.join(pair.root, file) if colon and file.endswith(".py") else None


def _data(pair: Pair) -> str:
    """The dataset's file, or the directory of its inputs."""
    inside = pair.peek("in_subdir")
    return os.path.join(pair.dataset.path, inside) if isinstance(inside, str) and inside else pair.dataset.path


# ------------------------------------------------------------------ what is expected


class _Judge:
    """Expectations for pairs by what is known of them, best knowledge first."""

    def __init__(self, pairs: Sequence[Pair], past: Past, files: _Files) -> None:
        self.pairs = pairs
        self.past = past
        self.files = files

    def estimate(self, pair: Pair) -> Estimate:
        limit = pair.peek("limit")
        measured = self.past.pairs.get(pair.full_id)
        if measured is not None:
            seconds, source = measured.seconds(limit), "history"
        elif (guess := self._by_samples(pair, limit)) is not None:
            seconds, source = guess, "samples"
        else:
            seconds, source = self._by_size(pair, limit), "size"
        return Estimate(max(LEAST, seconds), self._load(pair), source)

    def _by_samples(self, pair: Pair, limit: int | None) -> float | None:
        """So many samples at the model's pace; a model never measured takes what others took for the dataset."""
        others = self.past.of_datasets.get(dataset_of(pair.full_id))
        own = self.past.of_models.get(model_of(pair.full_id))
        if others is None:
            return None
        return others.seconds(limit) if own is None else replace(own, samples=others.samples).seconds(limit)

    def _by_size(self, pair: Pair, limit: int | None) -> float:
        kind, bulk = self._bulk(pair)
        model = model_of(pair.full_id)
        own = self.past.of_models.get(model)
        if bulk and (rate := self._rates.get((model, kind))):
            seconds = bulk * rate
        elif own is not None:
            seconds = own.seconds(None)  # the model's pace says more than bytes do
        else:
            seconds = self._by_bytes(kind, bulk) if bulk else self._usual_seconds
        return seconds if limit is None else min(seconds, limit * (own.each if own else SECONDS_PER_SAMPLE))

    def _by_bytes(self, kind: str, bulk: float) -> float:
        rate = self._rates.get(("", kind))
        return bulk * rate if rate is not None else LEAST_GUESS + bulk * SECONDS_PER_BYTE[kind]

    def _bulk(self, pair: Pair) -> tuple[str, float]:
        """Bytes of data times the class of the model: one ten times as big is taken to be three times as slow."""
        data = self.files(_data(pair)) or self.files(pair.dataset.path)
        model = self.files(pair.task.path) if pair.task.path else None
        if data is None:
            return "file", 0.0
        kind = "directory" if stat.S_ISDIR(data.st_mode) else "file"
        weight = math.sqrt(model.st_size / 1e6) if model is not None and stat.S_ISREG(model.st_mode) else 1.0
        return kind, data.st_size * max(1.0, weight)

    @cached_property
    def _rates(self) -> dict[tuple[str, str], float]:
        """Seconds per bulk of what was measured, by model (or of any, ``""``) and kind of data."""
        rates = defaultdict(list)
        for pair in self.pairs:
            if (measured := self.past.pairs.get(pair.full_id)) is not None:
                kind, bulk = self._bulk(pair)
                for model in (model_of(pair.full_id), "") if bulk else ():
                    rates[model, kind].append(measured.seconds(None) / bulk)
        return {key: median(found) for key, found in rates.items()}

    @cached_property
    def _usual_seconds(self) -> float:
        known = [measured.seconds(None) for measured in self.past.pairs.values()]
        return median(known) if known else UNKNOWN_SECONDS

    def _load(self, pair: Pair) -> float:
        """As the model took last time, else as its size says, else as others took."""
        known = self.past.loads.get(model_of(pair.full_id))
        if known is not None:
            return known
        model = self.files(pair.task.path) if pair.task.path else None
        if model is not None and stat.S_ISREG(model.st_mode):
            return model.st_size / LOAD_BYTES_PER_SECOND
        return self._usual_load

    @cached_property
    def _usual_load(self) -> float:
        return median(self.past.loads.values()) if self.past.loads else 0.0
