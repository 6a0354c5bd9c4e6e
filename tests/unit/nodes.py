"""Workers on paper, and what of xdist's session drives a scheduler: one event after the other, by its own clock."""

from __future__ import annotations

import heapq
from itertools import count
from types import SimpleNamespace

from pytest_evalrun.planning.pool import Pool
from pytest_evalrun.planning.work import Work
from pytest_evalrun.plugin.xdist.crashes import Lost
from pytest_evalrun.plugin.xdist.scheduler import TICK_SECONDS, Scheduler, Unit
from pytest_evalrun.plugin.xdist.workerloop import UNLOAD, parse
from pytest_evalrun.slots.need import Need


class FakeNode:
    """What a scheduler sees of a worker; keeps what it was sent."""

    def __init__(self, name, ids):
        self.gateway = SimpleNamespace(id=name)
        self.ids = ids
        self.sent = []
        self.model = ""
        self.shutting_down = False
        self.dead = False
        self.busy = False

    def send_runtest_some(self, numbers):
        if self.dead:
            raise OSError("cannot send (already closed?)")
        assert not self.shutting_down
        for number in numbers:
            self.sent.append(number if number < 0 else parse(number, len(self.ids)))

    def shutdown(self):
        self.shutting_down = True


class Stage:
    """Plays a whole run: ``dies`` says how often an item's worker dies of it; an item may die ``retries`` times.

    ``started`` lists (moment, worker, index, successor); ``over`` and ``lost`` what became of each item.
    """

    def __init__(self, units, workers=2, *, memories=(), dies=None, retries=1, seconds=None):
        self.ids = [f"item{index}" for index in sorted(index for unit in units for index in unit.indices)]
        self.units = {index: unit for unit in units for index in unit.indices}
        self.needs = {unit.work.model: unit.work.need for unit in units}
        self.now = 0.0
        self.pool = Pool(memories)
        self.scheduler = Scheduler(
            self.ids, units, self.pool, workers, lost=self._lost, tick=self._tick, clock=lambda: self.now
        )
        self.retries = retries
        self.dies = dict(dies or {})
        self.seconds = seconds or {}
        self.deaths = {}
        self.started, self.over, self.lost = [], [], []
        self._events, self._order, self._names = [], count(), count()
        self.nodes = {}
        for _ in range(workers):
            self.join()

    def join(self, ids=None):
        node = FakeNode(f"gw{next(self._names)}", self.ids if ids is None else ids)
        self.nodes[node.gateway.id] = node
        self.scheduler.add_node(node)
        self.scheduler.add_node_collection(node, node.ids)
        if self.scheduler.collection_is_completed:
            self.scheduler.schedule()
            self._look()
        return node

    def _lost(self, nodeid, node):
        del node
        self.deaths[nodeid] = self.deaths.get(nodeid, 0) + 1
        return Lost.AGAIN if self.deaths[nodeid] <= self.retries else Lost.ERROR

    def _tick(self):
        self._later(TICK_SECONDS, "wake", None, None)

    def _later(self, seconds, what, node, index):
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what, node, index))

    def _look(self):
        """Every worker takes up what it was sent, one after the other."""
        for node in list(self.nodes.values()):
            while node.sent and not node.busy:
                self._take(node, node.sent.pop(0))

    def _take(self, node, sent):
        if sent == UNLOAD:
            node.model = ""
            return
        node.busy = True
        index, successor = sent
        work = self.units[index].work
        load = 0.0 if node.model == work.model else work.load
        node.model = work.model
        self.started.append((self.now, node.gateway.id, index, successor))
        dies = self.dies.get(index, 0) > 0
        self.dies[index] = self.dies.get(index, 0) - 1
        share = self.seconds.get(index, work.seconds / len(self.units[index].indices))
        self._later((load + share) * (0.5 if dies else 1), "dies" if dies else "ends", node, index)

    def step(self):
        """The next event; False where none is left."""
        if not self._events:
            return False
        self.now, _, what, node, index = heapq.heappop(self._events)
        if what == "wake":
            self.scheduler.remove_pending_tests_from_node(None, [])
        elif node.dead:
            pass
        elif what == "ends":
            node.busy = False
            self.over.append(index)
            self.scheduler.mark_test_complete(node, index)
        else:
            self.kill(node)
        self._look()
        return True

    def kill(self, node):
        """The worker dies, and xdist starts another in its place."""
        node.dead = True
        del self.nodes[node.gateway.id]
        crashed = self.scheduler.remove_node(node)
        if crashed is not None:
            self.lost.append(self.ids.index(crashed))
        if not self.scheduler.tests_finished:
            self.join()
        self._look()

    def play(self, most=100_000):
        """To the end; what never ends fails."""
        for _ in range(most):
            if self.scheduler.tests_finished or not self.step():
                break
        assert self.scheduler.tests_finished, f"{self.scheduler._queue.pending} still to do"
        return self

    def moment(self, index):
        """When an item was last started."""
        return max(when for when, _, which, _ in self.started if which == index)


def unit(*indices, model="m", seconds=1.0, load=0.0, need=None, after=()):
    return Unit(indices, Work(indices[0], model, seconds, load, need or Need()), after)
