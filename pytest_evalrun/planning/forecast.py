"""A run played through on paper: in which order, with how many loads, until when."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.planning.dependencies import Dependencies
from pytest_evalrun.planning.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.planning.work import Work


@dataclass(frozen=True)
class Start:
    """A work as it would start: when, on which worker, and whether its model must be loaded."""

    work: Work
    worker: int
    moment: float
    loads: bool


@dataclass(frozen=True)
class Forecast:
    starts: tuple[Start, ...]
    makespan: float

    @property
    def loads(self) -> int:
        return sum(start.loads for start in self.starts)


def forecast(
    works: Sequence[Work],
    workers: int,
    pool: Pool,
    real: Callable[[Work], float] = lambda work: work.seconds,
    after: Mapping[int, Collection[int]] | None = None,
) -> Forecast:
    """Play the queue with a clock of its own; ``real`` is what a work takes in truth, where that is known.

    ``after`` names by their places what must have ended before a work starts.
    """
    run = _Run(works, workers, pool, Dependencies(after or {}))
    while run.busy or run.later:
        if run.busy:
            run.end()
        else:
            run.add(run.later.rest())
        run.start(real)
    return Forecast(tuple(run.starts), run.now)


class _Run:
    """The state of a run on paper, before its first start."""

    def __init__(self, works: Sequence[Work], workers: int, pool: Pool, later: Dependencies) -> None:
        self.later = later
        self.now = 0.0
        self.starts: list[Start] = []
        self.busy: list[tuple[float, int, int]] = [(0.0, -1, -1)]  # a first moment, in which nothing ends
        self._works = {work.place: work for work in works}
        self._queue = Queue([work for work in works if work.place not in later], workers, pool)
        self._idle = list(range(workers))
        self._models = [""] * workers
        for worker in self._idle:
            self._queue.join(str(worker))

    def add(self, places: Sequence[int]) -> None:
        for place in places:
            self._queue.add(self._works[place])

    def end(self) -> None:
        self.now, worker, place = heapq.heappop(self.busy)
        self.add(self.later.over([place]))
        if worker >= 0:
            self._queue.done(str(worker))
            self._idle.insert(0, worker)  # before others take its GPUs

    def start(self, real: Callable[[Work], float]) -> None:
        for worker in list(self._idle):
            if (turn := self._queue.next(str(worker), self.now)) is not None:
                for name in turn.unload:
                    self._models[int(name)] = ""
                work, loads = turn.work, self._models[worker] != turn.work.model
                self._models[worker] = work.model
                self._idle.remove(worker)
                self.starts.append(Start(work, worker, self.now, loads))
                heapq.heappush(self.busy, (self.now + loads * work.load + real(work), worker, work.place))
