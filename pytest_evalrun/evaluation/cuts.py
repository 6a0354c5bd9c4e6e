"""How a pair is cut into shards: equal ranges of its samples, known before anything runs."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.errors import ConfigError, EvalrunError
from pytest_evalrun.rundir.hashes import HashCache
from pytest_evalrun.suite.pairs import Cut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_evalrun.suite.pairs import Pair, Suite

WORDS = ("shards", "shard_size")


def cut_suite(suite: Suite, hashes: Path) -> Suite:
    """The suite with its pairs cut where their settings say so; only then is data looked at, through the hash cache.

    A dataset that cannot be read is left whole: its pair says what is wrong with it.
    """
    if not any(wanted(pair) for pair in suite.pairs):
        return suite
    cache = HashCache(hashes, mode="content", warn=lambda _: None)
    try:
        return replace(suite, pairs=tuple(_cut(pair, cache) for pair in suite.pairs))
    finally:
        cache.commit()
        cache.close()


def wanted(pair: Pair) -> tuple[str, int] | None:
    """The word that counts and its value: of two layers the higher one, without resolving every setting."""
    for layer in reversed(pair.layers):
        for word in WORDS:
            if layer.values.get(word):
                return word, layer.values[word]
    return None


def ranges(count: int, word: str, value: int) -> Iterator[tuple[int, int]]:
    """Equal ranges that cover ``[0, count)``; never an empty one."""
    number = min(value, count) if word == "shards" else -(-count // value)
    edges = [place * count // number for place in range(number)] if word == "shards" else range(0, count, value)
    yield from zip(edges, [*list(edges)[1:], count], strict=True)


def _cut(pair: Pair, cache: HashCache) -> Pair:
    asked = wanted(pair)
    if asked is None or pair.skip is not None:
        return pair
    try:
        cuts = list(ranges(_count(pair, cache), *asked))
        return replace(pair, cuts=_labelled(pair, cuts))
    except ConfigError:
        raise
    except EvalrunError:
        return pair


def _count(pair: Pair, cache: HashCache) -> int:
    count = create_reader(pair.dataset, pair.settings, pair.root).identity(cache).count
    limit = pair.settings.limit
    return count if limit is None else min(limit, count)


def _labelled(pair: Pair, cuts: list[tuple[int, int]]) -> tuple[Cut, ...]:
    if getattr(pair.settings, "range", "position") == "position":
        return tuple(Cut(low, high, f"{low}-{high}") for low, high in cuts)
    values = _ids(pair, cuts)
    ends = [*values[1:-1], values[-1] + 1]
    return tuple(Cut(*cut, f"{low}-{high}") for cut, low, high in zip(cuts, values[:-1], ends, strict=True))


def _ids(pair: Pair, cuts: list[tuple[int, int]]) -> list[int]:
    """The id at the low end of each range, and the last one; ranges of ids need ids that ascend."""
    edges, found, before = {low for low, _ in cuts}, [], None
    for sample in islice(create_reader(pair.dataset, pair.settings, pair.root), cuts[-1][1]):
        number = _number(pair, sample.id, before)
        if sample.index in edges:
            found.append(number)
        before = number
    assert before is not None, "an empty dataset has no identity"
    return [*found, before]


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
