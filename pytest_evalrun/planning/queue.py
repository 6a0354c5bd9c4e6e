"""What a worker should do next: keeps GPUs and models busy, the longest work early, and nobody waiting for ever."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pytest_evalrun.planning.lanes import Group, Lane, deal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.planning.work import Work
    from pytest_evalrun.slots.need import Need

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
        self._helped = 0
        self._needs = Counter(group.need for lane in self._free_lanes for group in lane for _ in group.works)

    @property
    def pending(self) -> int:
        return self._needs.total()

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
        self._needs[work.need] += 1

    def done(self, name: str) -> None:
        self.workers[name].work = None

    def next(self, name: str, now: float) -> Turn | None:
        """What an idle worker does now; None where it has to wait, or nothing is left."""
        worker = self.workers[name]
        rooms = {need: self._unloads(worker, need) for need in self._needs}
        if not any(room is not None for room in rooms.values()) and not self._may_reserve(rooms):
            return None  # there may be many groups, but few needs
        for lane, group in self._candidates(worker, now):
            if self._may_start(worker, group, now, rooms[group.need]):
                return self._start(worker, lane, group, rooms[group.need] or (), now)
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
        self._helped += bool(load) and any(lane is other.lane for other in self.workers.values() if other is not worker)
        worker.model, worker.work = group.model, work
        worker.started, worker.ends = now, now + load + work.seconds
        self._needs[work.need] -= 1
        if not self._needs[work.need]:
            del self._needs[work.need]
        return Turn(work, unload)

    # ------------------------------------------------------------------ what comes into question, best first

    def _candidates(self, worker: Worker, now: float) -> Iterator[tuple[Lane, Group]]:
        """What needs several GPUs and is nobody's would otherwise wait for the end of all that is somebody's."""
        if self._reserved is not None:
            yield from ((lane, group) for lane in self._lanes() for group in lane if group is self._reserved.group)
        yield from ((lane, group) for lane in self._free_lanes for group in lane if group.need.gpus > 1)
        yield from self._of_its_model([worker.lane, *self._free_lanes], worker)
        yield from ((worker.lane, group) for group in worker.lane)
        yield from self._of_its_model((lane for lane in self._lanes() if lane is not worker.lane), worker)
        yield from self._of_nobody()
        yield from self._of_others(worker, now)

    @staticmethod
    def _of_its_model(lanes: Iterable[Lane], worker: Worker) -> Iterator[tuple[Lane, Group]]:
        yield from ((lane, group) for lane in lanes for group in lane if group.model == worker.model)

    def _lanes(self) -> Iterable[Lane]:
        return chain([worker.lane for worker in self.workers.values()], list(self._free_lanes))

    def _of_nobody(self) -> Iterator[tuple[Lane, Group]]:
        """Lanes whose worker died, and work that is to be done again."""
        for lane in [lane for lane in self._free_lanes if not lane]:
            self._free_lanes.remove(lane)
        yield from ((lane, group) for lane in list(self._free_lanes) for group in list(lane))

    def _of_others(self, worker: Worker, now: float) -> Iterator[tuple[Lane, Group]]:
        """From whoever ends last, what it would come to last; only where we end before it does.

        To help where the run would not end earlier costs loads, so that is done as often as there are other workers.
        """
        ends = {other.name: self._left(other, now) for other in self.workers.values()}
        last = max(ends.values()) * CRITICAL
        generous = self._helped < len(self.workers) - 1
        victims = [other for other in self.workers.values() if other.lane and other is not worker]
        for victim in sorted(victims, key=lambda other: -ends[other.name]):
            for group in reversed(victim.lane):
                wanted = generous or not group.load or ends[victim.name] >= last
                if wanted and self._helps(worker, group, ends[victim.name]):
                    yield victim.lane, group

    def _left(self, worker: Worker, now: float) -> float:
        lane = sum(group.seconds + group.load * (group.model != worker.model) for group in worker.lane)
        return worker.rest(now) + lane

    @staticmethod
    def _helps(worker: Worker, group: Group, left: float) -> bool:
        """Bring work to the front that ends before the other worker would; False where none does."""
        load = 0.0 if group.model == worker.model else group.load
        return group.bring(lambda work: load + work.seconds < left)

    # ------------------------------------------------------------------ whether there are GPUs for it

    def _may_start(self, worker: Worker, group: Group, now: float, room: tuple[str, ...] | None) -> bool:
        """Where there is ``room``, unless that is kept for others; where there is none it is kept from now on."""
        if not group.need or (self._reserved is not None and self._reserved.group is group):
            return room is not None
        if room is None:
            if self._may_reserve([group.need]):
                self._reserved = _Reservation(group)
            return False
        passes = self._in_the_way(worker, group, now)
        if passes and not self._may_pass(worker, group, now):
            return False
        if passes and self._reserved is not None:
            self._reserved.passed += 1
        return True

    def _may_reserve(self, needs: Iterable[Need]) -> bool:
        return self._reserved is None and any(self.pool.capacity(need) and self._starves(need) for need in needs)

    def _starves(self, need: Need) -> bool:
        """Whether no model that is held would leave enough when it goes: only for such a need GPUs are kept free."""
        holders = [worker.name for worker in self.workers.values() if self.pool.holds(worker.name)]
        return not any(self.pool.place(need, {name}) for name in holders)

    def _unloads(self, worker: Worker, need: Need) -> tuple[str, ...] | None:
        """Whose idle models must go so that a need can be met; None where it cannot be met now."""
        if not need:
            return ()
        idle = [w.name for w in self.workers.values() if w.work is None and w is not worker and self.pool.holds(w.name)]
        for count in range(len(idle) + 1):
            if self.pool.place(need, {worker.name, *idle[:count]}) is not None:
                return tuple(idle[:count])
        return None

    def _in_the_way(self, worker: Worker, group: Group, now: float) -> bool:
        """Whether a start now takes GPUs that are kept for others."""
        if self._reserved is None:
            return False
        wanted = self._reserved.group.need
        gone, _ = self._when(wanted, worker, now)
        return not self.pool.both(wanted, group.need, gone)

    def _may_pass(self, worker: Worker, group: Group, now: float) -> bool:
        """What is expected to give them back in time may, but not for ever: expectations are wrong.

        It comes to the front; shorter than what stood there, it helps whom that would have helped.
        """
        assert self._reserved is not None
        if self._reserved.passed >= len(self.workers):
            return False
        load = 0.0 if group.model == worker.model else group.load
        _, moment = self._when(self._reserved.group.need, worker, now)
        return group.bring(lambda work: now + load + work.seconds <= moment)

    def _when(self, need: Need, worker: Worker, now: float) -> tuple[Collection[str], float]:
        """Whose models will have gone when a need can first be met, and when that is expected."""
        gone = {worker.name, *(w.name for w in self.workers.values() if w.work is None)}
        moment = now
        for other in sorted(self.workers.values(), key=lambda w: w.rest(now)):
            if self.pool.place(need, gone) is not None:
                break
            gone.add(other.name)
            moment = now + other.rest(now)
        return gone, moment
