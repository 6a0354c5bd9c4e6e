"""Where a sample and its worker meet: what the environment says goes one way, what the agent answers the other.

The sample is in a thread or a process of its own, the worker in its event loop. Bodies are written where the sample is,
so that a long history holds up no other.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pytest_evalrun.agents.protocol import Index, Message
    from pytest_evalrun.agents.statuses import SampleStatus

NORMAL, CANCELLED = "normal", "cancelled"


@dataclass(frozen=True)
class AgentAnswer:
    """What the agent answered: its message, or why there is none, in AgentBench's words."""

    status: str = NORMAL
    message: Message | None = None


@dataclass(frozen=True)
class Saying:
    """What a sample said: how it stands, and the JSON of AgentBench's ``output`` and of AgentRL's ``env_out``."""

    status: SampleStatus
    output: bytes
    env_out: bytes | None = None

    def body(self, session_id: int) -> bytes:
        """The body of an answer to ``start_sample`` or ``interact``."""
        new = b"" if self.env_out is None else b',"env_out":' + self.env_out
        return b'{"session_id":%d,"output":%b%b}' % (session_id, self.output, new)


class Dialogue:
    """One sample: ``ask`` and ``end`` are called from where it runs, all else in the worker's event loop.

    ``when_ended`` is called there once it has ended.
    """

    def __init__(
        self, session_id: int, index: Index, loop: asyncio.AbstractEventLoop, when_ended: Callable[[Dialogue], None]
    ) -> None:
        import asyncio

        self.session_id = session_id
        self.index = index
        self.last: Saying | None = None
        self.answered: AgentAnswer | None = None
        self.ended = asyncio.Event()
        self._news: asyncio.Queue[Saying] = asyncio.Queue()
        self._loop = loop
        self._when_ended = when_ended
        self._lock = threading.Lock()
        self._asked: Future[AgentAnswer] | None = None
        self._cancelled = False
        self._over = False

    def ask(self, told: Saying) -> Future[AgentAnswer]:
        """Tell the agent, and have what it answers. Raises RuntimeError where it is asked already, or all is over.

        Whoever waits no longer cancels the future, and may ask again.
        """
        future: Future[AgentAnswer] = Future()
        with self._lock:
            if self._over:
                raise RuntimeError("the sample has ended: its agent can be asked no more")
            if self._cancelled:
                future.set_result(AgentAnswer(CANCELLED))
                return future
            if self._asked is not None and not self._asked.cancelled():
                raise RuntimeError("the agent is being asked already: one action at a time")
            self._asked = future
        self._loop.call_soon_threadsafe(self._tell, told)
        return future

    def end(self, told: Saying) -> None:
        """Tell how the sample ended; what is told later is too late."""
        with self._lock:
            if self._over:
                return
            self._over = True
        self._resolve(AgentAnswer(CANCELLED))  # somebody of the sample's may still wait
        with suppress(RuntimeError):  # the worker has ended before it
            self._loop.call_soon_threadsafe(self._end, told)

    @property
    def is_asking(self) -> bool:
        """Whether the agent is waited for, and not the environment."""
        return self._asked is not None

    async def next(self) -> Saying:
        """What the sample says next."""
        return await self._news.get()

    def answer(self, answered: AgentAnswer) -> None:
        """Hand in what the agent answered; :attr:`is_asking` says whether somebody wants it.

        What the sample has said meanwhile, as it did not want to wait so long, is answered with it.
        """
        while not self._news.empty():
            self._news.get_nowait()
        self.answered = answered
        self._resolve(answered)

    def cancel(self) -> None:
        """Whatever the sample asks from now on, and what it asks now, is cancelled."""
        with self._lock:
            self._cancelled = True
        self._resolve(AgentAnswer(CANCELLED))

    def _resolve(self, answered: AgentAnswer) -> None:
        with self._lock:
            asked, self._asked = self._asked, None
        if asked is not None and asked.set_running_or_notify_cancel():
            asked.set_result(answered)

    def _tell(self, told: Saying) -> None:
        self.last = told
        self._news.put_nowait(told)

    def _end(self, told: Saying) -> None:
        self._tell(told)
        self.ended.set()
        self._when_ended(self)


@dataclass(frozen=True)
class Asks:
    """The side of a sample: its number, and where it tells what it has to say."""

    session_id: int
    index: Index
    ask: Callable[[Saying], Future[AgentAnswer]]
    end: Callable[[Saying], None]
