"""Where xdist's own scheduler hands out the items, a pair that comes too early waits, and not for itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from workshop import context, evaluator, shop

from pytest_evalrun.plugin.launch import LaunchDir
from pytest_evalrun.plugin.xdist.shards import ShardsInAnyOrder, tell_ended
from pytest_evalrun.rundir.layout import paths_of
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.suite.pairs import Cut

__all__ = ["context", "evaluator", "shop"]


@pytest.fixture
def pair(shop):
    """Six samples in three shards."""
    shop.data(count=6)
    return replace(shop.pair(), cuts=tuple(Cut(low, low + 2, f"{low}-{low + 2}") for low in (0, 2, 4)))


@pytest.fixture
def launch(tmp_path):
    return LaunchDir(tmp_path / "launch")


@pytest.fixture
def waits(context, monkeypatch):
    """``waits(until)``: what is called, instead of time that passes, while the pair waits."""
    return lambda until: monkeypatch.setattr(context, "wait_a_moment", until)


def test_a_pair_does_what_nobody_is_at_and_waits_for_the_rest(shop, context, pair, launch, waits):
    """What has ended is left alone, what another worker has locked is waited for, and the others are done here."""
    ended, busy, idle = pair.shards()
    tell_ended(launch, ended)
    asked = []

    def until():
        asked.append(shop.asked())
        tell_ended(launch, busy)

    waits(until)
    with FileLock.with_parents(paths_of(context.paths, busy).lock) as lock:
        assert lock.take()
        ShardsInAnyOrder(launch, [ended, busy, idle, pair]).wait(pair, context)
    assert asked == [["s4", "s5"]]
    assert shop.asked() == []


@pytest.mark.parametrize("due", ["of no shard", "of this pair"])
def test_nothing_is_waited_for_in_vain(shop, context, pair, launch, waits, due):
    """Shards that are not among the items come never, and a shard waits for no other."""
    waits(lambda: pytest.fail("waited"))
    items = pair.shards() if due == "of this pair" else [pair]
    ShardsInAnyOrder(launch, items).wait(pair if due == "of no shard" else pair.shards()[1], context)
    assert shop.asked() == []
