"""Samples at a controller, from their beginning to their end: a slot, a worker, turn by turn, and the slot again."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.controller.workercalls import WorkerSilent
from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.protocol import Standing
from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.dialects import WAITED_HEADER, Dialect, answer, grown, raised

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pytest_evalrun.agents.controller.core import Core
    from pytest_evalrun.agents.controller.records import SessionRecords
    from pytest_evalrun.agents.controller.roster import SampleSession, TaskWorker
    from pytest_evalrun.agents.controller.workercalls import WorkerCalls
    from pytest_evalrun.agents.controller.workersync import WorkerSync
    from pytest_evalrun.agents.protocol import Message
    from pytest_evalrun.agents.wire.dialects import Interaction, StartSample

    # What workers said that did not begin the sample of a request.
    Refusals = dict[TaskWorker, NotGranted]
    # What is answered to a client: headers, and a body of JSON.
    Answered = tuple[dict[str, str], dict[str, Any]]

_LOG = logging.getLogger(__name__)
# So many answers are kept that nobody was there to take.
_MOST_UNCLAIMED = 200
# What a worker says of a session that it works on, and of one that it has already.
_WORKING, _TAKEN = "Task Executing", "Session ID already exists"
# With these a worker refuses what it did not read.
_UNREAD = (413, 415, 422)


class WorkerLate(NotGranted):
    """A worker did not answer in time: the session has ended, and the worker is not thought ill of."""


class SampleCalls:
    """Begins samples, hands in what agents answer, and ends them.

    Whoever asks says by ``is_here`` whether he still waits for the answer. An answer that nobody took is his who asks
    next for that session: he cannot have seen it, so what he hands in is what he handed in before.
    """

    def __init__(
        self,
        core: Core,
        records: SessionRecords,
        calls: WorkerCalls,
        sync: WorkerSync,
        clock: Callable[[], float],
    ) -> None:
        self._core = core
        self._records = records
        self._calls = calls
        self._sync = sync
        self._clock = clock
        self._unclaimed: OrderedDict[int, tuple[bool, Answered]] = OrderedDict()

    async def start(self, asked: StartSample, is_here: Callable[[], bool]) -> Answered:
        """Begin a sample at a worker that takes it. Raises NotGranted: 406 where none has a free slot in time."""
        begun = self._clock()
        until = begun + asked.wait
        refused: Refusals = {}
        while True:
            session = await self._slot(asked, until, is_here, refused)
            waited = self._clock() - begun
            starting = self._calls.start_sample(session.worker.address, session.id, asked.index, asked.custom_task)
            try:
                standing = await self._call(session, starting)
            except NotGranted as refusal:
                if not await self._tries_another(session, refusal, refused):
                    raise
                continue
            answered = self._take(session, standing, [])
            if not is_here() and standing.status is SampleStatus.RUNNING:
                self._end(session)
            headers, body = answered
            return {**headers, WAITED_HEADER: f"{waited:.6f}"}, body

    async def _slot(
        self, asked: StartSample, until: float, is_here: Callable[[], bool], refused: Refusals
    ) -> SampleSession:
        """Take a slot, waiting for one as long as the client wants to and is there."""
        custom = asked.custom_task is not None
        try:
            return self._core.choose(asked.name, asked.index, self._clock(), custom=custom)
        except NotGranted as refusal:
            left = until - self._clock()
            if refusal.status != 406 or asked.name not in self._core.tasks or left <= 0:
                # Where no worker answered that is what there is to say.
                raise next((one for one in refused.values() if isinstance(one, WorkerSilent)), refusal) from None
        waiting: asyncio.Future[SampleSession] = asyncio.get_running_loop().create_future()
        self._core.wait(asked.name, asked.index, waiting, custom=custom)
        try:
            async with asyncio.timeout(left):
                await waiting
        except TimeoutError:
            pass  # it may have come at the last moment
        finally:
            self._core.waits_no_more(asked.name, waiting)
        if waiting.cancelled():
            raise NotGranted(406, "Error: No workers available")
        if not is_here():
            self._core.ended(waiting.result().id, self._clock())
            raise NotGranted(400, "Error: Session does not exist")
        return waiting.result()

    async def _tries_another(self, session: SampleSession, refusal: NotGranted, refused: Refusals) -> bool:
        """After a worker did not begin a sample: whether it is worth while to try again, there or at another."""
        worker, is_full = session.worker, refusal.status == 406
        again = worker in refused
        refused[worker] = refusal
        if is_full and session.id in self._core.sessions:
            self._core.refused(session, self._clock())
            if not again:
                await self._sync.look_at(worker)
            return True
        if _TAKEN in refusal.text:  # a sample of another controller's, which goes on
            self._core.ended(session.id, self._clock())
            return not again
        self._end(session)
        return isinstance(refusal, WorkerSilent) and not again

    async def interact(self, asked: Interaction, is_here: Callable[[], bool]) -> Answered:
        """Hand in an agent's answer, and tell what the environment says to it. Raises NotGranted."""
        number = asked.session_id
        unclaimed = self._unclaimed.pop(number, None)
        if unclaimed is not None and (unclaimed[0] or number in self._core.sessions):
            return unclaimed[1]
        session = self._core.called(number, self._clock())
        known = self._records.conversation(number)
        before = [] if known is None else [*known, *asked.messages]
        try:
            standing = await self._call(session, self._interacting(session, asked, before))
        except NotGranted as refusal:
            self._not_taken(session, refusal)
            raise
        answered = self._take(session, standing, before, known or (), asked)
        if not is_here():
            self._leave(number, answered, ended=standing.status is not SampleStatus.RUNNING)
        return answered

    def _interacting(
        self, session: SampleSession, asked: Interaction, before: list[Message]
    ) -> Coroutine[Any, Any, Standing]:
        if before and asked.status != "normal":
            return self._gives_up(session, asked, before)
        return self._calls.interact(session.worker.address, asked, before)

    async def _gives_up(self, session: SampleSession, asked: Interaction, before: list[Message]) -> Standing:
        """End a session of AgentRL's, which has no word for an agent that cannot go on."""
        self._sync.cancel_later(session)
        return Standing(session.id, SampleStatus(asked.status), before, replaces=True)

    def cancel(self, number: int) -> None:
        """End a session and free its slot at once; its worker is told. Raises NotGranted for what never was one."""
        self._unclaimed.pop(number, None)
        session = self._core.sessions.get(number)
        if session is not None:
            self._end(session)
        elif not self._core.was_given(number):
            self._core.disown(number)
            raise NotGranted(400, "Error: Session does not exist")

    def expire(self) -> None:
        """End the sessions whose agents were not heard of for a whole lease."""
        for session in self._core.expired(self._clock()):
            _LOG.info("%s: session %d: its lease ended", session.name, session.id)
            self._sync.cancel_later(session)

    def _end(self, session: SampleSession) -> None:
        if self._core.ended(session.id, self._clock()) is not None:
            self._sync.cancel_later(session)

    async def _call(self, session: SampleSession, calling: Coroutine[Any, Any, Standing]) -> Standing:
        """Ask the worker. A session that is cancelled meanwhile waits for nothing; one that takes too long has ended.

        A worker that cannot be reached is given nothing until it is; one that is late has its other samples to do.
        """
        loop = asyncio.get_running_loop()
        call = loop.create_task(calling)
        self._records.calling(session.id, call)
        began = loop.time()
        try:
            return await call
        except asyncio.CancelledError:
            if session.id in self._core.sessions:
                call.cancel()
                raise
            raise NotGranted(400, "Error: Session does not exist") from None
        except WorkerSilent as silent:
            _LOG.warning("%s: session %d: %s", session.name, session.id, silent)
            is_late = loop.time() - began >= self._calls.timeout
            if not is_late:
                self._core.lost(session.worker)
                self._sync.sync(session.worker)
            self._end(session)
            if is_late:
                raise WorkerLate(silent.status, silent.text) from None
            raise
        except NotGranted:
            raise
        except Exception:  # an error of ours costs the sample, and never its slot
            self._end(session)
            raise
        finally:
            self._records.called(session.id)

    def _not_taken(self, session: SampleSession, refusal: NotGranted) -> None:
        """After a worker refused what an agent answered: the session goes on only where nothing came of that."""
        goes_on = refusal.status in _UNREAD or _WORKING in refusal.text
        if goes_on and session.id in self._core.sessions:
            self._core.answered(session.id, self._clock())
        else:
            self._end(session)

    def _take(
        self,
        session: SampleSession,
        standing: Standing,
        before: list[Message],
        known: Sequence[Message] = (),
        asked: Interaction | None = None,
    ) -> Answered:
        """Note where a session stands by now, and write the answer for its client. Raises NotGranted (501)."""
        now = self._clock()
        if session.id not in self._core.sessions:
            raise NotGranted(400, "Error: Session does not exist")
        self._core.seen(session.worker, now)
        conversation = [] if standing.history else grown(before, standing)
        if standing.status is not SampleStatus.RUNNING:
            self._core.ended(session.id, now)
        else:
            self._core.answered(session.id, now)
            if not standing.history:
                self._records.keep(session.id, conversation, known)
        if asked is not None and asked.dialect is Dialect.V02 and standing.status.is_fault:
            raise raised(standing, session.index, conversation)
        return answer(standing, session.index, conversation, None if asked is None else asked.text)

    def _leave(self, number: int, answered: Answered, *, ended: bool) -> None:
        self._unclaimed[number] = (ended, answered)
        while len(self._unclaimed) > _MOST_UNCLAIMED:
            self._unclaimed.popitem(last=False)
