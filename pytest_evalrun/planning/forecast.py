"""A run played through on paper: in which order, with how many loads, until when."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.planning.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    works: Sequence[Work], workers: int, pool: Pool, real: Callable[[Work], float] = lambda work: work.seconds
) -> Forecast:
    """Play the queue with a clock of its own; ``real`` is what a work takes in truth, where that is known."""
    queue = Queue(works, workers, pool)
    starts: list[Start] = []
    idle, busy = list(range(workers)), list[tuple[float, int]]()
    models = [""] * workers
    now = 0.0
    for worker in idle:
        queue.join(str(worker))
    while True:
        for worker in list(idle):
            if (turn := queue.next(str(worker), now)) is not None:
                for name in turn.unload:
                    models[int(name)] = ""
                loads = models[worker] != turn.work.model
                models[worker] = turn.work.model
                starts.append(Start(turn.work, worker, now, loads))
                idle.remove(worker)
                heapq.heappush(busy, (now + loads * turn.work.load + real(turn.work), worker))
        if not busy:
            return Forecast(tuple(starts), now)
        now, worker = heapq.heappop(busy)
        queue.done(str(worker))
        idle.insert(0, worker)  # before others take its GPUs
