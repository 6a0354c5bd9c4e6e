"""Agents and task servers brought together: each sample is a session, with as many under way as both sides take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_evalrun.adapters.eventloop import Coroutines
from pytest_evalrun.agents.protocol import ServerFault, TaskSlots
from pytest_evalrun.agents.statuses import Fault
from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.budget import Budget
from pytest_evalrun.llm.limiter import Concurrency
from pytest_evalrun.predicting.episode import Episode
from pytest_evalrun.predicting.session import Again, Answers
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.episode import AgentWork

# How often it is looked how many samples the workers of a task take.
LOOK_SECONDS = 1.0
# A server that has just been started, or is started again, has a moment to answer.
FIRST_LOOKS, FIRST_LOOK_SECONDS = 10, 0.5
# A task without a worker is waited for so long: workers are started again.
NO_WORKER_SECONDS = 60.0
# So long a worker is waited for that says what its task says of all results.
CALCULATE_SECONDS = 15.0
NO_WORKERS = "No workers available"
# What is under way when a pair is given up is told to end, and waited for so long.
CLOSE_SECONDS = 3.0
POLL_SECONDS = 0.005


class AgentSession:
    """Sessions of one pair's samples; each is kept as it ends."""

    batch_size = 1

    def __init__(self, work: AgentWork) -> None:
        """Raises PairError where nobody is there, or where the task is not."""
        self._work = work
        self._coroutines: Coroutines[Any] = Coroutines()
        self._open: dict[Future[Answers | Again], Episode] = {}
        self._had_worker = time.monotonic()
        # Of samples that are begun anew: how often they were.
        self._tries: dict[tuple[int, int], int] = {}
        try:
            self._slots: TaskSlots = self._coroutines.start(self._first_look()).result()
        except BaseException:
            self.close(at_once=True)
            self.leave()
            raise
        self._coroutines.start(self._look())
        self._coroutines.start(self._look_after())

    @property
    def url(self) -> str:
        return self._work.url

    async def _first_look(self) -> TaskSlots:
        import asyncio

        for look in range(FIRST_LOOKS):
            try:
                return await self._work.server.slots(self._work.task)
            except ServerFault as fault:
                if fault.fault is not Fault.NETWORK_ERROR or look == FIRST_LOOKS - 1:
                    raise PairError(str(fault)) from None
            await asyncio.sleep(FIRST_LOOK_SECONDS)
        raise AssertionError("unreachable: the last look returns or raises")

    async def _look(self) -> None:
        """See what the workers take, and show what is under way, until it is told to end."""
        import asyncio

        while True:
            rows = [one.row() for one in list(self._open.values())]
            self._work.files.sessions(self._work.url, [row for row in rows if row["id"] is not None])
            await asyncio.sleep(LOOK_SECONDS if self._slots.capacity else LOOK_SECONDS / 4)
            try:
                self._slots = await self._work.server.slots(self._work.task)
            except ServerFault as fault:
                self._slots = TaskSlots(0, 0)
                if fault.fault is Fault.NETWORK_ERROR:
                    await self._revived()

    async def _look_after(self) -> None:
        """Start a server of ours again where it has gone, long before those who wait for its answer give it up."""
        import asyncio

        while await self._revived():
            await asyncio.sleep(LOOK_SECONDS)

    async def _revived(self) -> bool:
        """Where that cannot be, those who wait for the server tell it in time."""
        import asyncio

        try:
            await asyncio.to_thread(self._work.revive)
        except PairError as error:
            self._work.say(str(error))
            return False
        return True

    @property
    def in_flight(self) -> int:
        """What both sides take: the agent, and the workers of the task. Raises PairError where these have gone."""
        busy, now, slots = len(self._open), time.monotonic(), self._slots
        if slots.capacity or busy:
            self._had_worker = now
        elif now - self._had_worker > NO_WORKER_SECONDS:
            raise PairError(
                f"the task {self._work.task} has had no worker for {NO_WORKER_SECONDS:g} s; "
                "accepted: a task server with one (`evalrun sessions` shows those there are)"
            )
        # As many as there are slots wait for one, where that can be: it is taken before we hear that it is free.
        room = slots.capacity * (2 if self._work.server.waits else 1)
        for places in self._work.places:
            room = min(room, places.room(busy))
        return room

    def submit(self, batch: Sequence[Sample]) -> Future[Answers | Again]:
        """Begin a sample's session."""
        (sample,) = batch
        who = sample.index, sample.generation
        one = Episode(self._work, sample, self._tries.pop(who, 0))
        future = self._coroutines.start(one.run())
        self._open[future] = one

        def ended(future: Future[Answers | Again]) -> None:
            self._open.pop(future, None)
            if not future.cancelled() and future.exception() is None and isinstance(future.result(), Again):
                self._tries[who] = one.tries

        future.add_done_callback(ended)
        return future

    def calculate(self, outputs: list[dict[str, Any]]) -> Any:
        """What the task itself says of its results; from any thread. Raises ServerFault.

        A worker that died with the last sample is waited for: it is being started again.
        """
        until = time.monotonic() + CALCULATE_SECONDS
        while True:
            try:
                return self._coroutines.start(self._work.server.calculate_overall(self._work.task, outputs)).result()
            except ServerFault as fault:
                if NO_WORKERS not in str(fault) or time.monotonic() >= until:
                    raise
            time.sleep(LOOK_SECONDS / 4)

    def close(self, *, at_once: bool = False) -> None:  # noqa: ARG002 - a sample that has not ended has no answer
        """What has not ended is told to: its slots are free for others then."""
        self._coroutines.cancel()
        wait_until(lambda: not len(self._coroutines), CLOSE_SECONDS, POLL_SECONDS)
        for places in self._work.places:
            places.close()

    def leave(self) -> None:
        """Nothing is asked of the task server any more."""
        try:
            self._coroutines.start(self._work.server.close()).result()
        finally:
            self._coroutines.close()


def limit_of(name: str, limit: int | str, event: Callable[..., object]) -> Budget:
    """A limit by name that holds for all processes of this user on this host."""
    return Budget(name, None, Concurrency.parse(limit), event=event)
