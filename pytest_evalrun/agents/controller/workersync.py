"""What a controller and its workers know of each other, kept the same: heartbeats, and what workers hold."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.statuses import WorkerStatus
from pytest_evalrun.agents.wire.addresses import shown_address

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from pytest_evalrun.agents.controller.core import Core
    from pytest_evalrun.agents.controller.roster import SampleSession, TaskWorker
    from pytest_evalrun.agents.controller.store import Store
    from pytest_evalrun.agents.controller.workercalls import WorkerCalls
    from pytest_evalrun.agents.protocol import Index
    from pytest_evalrun.agents.wire.dialects import Registration

_LOG = logging.getLogger(__name__)
# So long the first heartbeat of a worker waits for what it holds; then it is asked again, after these pauses.
_FIRST_SECONDS = 1.0
_FIRST_PAUSES = (0.2, 0.5, 1.0, 2.0)


class Background:
    """Coroutines that nobody waits for, until all of them are ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("in the background", exc_info=error)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class WorkerSync:
    """Asks workers what they hold, and tells them what has ended."""

    def __init__(self, core: Core, store: Store, calls: WorkerCalls, clock: Callable[[], float]) -> None:
        self._core = core
        self._store = store
        self._calls = calls
        self._clock = clock
        self._syncing: dict[TaskWorker, asyncio.Task[bool]] = {}
        self._cancelling: set[int] = set()
        self.background = Background()

    async def heard(self, beat: Registration) -> None:
        """Take a heartbeat. Raises NotGranted, in AgentBench's words."""
        task = self._core.tasks.get(beat.name)
        indices, known = (None, None) if task is None else (task.indices, task.by_address.get(beat.address))
        concurrency = known.concurrency if known is not None else None
        worker = self._core.heartbeat(beat.name, beat.address, beat.concurrency, beat.indices, self._clock())
        if worker.indices is not indices:
            self._store.keep_indices(worker.name, worker.indices)
        if worker.concurrency != concurrency:
            self._store.keep_worker(worker)
        if known is None:
            _LOG.info("%s: worker %d at %s", worker.name, worker.id, shown_address(worker.address))
            await self._first_sync(worker)
        elif worker.status is not WorkerStatus.ALIVE and not await self.sync(worker):
            raise NotGranted(400, "Error: Worker status abnormal")

    async def _first_sync(self, worker: TaskWorker) -> None:
        """Take over what a worker that nobody knew holds. It may tell of itself before it listens: it is asked again,
        and is not thought ill of meanwhile.
        """
        asking = self.background.start(self._sync(worker, strict=False))
        done, _ = await asyncio.wait([asking], timeout=_FIRST_SECONDS)
        if not done or not asking.result():
            self._core.seen(worker, self._clock())
            self.background.start(self._sync_again(worker))

    async def _sync_again(self, worker: TaskWorker) -> None:
        for pause in _FIRST_PAUSES:
            await asyncio.sleep(pause)
            if await self._sync(worker, strict=False):
                return

    def sync(self, worker: TaskWorker) -> asyncio.Task[bool]:
        """Bring what is known of a worker in line with what it holds; False, and it is dead, where it does not say."""
        task = self._syncing.get(worker)
        if task is None:
            task = self._syncing[worker] = self.background.start(self._sync(worker))
            task.add_done_callback(lambda _: self._syncing.pop(worker, None))
        return task

    async def _sync(self, worker: TaskWorker, *, strict: bool = True) -> bool:
        known = list(worker.sessions)
        held = await self._held(worker)
        if held is not None:
            self._adopt(worker, held, known)
            return True
        if strict:
            self._core.lost(worker)
        return False

    def _adopt(self, worker: TaskWorker, held: dict[int, Index], known: Iterable[int]) -> list[int]:
        unwanted = self._core.adopt(worker, held, known, self._clock())
        for number in unwanted:
            self._start_cancel(worker, number)
        return unwanted

    async def _held(self, worker: TaskWorker) -> dict[int, Index] | None:
        """Ask a worker which sessions it has, by id; None where it gives no answer that says so."""
        try:
            return await self._calls.sessions(worker.address)
        except NotGranted as refusal:
            _LOG.warning("%s: worker %d: %s", worker.name, worker.id, refusal)
            return None

    async def sync_all(self, workers: Iterable[TaskWorker] | None = None) -> None:
        """Bring all workers in line, at once."""
        chosen = self.workers() if workers is None else list(workers)
        await asyncio.gather(*map(self.sync, chosen))

    def workers(self) -> list[TaskWorker]:
        return [worker for task in self._core.tasks.values() for worker in task.workers.values()]

    async def look_at(self, worker: TaskWorker) -> None:
        """See why a worker has refused a sample, and cancel what it should not have.

        Sessions that have ended here and not yet there hold slots: as long as they do, it takes that many fewer.
        """
        known, held = list(worker.sessions), await self._held(worker)
        if held is not None:
            unwanted = self._adopt(worker, held, known)
            self._core.believe(worker, self._clock(), worker.concurrency - len(unwanted))

    def cancel_later(self, session: SampleSession) -> None:
        """Tell a worker that a session has ended here; nobody waits for it."""
        self._start_cancel(session.worker, session.id)

    def _start_cancel(self, worker: TaskWorker, number: int) -> None:
        if number not in self._cancelling:
            self._cancelling.add(number)
            self.background.start(self._cancel(worker, number))

    async def _cancel(self, worker: TaskWorker, number: int) -> None:
        try:
            await self._calls.cancel(worker.address, number)
        except NotGranted as refusal:
            _LOG.warning("%s: session %d is not cancelled: %s", worker.name, number, refusal)
        finally:
            self._cancelling.discard(number)
        self._core.believe(worker, self._clock())

    async def cancel_all(self) -> None:
        """End all sessions; their slots are free at once, and the workers that are alive are waited for."""
        now = self._clock()
        self._core.look(now)
        busy = {worker for worker in self.workers() if self._core.end_all(worker, now)}
        told = [one for one in self.workers() if one in busy or one.status is WorkerStatus.ALIVE]
        await asyncio.gather(*map(self._cancel_all, told))

    async def _cancel_all(self, worker: TaskWorker) -> None:
        try:
            await self._calls.cancel_all(worker.address)
        except NotGranted as refusal:
            _LOG.warning("%s: worker %d: cancel_all: %s", worker.name, worker.id, refusal)
        self._core.believe(worker, self._clock())
