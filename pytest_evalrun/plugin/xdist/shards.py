"""A pair that is cut comes after its shards, whoever hands out the items: pytest, our scheduler, or xdist's own."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.rundir.locks import is_locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pytest

    from pytest_evalrun.evaluation.context import Context
    from pytest_evalrun.plugin.launch import LaunchDir
    from pytest_evalrun.suite.pairs import Pair


def shards_first(items: Sequence[pytest.Item], pair_of: Callable[[pytest.Item], Pair | None]) -> Iterator[pytest.Item]:
    """The items in their order, which ``--ff`` and others change, but that no pair comes before its shards."""
    pairs = [pair_of(item) for item in items]
    left = Counter(pair.whole.full_id for pair in pairs if pair is not None and pair.is_shard)
    held: dict[str, list[pytest.Item]] = {}
    for item, pair in zip(items, pairs, strict=True):
        name = pair.whole.full_id if pair is not None else ""
        if not left[name]:
            yield item
        elif pair is not None and not pair.is_shard:
            held.setdefault(name, []).append(item)
        else:
            yield item
            left[name] -= 1
            yield from held.pop(name, ()) if not left[name] else ()


def shards_of(ids: Sequence[str], pairs: Mapping[str, Pair]) -> dict[str, list[int]]:
    """Give the items that must end before that of a pair that is cut, by the pair's full id."""
    found: dict[str, list[int]] = {}
    for index, nodeid in enumerate(ids):
        pair = pairs.get(nodeid)
        if pair is not None and pair.is_shard:
            found.setdefault(pair.whole.full_id, []).append(index)
    return found


class ShardsInAnyOrder:
    """On a worker to which xdist's own scheduler hands the items out: a pair may come before shards of its own.

    That scheduler knows of no dependencies, so the pair waits for shards that other workers are at. Without shards
    among the items nothing is waited for, and nothing told.
    """

    def __init__(self, launch: LaunchDir, pairs: Iterable[Pair]) -> None:
        self._launch = launch
        self._due = {pair.full_id for pair in pairs if pair.is_shard}

    def wait(self, pair: Pair, context: Context) -> None:
        """Return when all shards of a pair have ended.

        What nobody is at is done here and now: it may be due after this very item.
        """
        if not self._due or pair.is_shard:
            return
        from pytest_evalrun.evaluation.life import evaluate  # as in the worker's own module

        waiting = [shard for shard in pair.shards() if shard.full_id in self._due]
        while waiting := [shard for shard in waiting if self._launch.read(_ended(shard)) is None]:
            idle = [shard for shard in waiting if not is_locked(paths_of(context.paths, shard).lock)]
            if not idle:
                context.wait_a_moment()
                continue
            waiting.remove(idle[0])
            with suppress(EvalrunError):  # its own item will tell
                evaluate(idle[0], context)

    def ended(self, pair: Pair) -> None:
        if pair.full_id in self._due:
            tell_ended(self._launch, pair)


def tell_ended(launch: LaunchDir, shard: Pair) -> None:
    """Let whoever waits for a shard go on, whatever became of it."""
    launch.publish(_ended(shard), "")


def _ended(shard: Pair) -> str:
    return f"ended-{hashlib.sha256(shard.full_id.encode()).hexdigest()[:24]}"
