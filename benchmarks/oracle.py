"""The best schedule that a search finds which knows all durations: what no scheduler can be asked to beat by much."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.workload import SEED, model_of, works_of
from pytest_evalrun.planning.lanes import deal
from pytest_evalrun.planning.pool import Pool

if TYPE_CHECKING:
    from benchmarks.workload import Workload

RESTARTS = 5
STEPS = 60_000
# Late workers weigh most, but it counts too whether the others have room.
NORM = 8
# Of the bound: how much worse a step may be at first.
HEAT = 0.001


def oracle(work: Workload, workers: int) -> tuple[float, int]:
    """When its last worker ends, and how many loads it has: annealed from random starts, and from our own plan."""
    rng = random.Random(SEED)  # noqa: S311 - the same answer each time is the point
    starts = [_Schedule(work, workers, _at_home(work, workers, rng)) for _ in range(RESTARTS)]
    starts.append(_Schedule(work, workers, _as_dealt(work, workers)))
    return min(_anneal(start, HEAT * work.bound(workers), rng) for start in starts)


def _at_home(work: Workload, workers: int, rng: random.Random) -> dict[str, int]:
    """Each model with all its pairs on one worker."""
    homes = {model: rng.randrange(workers) for model in work.loads}
    return {pair: homes[model_of(pair)] for pair in work.seconds}


def _as_dealt(work: Workload, workers: int) -> dict[str, int]:
    pairs = list(work.seconds)
    lanes = deal(works_of(work), workers, Pool())
    return {pairs[one.place]: lane for lane, groups in enumerate(lanes) for group in groups for one in group.works}


class _Schedule:
    """Who does what. A worker does its pairs model by model, so their order does not matter."""

    def __init__(self, work: Workload, workers: int, start: dict[str, int]) -> None:
        self.work = work
        self.worker_of = dict(start)
        self.times = [0.0] * workers
        self.models: list[Counter[str]] = [Counter() for _ in range(workers)]
        for pair, worker in start.items():
            self._add(pair, worker)

    @property
    def workers(self) -> range:
        return range(len(self.times))

    def pairs(self, worker: int, model: str | None = None) -> list[str]:
        return [pair for pair, on in self.worker_of.items() if on == worker and model in (None, model_of(pair))]

    def move(self, pair: str, worker: int) -> int:
        """Where it was before."""
        before = self.worker_of[pair]
        model = model_of(pair)
        self.models[before][model] -= 1
        self.times[before] -= self.work.seconds[pair] + self.work.loads[model] * (not self.models[before][model])
        self._add(pair, worker)
        return before

    def _add(self, pair: str, worker: int) -> None:
        model = model_of(pair)
        self.times[worker] += self.work.seconds[pair] + self.work.loads[model] * (not self.models[worker][model])
        self.models[worker][model] += 1
        self.worker_of[pair] = worker

    @property
    def energy(self) -> float:
        longest = max(self.times)
        return float(longest * sum((time / longest) ** NORM for time in self.times) ** (1 / NORM))

    @property
    def loads(self) -> int:
        return sum(count > 0 for models in self.models for count in models.values())


def _anneal(schedule: _Schedule, heat: float, rng: random.Random) -> tuple[float, int]:
    energy = schedule.energy
    best = (max(schedule.times), schedule.loads)
    for step in range(STEPS):
        moved = _change(schedule, rng)
        tried = schedule.energy
        now = heat * (1 - step / STEPS) ** 2 + 1e-9
        if tried <= energy or rng.random() < math.exp((energy - tried) / now):
            energy = tried
            best = min(best, (max(schedule.times), schedule.loads))
        else:
            for pair, worker in reversed(moved):
                schedule.move(pair, worker)
    return best


def _change(schedule: _Schedule, rng: random.Random) -> list[tuple[str, int]]:
    """A pair goes elsewhere, changes places with another, or goes with all of its model; where each was."""
    latest = max(schedule.workers, key=schedule.times.__getitem__)
    pair = rng.choice(schedule.pairs(latest) if rng.random() < 0.5 else list(schedule.worker_of))
    here, model = schedule.worker_of[pair], model_of(pair)
    loaded = [worker for worker in schedule.workers if schedule.models[worker][model] and worker != here]
    there = rng.choice(loaded if loaded and rng.random() < 0.5 else schedule.workers)
    kind = rng.random()
    moves = [(one, there) for one in (schedule.pairs(here, model) if kind < 0.15 else [pair])]
    others = schedule.pairs(there) if 0.15 <= kind < 0.6 and there != here else []
    if others:
        moves.append((rng.choice(others), here))
    return [(one, schedule.move(one, worker)) for one, worker in moves]
