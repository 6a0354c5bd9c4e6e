"""Node ids → units for the scheduler: a pair by itself, the tests of a module together or in blocks."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.planning.costs import work_of
from pytest_evalrun.planning.work import Work
from pytest_evalrun.plugin.collectors import SuiteModule
from pytest_evalrun.plugin.internals import all_fixtures
from pytest_evalrun.plugin.items import uses
from pytest_evalrun.plugin.xdist.scheduler import Unit
from pytest_evalrun.plugin.xdist.shards import shards_of
from pytest_evalrun.slots.need import Need, board_of, need_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pytest

    from pytest_evalrun.planning.costs import Estimate
    from pytest_evalrun.suite.pairs import Pair

# What it is published as.
TOLD = "items.json"
# Of an ordinary test nobody has told us anything.
ORDINARY_SECONDS = 0.05
# So many tests of a module that need not stay together go to one worker at once: others may take the next ones.
BLOCK = 20
# What the marker ``gpus`` may say, in this order, and what holds if it does not.
GPUS_WORDS: Mapping[str, Any] = {"count": 1, "memory": 0, "per_gpu": 1}
# Fixtures of these scopes would be set up once for every item if items of their module ran apart.
TOGETHER = frozenset({"class", "module", "package"})


@dataclass(frozen=True)
class Told:
    """A worker's account of its items: modules that must stay together, tests that need GPUs of their own.

    ``pairs`` has the full id of the pair that an item is about, which the text of a node id does not say; ``ordered``
    is whether the workers take the orders of our scheduler.
    """

    modules: frozenset[str] = frozenset()
    needs: Mapping[str, Need] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = False

    def dumps(self) -> str:
        needs = {nodeid: asdict(need) for nodeid, need in self.needs.items()}
        told = {"modules": sorted(self.modules), "needs": needs, "pairs": self.pairs, "ordered": self.ordered}
        return json.dumps(told)

    @classmethod
    def loads(cls, text: str) -> Told:
        values = json.loads(text)
        needs = {nodeid: Need(**need | {"devices": tuple(need["devices"])}) for nodeid, need in values["needs"].items()}
        return cls(frozenset(values["modules"]), needs, values["pairs"], values["ordered"])


def told_of(
    items: Collection[pytest.Item], pair_of: Callable[[pytest.Item], Pair | None], *, ordered: bool = False
) -> Told:
    """Tell what the launching process cannot know: of a suite's own items that is which pairs they are about."""
    pairs = {item.nodeid: pair.full_id for item in items if (pair := pair_of(item)) is not None}
    others = [item for item in items if not isinstance(item.parent, SuiteModule)]
    needs = {item.nodeid: need for item in others if (need := _asked_by(item, pair_of(item)))}
    kept = (item for item in others if any(definition.scope in TOGETHER for definition in all_fixtures(item)))
    modules = frozenset(file_of(item.nodeid) for item in kept)
    return Told(modules, needs, pairs, ordered)


def _asked_by(item: Any, pair: Pair | None) -> Need:
    """Give what a test's own fixtures lease beside its pair's needs; of a wrong marker the test itself complains."""
    if uses(item, "gpus"):
        with suppress(ConfigError):
            return asked(item, pair)
    return board_of(pair.settings) if pair is not None and uses(item, "device") else Need()


def asked(item: pytest.Item, pair: Pair | None) -> Need:
    """Give what the fixture ``gpus`` leases: what the test's marker says, else its pair's settings, else one GPU.

    Raises ConfigError for a marker that says something else.
    """
    marker = item.get_closest_marker("gpus")
    if marker is not None:
        return _need_of(marker)
    need = need_of(pair.settings) if pair is not None else Need()
    return need if need.gpus else Need(1)


def _need_of(marker: Any) -> Need:
    words = dict(zip(GPUS_WORDS, marker.args, strict=False))
    given = {**GPUS_WORDS, **words, **marker.kwargs}
    twice = words.keys() & marker.kwargs.keys() or len(marker.args) > len(GPUS_WORDS)
    if twice or given.keys() != GPUS_WORDS.keys() or not all(_is_good(name, value) for name, value in given.items()):
        written = ", ".join([*map(repr, marker.args), *(f"{name}={value!r}" for name, value in marker.kwargs.items())])
        accepted = "gpus(count=1, memory=0, per_gpu=1), whole numbers from 1 on, and memory in GB"
        raise ConfigError(f"found @pytest.mark.gpus({written}) beside the fixture `gpus`; accepted: {accepted}")
    return Need(given["count"], given["memory"], given["per_gpu"])


def _is_good(name: str, value: Any) -> bool:
    if name == "memory":
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def units_of(
    ids: Sequence[str],
    pairs: Mapping[str, Pair],
    told: Told,
    estimates: Mapping[str, Estimate],
    needs: Mapping[str, Need],
) -> list[Unit]:
    """``needs`` by the full id of a pair; what is not named there needs nothing."""
    alone: list[Unit] = []
    modules: dict[tuple[str, int], list[int]] = {}
    ordinary: Counter[str] = Counter()
    shards = shards_of(ids, pairs)
    for index, nodeid in enumerate(ids):
        pair = pairs.get(nodeid)
        file = file_of(nodeid)
        if file in told.modules:
            modules.setdefault((file, 0), []).append(index)
        elif pair is None:
            modules.setdefault((file, ordinary[file] // BLOCK), []).append(index)
            ordinary[file] += 1
        else:
            need = _more(needs.get(pair.full_id, Need()), told.needs.get(nodeid, Need()))
            work = work_of(index, pair, estimates[pair.whole.full_id], need)
            alone.append(Unit((index,), work, () if pair.is_shard else tuple(shards.get(pair.full_id, ()))))
    return alone + [_module(ids, indices, pairs, told, estimates, needs, shards) for indices in modules.values()]


def _module(
    ids: Sequence[str],
    indices: Sequence[int],
    pairs: Mapping[str, Pair],
    told: Told,
    estimates: Mapping[str, Estimate],
    needs: Mapping[str, Need],
    shards: Mapping[str, Sequence[int]],
) -> Unit:
    """All of a module at once; it needs what the neediest of its tests needs."""
    seconds, need, after = 0.0, Need(), list[int]()
    for nodeid in (ids[index] for index in indices):
        pair = pairs.get(nodeid)
        after += shards.get(pair.full_id, ()) if pair is not None else ()
        seconds += estimates[pair.whole.full_id].seconds if pair is not None else ORDINARY_SECONDS
        need = _more(need, told.needs.get(nodeid, Need()))
        need = _more(need, needs.get(pair.full_id, Need()) if pair is not None else Need())
    return Unit(
        tuple(indices), Work(indices[0], f"module {file_of(ids[indices[0]])}", seconds, 0.0, need), tuple(after)
    )


def _more(one: Need, other: Need) -> Need:
    """The harder to meet; of two that want a board, the one that fewer would do for."""
    return max(one, other, key=lambda n: (n.gpus, n.memory, -n.per_gpu, bool(n.devices), -len(n.devices)))


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
