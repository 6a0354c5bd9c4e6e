"""What a worker should do next: keeps GPUs and models busy, the longest work early, and nobody waiting for ever."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pytest_evalrun.planning.lanes import Group, Lane, deal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.planning.work import Work

# Whoever ends within so much of the last one counts as last.
CRITICAL = 0.9


@dataclass
class Worker:
    """What the queue knows of a worker: the model that it holds, and what it is doing until when, as expected."""

    name: str
    lane: Lane
    model: str = ""
    work: Work | None = None
    started: float = 0.0
    ends: float = 0.0

    def rest(self, now: float) -> float:
        """Seconds until it is free; one that is overdue is believed to take as long again as it is late."""
        return 0.0 if self.work is None else abs(self.ends - now)


@dataclass(frozen=True)
class Turn:
    """What a worker is to do now; the models of idle workers in ``unload`` go first, because they are on its GPUs."""

    work: Work
    unload: tuple[str, ...] = ()


@dataclass
class _Reservation:
    """A group that waits for more GPUs than are free: they are kept for it as they become free."""

    group: Group
    passed: int = 0


class Queue:
    """Works for workers that come and go. Times are seconds of any one clock.

    A worker stays with its lane and in it with its model; when that is used up it helps where no load is to be paid,
    then where most is left. It waits only where it would end later than whoever holds the model already.
    """

    def __init__(self, works: Iterable[Work], workers: int, pool: Pool) -> None:
        self.pool = pool
        self.workers: dict[str, Worker] = {}
        self._free_lanes: deque[Lane] = deque(deal(works, max(1, workers), pool))
        self._reserved: _Reservation | None = None
        self.pending = sum(len(group.works) for lane in self._free_lanes for group in lane)

    def join(self, name: str) -> None:
        """A worker that is ready; it takes over what a dead one was to do."""
        self.workers[name] = Worker(name, self._free_lanes.popleft() if self._free_lanes else deque())

    def leave(self, name: str) -> Work | None:
        """A worker is gone: what it was doing. Its GPUs are free, for its model died with it."""
        worker = self.workers.pop(name)
        self.pool.free(name)
        if worker.lane:
            self._free_lanes.append(worker.lane)
        return worker.work

    def add(self, work: Work) -> None:
        """Work that comes later, or again: the first worker that is free takes it."""
        group = Group(work.model, work.need, work.load)
        group.add(work)
        self._free_lanes.appendleft(deque([group]))
        self.pending += 1

    def done(self, name: str) -> None:
        self.workers[name].work = None

    def next(self, name: str, now: float) -> Turn | None:
        """What an idle worker does now; None where it has to wait, or nothing is left."""
        worker = self.workers[name]
        for lane, group in self._candidates(worker, now):
            unload = self._room(worker, group, now)
            if unload is not None:
                return self._start(worker, lane, group, unload, now)
        return None

    def _start(self, worker: Worker, lane: Lane, group: Group, unload: tuple[str, ...], now: float) -> Turn:
        work = group.pop()
        if not group.works or (lane is worker.lane and lane[0] is not group):
            lane.remove(group)
            lane.extendleft([group] if group.works else [])  # in front, where its worker looks first
        if self._reserved and self._reserved.group is group:
            self._reserved = None
        self.pool.take(worker.name, group.need, unload)
        for name in unload:
            self.workers[name].model = ""
        load = 0.0 if worker.model == group.model else group.load
        worker.model, worker.work = group.model, work
        worker.started, worker.ends = now, now + load + work.seconds
        self.pending -= 1
        return Turn(work, unload)

    # ------------------------------------------------------------------ what comes into question, best first

    def _candidates(self, worker: Worker, now: float) -> Iterator[tuple[Lane, Group]]:
        if self._reserved is not None:
            yield from ((lane, group) for lane in self._lanes() for group in lane if group is self._reserved.group)
        yield from ((worker.lane, group) for group in worker.lane)
        others = [lane for lane in self._lanes() if lane is not worker.lane]
        yield from ((lane, group) for lane in others for group in lane if group.model == worker.model)
        yield from self._of_nobody()
        yield from self._of_others(worker, now)

    def _lanes(self) -> Iterable[Lane]:
        return chain([worker.lane for worker in self.workers.values()], list(self._free_lanes))

    def _of_nobody(self) -> Iterator[tuple[Lane, Group]]:
        """Lanes whose worker died, and work that is to be done again."""
        for lane in [lane for lane in self._free_lanes if not lane]:
            self._free_lanes.remove(lane)
        yield from ((lane, group) for lane in list(self._free_lanes) for group in list(lane))

    def _of_others(self, worker: Worker, now: float) -> Iterator[tuple[Lane, Group]]:
        """From whoever ends last, what it would come to last; only where we end before it does.

        To help anybody else would cost loads, and the run would not end earlier.
        """
        ends = {other.name: self._left(other, now) for other in self.workers.values()}
        last = max(ends.values())
        for victim in [other for other in self.workers.values() if other.lane and other is not worker]:
            for group in reversed(victim.lane) if ends[victim.name] >= last * CRITICAL else ():
                if self._helps(worker, group, ends[victim.name]):
                    yield victim.lane, group

    def _left(self, worker: Worker, now: float) -> float:
        lane = sum(group.seconds + group.load * (group.model != worker.model) for group in worker.lane)
        return worker.rest(now) + lane

    @staticmethod
    def _helps(worker: Worker, group: Group, left: float) -> bool:
        """Bring the longest work to the front that ends before the other worker would; False where none does."""
        load = 0.0 if group.model == worker.model else group.load
        for _ in range(len(group.works)):
            if load + group.works[0].seconds < left:
                return True
            group.works.rotate(-1)
        return False

    # ------------------------------------------------------------------ whether there are GPUs for it

    def _room(self, worker: Worker, group: Group, now: float) -> tuple[str, ...] | None:
        """Whose idle models must go so that the group can start; None where it cannot start now."""
        if not group.need:
            return ()
        mine = self._reserved is not None and self._reserved.group is group
        if not mine and not self._leaves_reserved(worker, group, now):
            return None
        unload = self._unloads(worker, group)
        if unload is None and self._reserved is None and self.pool.capacity(group.need):
            self._reserved = _Reservation(group)
        return unload

    def _unloads(self, worker: Worker, group: Group) -> tuple[str, ...] | None:
        idle = [w.name for w in self.workers.values() if w.work is None and w is not worker and self.pool.holds(w.name)]
        for count in range(len(idle) + 1):
            if self.pool.place(group.need, {worker.name, *idle[:count]}) is not None:
                return tuple(idle[:count])
        return None

    def _leaves_reserved(self, worker: Worker, group: Group, now: float) -> bool:
        """Whether a start now keeps nobody's GPUs from what they are reserved for."""
        if self._reserved is None:
            return True
        wanted = self._reserved.group.need
        gone, moment = self._when(wanted, worker, now)
        if self.pool.both(wanted, group.need, gone):
            return True
        load = 0.0 if group.model == worker.model else group.load
        if now + load + group.works[0].seconds > moment or self._reserved.passed >= len(self.workers):
            return False
        self._reserved.passed += 1
        return True

    def _when(self, need: object, worker: Worker, now: float) -> tuple[Collection[str], float]:
        """Whose models will have gone when a need can first be met, and when that is expected."""
        gone = {worker.name, *(w.name for w in self.workers.values() if w.work is None)}
        moment = now
        for other in sorted(self.workers.values(), key=lambda w: w.rest(now)):
            if self.pool.place(need, gone) is not None:  # type: ignore[arg-type]
                break
            gone.add(other.name)
            moment = now + other.rest(now)
        return gone, moment
