"""The xdist scheduler: one unit in flight on each worker, in the order that ``planning`` finds.

xdist's own commits a worker to its next item before the last one has ended (pytest-xdist#894), so that two long items
meet on one worker while others idle. Ours sends a unit, of a pair or of tests that are quick, only when it is to start;
``workerloop`` runs it at once.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, zip_longest
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.planning.dependencies import Dependencies
from pytest_evalrun.planning.queue import Queue
from pytest_evalrun.plugin.xdist.crashes import AGAIN, Lost
from pytest_evalrun.plugin.xdist.internals import (
    difference,
    replace_scheduler,
    scheduler_of,
    start_patiently,
    wake,
)
from pytest_evalrun.plugin.xdist.workerloop import UNLOAD, message
from pytest_evalrun.slots.need import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.planning.work import Work


# While a worker waits although there is work left, the queue is asked again so often: expectations may be wrong.
TICK_SECONDS = 0.5


@dataclass(frozen=True)
class Unit:
    """Items that one worker runs in a row, by their places in the collection; ``work.place`` is the unit's own.

    It starts once the items of ``after`` have ended, whatever became of them.
    """

    indices: tuple[int, ...]
    work: Work
    after: tuple[int, ...] = ()


@dataclass
class _Node:
    """A worker's process: what is left of the unit that it runs; the first item is at work, the others wait there."""

    node: Any
    collected: bool = False
    unit: deque[int] | None = None


class Scheduler:
    """What xdist's session asks (xdist/scheduler/protocol.py), for units in the order of a :class:`Queue`.

    ``lost`` says what becomes of an item whose worker died; ``tick`` makes xdist call
    :meth:`remove_pending_tests_from_node` in a moment, the one event of its loop that nobody else uses.
    """

    def __init__(
        self,
        ids: Sequence[str],
        units: Sequence[Unit],
        pool: Pool,
        workers: int,
        *,
        lost: Callable[[str, Any], Lost],
        tick: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ids = list(ids)
        self.numnodes = workers
        self._units = {unit.work.place: _possible(unit, pool) for unit in units}
        self._unit_of = {index: unit for unit in self._units.values() for index in unit.indices}
        self._places = count(1 + max(self._units, default=0))
        self._later = Dependencies({place: self._awaited(unit) for place, unit in self._units.items()})
        first = [unit.work for place, unit in self._units.items() if place not in self._later]
        self._queue = Queue(first, workers, pool)
        self._lost = lost
        self._tick = tick
        self._clock = clock
        self._nodes: dict[str, _Node] = {}
        self._first: dict[str, list[str]] = {}
        self._started = False
        self._replaced = 0
        self._waking = False

    @property
    def nodes(self) -> list[Any]:
        return [entry.node for entry in self._nodes.values()]

    @property
    def collection_is_completed(self) -> bool:
        return self._started or len(self._first) >= self.numnodes

    @property
    def has_pending(self) -> bool:
        return bool(self._queue.pending or self._later) or self._running

    @property
    def _running(self) -> bool:
        return any(entry.unit is not None for entry in self._nodes.values())

    @property
    def tests_finished(self) -> bool:
        return self._started and (not self.has_pending or not (self._nodes or self._replaced))

    def add_node(self, node: Any) -> None:
        self._nodes[node.gateway.id] = _Node(node)
        self._replaced = max(0, self._replaced - 1)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        if not self._started:
            self._first[node.gateway.id] = list(collection)
        elif list(collection) != self.ids:
            node.shutdown()  # a replacement that sees other items can run none of ours
            return
        self._nodes[node.gateway.id].collected = True
        self._queue.join(node.gateway.id)

    def schedule(self) -> None:
        """Called when all first workers have collected, and again for every replacement."""
        if not self._started and (difference := self._difference()):
            raise pytest.UsageError(difference)
        self._started = True
        self._dispatch()

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:  # noqa: ARG002 - xdist's
        entry = self._nodes[node.gateway.id]
        assert entry.unit is not None
        assert entry.unit[0] == item_index
        entry.unit.popleft()
        self._over(item_index)
        if entry.unit:
            return  # sent with the first; what a worker that is to end has not begun is over when it has ended
        entry.unit = None
        self._queue.done(node.gateway.id)
        self._dispatch(node.gateway.id)

    def mark_test_pending(self, item: str) -> None:
        """A plugin that wants an item to be run again says so by this."""
        self._give_back(deque([self.ids.index(item)]))
        self._dispatch()

    def remove_node(self, node: Any) -> str | None:
        """The worker has ended; the id of the item that it took along, unless that is run again."""
        self._replaced += not hasattr(node, "workeroutput")
        entry = self._nodes.pop(node.gateway.id)
        if entry.collected:
            self._queue.leave(node.gateway.id)
        if not entry.unit or hasattr(node, "workeroutput"):
            self._over(*entry.unit or ())
            return None  # it ended in good order, by pytest.exit() for one: its item did not run, and did not crash
        index, *rest = entry.unit
        lost = self._lost(self.ids[index], node)
        self._give_back(deque([index, *rest] if lost in AGAIN else rest))
        self._over(*() if lost in AGAIN else [index])
        self._dispatch()
        return self.ids[index] if lost is Lost.ERROR else None

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:  # noqa: ARG002 - xdist's
        """xdist calls this for an answer to ``steal``, which is never sent: it is our own tick."""
        self._waking = False
        self._dispatch()

    def _give_back(self, indices: deque[int]) -> None:
        """What is left of a unit becomes one of its own; how long it takes, nobody knows any better."""
        if indices:
            work = replace(self._unit_of[indices[0]].work, place=next(self._places))
            self._units[work.place] = Unit(tuple(indices), work)
            self._queue.add(work)

    def _awaited(self, unit: Unit) -> list[int]:
        """What is not there, or the unit's own, cannot be waited for."""
        return [index for index in unit.after if index in self._unit_of and index not in unit.indices]

    def _over(self, *indices: int) -> None:
        """Items that will not be run any more; what waited for the last of them may start."""
        for place in self._later.over(indices):
            self._queue.add(self._units[place].work)

    def _dispatch(self, first: str | None = None) -> None:
        """``first`` has just ended something: it is asked before others take its GPUs."""
        if self._later and not self._queue.pending and not self._running:
            for place in self._later.rest():  # they wait for each other
                self._queue.add(self._units[place].work)
        waits = False
        for name, entry in self._idle_first(first) if self._started else ():
            if entry.unit is not None or not entry.collected or entry.node.shutting_down:
                continue
            turn = self._queue.next(name, self._clock())
            if turn is not None:
                for other in turn.unload:
                    _tell(self._nodes[other].node, UNLOAD)
                self._send(entry, self._units[turn.work.place].indices)
            elif self._queue.pending:
                waits = True
            elif not self._later:
                entry.node.shutdown()  # its model goes now, while others still work
        if waits and not self._waking:
            self._waking = True
            self._tick()

    def _idle_first(self, first: str | None) -> list[tuple[str, _Node]]:
        return sorted(self._nodes.items(), key=lambda node: node[0] != first)

    def _send(self, entry: _Node, indices: tuple[int, ...]) -> None:
        """All of a unit, for nobody else will run it; each item with the one that follows."""
        entry.unit = deque(indices)
        _tell(entry.node, *(message(*two, len(self.ids)) for two in zip_longest(indices, indices[1:])))

    def _difference(self) -> str | None:
        found = (difference(self.ids, collection, name) for name, collection in self._first.items())
        return next(filter(None, found), None)


def _possible(unit: Unit, pool: Pool) -> Unit:
    """Plan nothing that these GPUs could never hold: its worker says what is missing, and nobody waits for it."""
    if not unit.work.need or pool.capacity(unit.work.need):
        return unit
    return replace(unit, work=replace(unit.work, need=Need()))


def _tell(node: Any, *numbers: int) -> None:
    """A worker that has just died takes nothing; that it died is the next that we hear of it."""
    with suppress(OSError):
        node.send_runtest_some(list(numbers))


def install_scheduler(config: pytest.Config, make: Callable[[int, Callable[[], None]], Scheduler]) -> None:
    """Put our scheduler in the place of xdist's, once: when the first worker has told which items there are.

    Where there is no suite xdist's own must stay.
    """
    before = scheduler_of(config)
    if isinstance(before, Scheduler):
        return
    replace_scheduler(config, make(before.numnodes, partial(wake, config, TICK_SECONDS)))
    start_patiently(config)
