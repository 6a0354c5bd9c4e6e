"""Tasks, their workers and what runs at them, as a controller counts them: pure, and kept in order by its core."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.agents.statuses import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.agents.protocol import Index

# Workers beat every 8 s: one that was not heard of for so long is in a coma.
SILENCE_SECONDS = 11.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class SampleSession:
    """A sample that runs at a worker. ``busy`` while the worker works; else its agent is waited for, under a lease.

    ``is_kept`` once a restart knows it: from the first time on that its agent is waited for.
    """

    id: int
    name: str
    index: Index
    worker: TaskWorker
    start: float
    last_update: float
    busy: bool = True
    is_kept: bool = False


@dataclass(slots=True, eq=False, weakref_slot=True)
class TaskWorker:
    """A worker of a task, where it is, and how many samples it takes at once.

    ``concurrency`` is what it says, ``limit`` what it was seen to take.
    """

    id: int
    name: str
    address: str
    concurrency: int
    last_visit: float
    indices: Sequence[Index]
    status: WorkerStatus = WorkerStatus.ALIVE
    sessions: dict[int, SampleSession] = field(default_factory=dict)
    # Counts its changes: for what others keep of it.
    version: int = 0
    limit: int = field(init=False)

    def __post_init__(self) -> None:
        self.limit = self.concurrency

    @property
    def current(self) -> int:
        return len(self.sessions)

    @property
    def capacity(self) -> int:
        """What it says, or what it has where that is more: it may have been told to take fewer meanwhile."""
        return max(self.limit, len(self.sessions))

    @property
    def free(self) -> int:
        return max(0, self.limit - len(self.sessions))


class Waiting(Protocol):
    """Somebody who waits for a slot, as a future of asyncio is one; known by what he is."""

    def done(self) -> bool:
        """Whether he waits no more."""

    def set_result(self, result: SampleSession, /) -> None:
        """Hand him his session."""


class ServedTask:
    """A task by name: its indices, its workers, and those who wait for a slot, first come first served."""

    def __init__(self, indices: Sequence[Index]) -> None:
        self.workers: dict[int, TaskWorker] = {}
        self.by_address: dict[str, TaskWorker] = {}
        self.waiting: dict[Waiting, Index] = {}
        self.living = 0
        self._next_worker = 0
        # Who has free slots, most of them first; an entry counts where its worker still has as many.
        self._free: list[tuple[int, int]] = []
        self.take_indices(indices)

    def take_indices(self, indices: Sequence[Index]) -> None:
        self.indices = indices
        self._known = frozenset(indices)

    def has(self, index: Index) -> bool:
        return index in self._known

    def add(self, worker: TaskWorker) -> None:
        self.workers[worker.id] = self.by_address[worker.address] = worker
        self._next_worker = max(self._next_worker, worker.id + 1)

    def remove(self, worker: TaskWorker) -> None:
        del self.workers[worker.id], self.by_address[worker.address]

    def next_worker(self) -> int:
        return self._next_worker

    def offer(self, worker: TaskWorker) -> None:
        """Note how many slots of a worker are free, now that this has changed."""
        worker.version += 1
        if len(self._free) > 64 + 4 * len(self.workers):
            self._free = [(-other.free, other.id) for other in self.workers.values() if other.free]
            heapq.heapify(self._free)
        elif worker.free:
            heapq.heappush(self._free, (-worker.free, worker.id))

    def freest(self, now: float) -> TaskWorker | None:
        """Find the living worker with most free slots; whoever is silent meanwhile is in a coma."""
        while self._free:
            free, number = self._free[0]
            worker = self.workers.get(number)
            if worker is not None and worker.free == -free and self.is_usable(worker, now):
                return worker
            heapq.heappop(self._free)
        return None

    def is_usable(self, worker: TaskWorker, now: float) -> bool:
        """Whether it is alive, and has the indices that the task has by now."""
        if worker.status is WorkerStatus.ALIVE and now - worker.last_visit > SILENCE_SECONDS:
            worker.status = WorkerStatus.COMA
            worker.version += 1
        return worker.status is WorkerStatus.ALIVE and worker.indices is self.indices


def dump_worker(worker: TaskWorker) -> dict[str, Any]:
    """Say of a worker what AgentBench's controller says."""
    return {
        "id": worker.id, "address": worker.address, "capacity": worker.capacity, "current": worker.current,
        "last_visit": worker.last_visit, "status": int(worker.status), "locked": False,
    }  # fmt: skip


def dump_session(session: SampleSession) -> dict[str, Any]:
    """Say of a session what AgentBench's controller says; it is locked while its worker works."""
    return {
        "name": session.name, "index": session.index, "start": session.start, "last_update": session.last_update,
        "worker_id": session.worker.id, "locked": session.busy,
    }  # fmt: skip
