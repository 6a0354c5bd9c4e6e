"""The samples that a worker has: begun, answered, cancelled, ended; a slot is free as soon as its sample has ended."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.dialects import answered_text
from pytest_evalrun.agents.worker.dialogue import NORMAL, AgentAnswer, Asks, Dialogue, Saying
from pytest_evalrun.agents.worker.tasksessions import task_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalrun.agents.protocol import Index
    from pytest_evalrun.agents.wire.dialects import Interaction
    from pytest_evalrun.agents.worker.hosting import Performance
    from pytest_evalrun.agents.worker.taskmaking import HostedTask

# AgentBench's controller gives a worker up whose `cancel` takes longer than 5 s.
CANCEL_SECONDS = 4.0
# What a coroutine has to end once it is told to, and nothing that it awaits goes on.
_STOP_SECONDS = 2.0
_MOST_GONE = 10_000
_MOST_UNREAD = 32


@dataclass(frozen=True)
class _Running:
    dialogue: Dialogue
    performance: Performance


class Samples:
    """In the worker's event loop. Those that were cancelled and have not ended have their slots for a while."""

    def __init__(self, hosted: HostedTask, say: Callable[[str], None]) -> None:
        self._hosted = hosted
        self._say = say
        self._running: dict[int, _Running] = {}
        self._ending: dict[int, asyncio.Task[None]] = {}
        # An AgentBench controller frees the slot of a sample that raised when `cancel` of it is granted.
        self._gone: OrderedDict[int, None] = OrderedDict()
        # Those that ended while their agent was thinking: it is told when it answers.
        self._unread: OrderedDict[int, Dialogue] = OrderedDict()
        self.abandoned = 0

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._running))

    @property
    def indices(self) -> dict[int, Index]:
        """The index of each sample that has not been cancelled, by its session."""
        return {number: running.dialogue.index for number, running in self._running.items()}

    def dialogue(self, session_id: int) -> Dialogue:
        """The sample of a session. Raises NotGranted (400)."""
        if session_id not in self._running:
            raise NotGranted(400, "No such session")
        return self._running[session_id].dialogue

    async def start(self, session_id: int, index: Index) -> Saying:
        """Begin a sample, and return what it says first. Raises NotGranted: 400 for an id in use, 406 with no slot."""
        most = self._hosted.concurrency
        while True:
            if session_id in self._running or session_id in self._ending:
                raise NotGranted(400, "Session ID already exists")
            if len(self._running) >= most:
                raise NotGranted(406, f"Sample concurrency limit reached: {most}")
            if len(self._running) + len(self._ending) < most:
                break
            await asyncio.wait(self._ending.values(), return_when=asyncio.FIRST_COMPLETED)
        dialogue = Dialogue(session_id, index, asyncio.get_running_loop(), self._ended)
        asks = Asks(session_id, index, dialogue.ask, dialogue.end)
        self._running[session_id] = _Running(dialogue, self._hosted.host.start(asks))
        return await self._next(dialogue)

    async def interact(self, interaction: Interaction) -> Saying:
        """Hand in what the agent answered, and return what the sample says next. Raises NotGranted (400)."""
        if interaction.session_id in self._unread:
            return await self._next(self._unread[interaction.session_id])
        dialogue = self.dialogue(interaction.session_id)
        if not dialogue.is_asking:
            raise NotGranted(400, "Task Executing, please do not send new request.")
        dialogue.answer(AgentAnswer(interaction.status, _one_of(interaction)))
        return await self._next(dialogue)

    async def _next(self, dialogue: Dialogue) -> Saying:
        told = await dialogue.next()
        if told.status is not SampleStatus.RUNNING:
            self._unread.pop(dialogue.session_id, None)
        return told

    def _ended(self, dialogue: Dialogue) -> None:
        if dialogue.session_id in self._running:
            self._forget(dialogue)
            self._unread[dialogue.session_id] = dialogue
            if len(self._unread) > _MOST_UNREAD:
                self._unread.popitem(last=False)

    def _forget(self, dialogue: Dialogue) -> None:
        self._running.pop(dialogue.session_id, None)
        self._gone[dialogue.session_id] = None
        if len(self._gone) > _MOST_GONE:
            self._gone.popitem(last=False)

    def cancel(self, session_id: int) -> asyncio.Task[None] | None:
        """Tell a sample that it is cancelled; what is returned is done when it has ended, or was abandoned.

        None where it has ended already. Raises NotGranted (400) for one that never was.
        """
        running = self._running.get(session_id)
        if running is None:
            if session_id not in self._gone and session_id not in self._ending:
                raise NotGranted(400, "No such session")
            return self._ending.get(session_id)
        self._forget(running.dialogue)
        running.dialogue.cancel()
        ending = asyncio.get_running_loop().create_task(self._end(running))
        self._ending[session_id] = ending
        ending.add_done_callback(lambda _: self._ending.pop(session_id, None))
        return ending

    async def _end(self, running: _Running) -> None:
        """See a sample to its end: what does not end when it is told to is abandoned, and no longer holds a slot."""
        dialogue, performance = running.dialogue, running.performance
        if not performance.at_once and await _ends(dialogue, self._hosted.grace):
            return
        performance.stop()
        if await _ends(dialogue, _STOP_SECONDS):
            return
        self.abandoned += 1
        text = "it was cancelled, and did not end: it is left alone, and its slot is free"
        self._say(f"session {dialogue.session_id} (index {dialogue.index}): {text}; abandoned so far: {self.abandoned}")
        dialogue.end(task_error(dialogue.index, text, ours=self._hosted.is_ours))

    async def close(self, seconds: float) -> None:
        """Cancel all; wait so long for those that still end, and answer whoever waits for the others."""
        open_ones = [running.dialogue for running in self._running.values()]
        for number in self:
            self.cancel(number)
        if self._ending:
            await asyncio.wait(self._ending.values(), timeout=seconds)
        for one in open_ones:
            one.end(task_error(one.index, "the worker was told to end", ours=self._hosted.is_ours))

    @property
    def left(self) -> int:
        """How many are at work that nobody waits for."""
        return len(self._running) + len(self._ending) + self.abandoned


async def ended(ending: asyncio.Task[None] | None, seconds: float | None) -> None:
    """Wait for a sample to end, so long."""
    if ending is not None:
        await asyncio.wait([ending], timeout=seconds)


async def _ends(dialogue: Dialogue, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await dialogue.ended.wait()
    except TimeoutError:
        return False
    return True


def _one_of(interaction: Interaction) -> Any:
    """The message of an interaction: of many, one that says and calls what all of them do."""
    if interaction.status != NORMAL:
        return None
    if len(interaction.messages) == 1:
        return interaction.messages[0]
    calls = [call for message in interaction.messages for call in message.get("tool_calls") or ()]
    content = answered_text([{**message, "tool_calls": None} for message in interaction.messages])
    return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}
