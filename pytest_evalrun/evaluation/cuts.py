"""How a pair is cut into shards: equal ranges of its samples, known before anything runs."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.hashes import HashCaches
from pytest_evalrun.rundir.layout import key_of
from pytest_evalrun.rundir.shards import read_ranges
from pytest_evalrun.suite.pairs import Cut
from pytest_evalrun.suite.settings import OF_TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from pytest_evalrun.rundir.hashes import HashCache
    from pytest_evalrun.rundir.layout import RunPaths
    from pytest_evalrun.suite.pairs import Pair, Suite

WORDS = ("shards", "shard_size")
COMPLETED = "completed"
TABLES = ("csv", "jsonl")


def cut_suite(suite: Suite, hashes: Path) -> Suite:
    """The suite with its pairs cut where their settings say so; only then is data looked at, through the hash cache.

    A dataset that cannot be read is left whole: its pair says what is wrong with it. Raises ConfigError for ids that
    ranges of ids cannot be made of.
    """
    if not any(wanted(pair) for pair in suite.pairs):
        return suite
    with closing(HashCaches(hashes, warn=lambda _: None)) as caches:
        known = DatasetFacts(caches.of)
        return replace(suite, pairs=tuple(_cut(pair, known) for pair in suite.pairs))


def cut_lines(paths: RunPaths, pairs: Iterable[Pair]) -> Iterator[str]:
    """For the log of a run: of each pair that is cut its samples and shards; of programs, how many are not done yet.

    Whether what is done still holds is found out by the shards: data may have changed.
    """
    for pair in {pair.whole.full_id: pair.whole for pair in pairs if pair.cuts and pair.skip is None}.values():
        yield f"{pair.full_id}: Found {pair.cuts[-1].high} samples"
        yield from (f"{pair.full_id}: Task range: [{c.low}, {c.high}) ({c.size} samples)" for c in pair.cuts)
        if pair.peek("command") is None:
            continue
        done = [
            record.positions for record in read_ranges(paths.pair(key_of(pair)).programs) if record.status == COMPLETED
        ]
        pending = sum(not _covered(cut, done) for cut in pair.cuts)
        yield f"{pair.full_id}: Found {pending} pending tasks out of {len(pair.cuts)} total"


def _covered(cut: Cut, done: Iterable[tuple[int, int]]) -> bool:
    """``done`` is sorted."""
    at = cut.low
    for low, high in done:
        at = max(at, high) if low <= at else at
    return at >= cut.high


def wanted(pair: Pair) -> tuple[str, int] | None:
    """The word that counts and its value: of two layers the higher one, without resolving every setting.

    A task of agents is not cut, whatever a launch says of all its suites: one item asks as many as there may be.
    """
    if pair.peek("format") == OF_TASKS:
        return None
    unset: set[str] = set()
    for layer in reversed(pair.layers):
        for word in WORDS:
            value = layer.values.get(word)
            if value and word not in unset:
                return word, value
            unset.update([word] if word in layer.values else [])
    return None


def ranges(count: int, word: str, value: int) -> Iterator[tuple[int, int]]:
    """Equal ranges that cover ``[0, count)``; never an empty one."""
    number = min(value, count)
    edges = [place * count // number for place in range(number)] if word == "shards" else [*range(0, count, value)]
    yield from pairwise([*edges, count])


class DatasetFacts:
    """What was found out about datasets, each once: many pairs of a suite share one."""

    def __init__(self, hashes: Callable[[str], HashCache]) -> None:
        self.hashes = hashes
        self._counts: dict[object, int | None] = {}

    def count(self, pair: Pair) -> int:
        """How many samples the pair has; 0 where nobody can tell."""
        key = (data_of(pair), pair.settings.limit)
        if key not in self._counts:
            self._counts[key] = _count(pair, self.hashes(pair.settings.fingerprint))
        return self._counts[key] or 0


def data_of(pair: Pair) -> tuple[Hashable, ...]:
    """What makes the data of two pairs the same: found out once, it holds for both."""
    settings = pair.settings
    what = (settings.format, settings.in_subdir, settings.suffixes, settings.labels, settings.references)
    columns = (
        settings.id_column,
        settings.inputs,
        settings.reference,
        repr(settings.reader),
        settings.gate_rules.cluster,
    )
    task = (settings.task, settings.controller, repr(settings.tasks))
    return (pair.dataset.path, settings.fingerprint, what, columns, task)


def _cut(pair: Pair, known: DatasetFacts) -> Pair:
    asked = wanted(pair)
    if asked is None or pair.skip is not None:
        return pair
    cuts = list(ranges(known.count(pair), *asked))
    return replace(pair, cuts=_labelled(pair, cuts, known)) if cuts else pair


def _count(pair: Pair, hashes: HashCache) -> int | None:
    try:
        count = create_reader(pair.dataset, pair.settings, pair.root).identity(hashes).count
    except Exception:  # noqa: BLE001 - a user's reader may raise anything: its pair does so again, and tells it
        return None
    limit = pair.settings.limit
    return count if limit is None else min(limit, count)


def _labelled(pair: Pair, cuts: list[tuple[int, int]], known: DatasetFacts) -> tuple[Cut, ...]:
    if pair.settings.range == "position":
        return tuple(Cut(low, high, f"{low}-{high}") for low, high in cuts)
    values = _ids(pair, cuts, known)
    return tuple(Cut(*cut, f"{low}-{high}") for cut, (low, high) in zip(cuts, pairwise(values), strict=True))


def _ids(pair: Pair, cuts: list[tuple[int, int]], known: DatasetFacts) -> list[int]:
    """The ids at the edges; of a table they are remembered until it changes."""
    path, settings = Path(pair.dataset.path), pair.settings
    if settings.format not in TABLES:
        return _edges(pair, cuts)
    columns = [settings.format, settings.id_column, settings.inputs, settings.reference, settings.reader, cuts]
    kind = f"ids at {json.dumps(columns, default=str)}"
    try:
        found = known.hashes(settings.fingerprint).derived(path, kind, lambda: {"ids": _edges(pair, cuts)})
    except OSError:  # it went away since it was counted
        return _edges(pair, cuts)
    return list(found["ids"])


def _edges(pair: Pair, cuts: list[tuple[int, int]]) -> list[int]:
    """The id at the low end of each range, and where the last one ends; ranges of ids need ids that ascend."""
    edges, found, before = {low for low, _ in cuts}, list[int](), -1
    for sample in islice(create_reader(pair.dataset, pair.settings, pair.root), cuts[-1][1]):
        number = _number(pair, sample.id, before if sample.index else None)
        if sample.index in edges:
            found.append(number)
        before = number
    return [*found, before + 1]


def _number(pair: Pair, name: str, before: int | None) -> int:
    try:
        number = int(name)
    except ValueError:
        raise ConfigError(f"{pair.dataset.path}: range: id needs ids that are whole numbers; found {name!r}") from None
    if before is not None and number <= before:
        raise ConfigError(
            f"{pair.dataset.path}: range: id needs ids in ascending order; found {number} after {before}; "
            "accepted: a sorted file, or range: position"
        )
    return number
