"""The session that a task is given, and what is told of it: one for tasks of AgentBench, one for our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.histories import history_of, said_by
from pytest_evalrun.agents.worker.dialogue import CANCELLED, NORMAL, AgentAnswer, Saying

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.agents.protocol import Index, Message
    from pytest_evalrun.agents.worker.dialogue import Asks

# Whoever reads an answer stops there, so that no task fills the memory of others.
LARGEST_BODY = 10_000_000
_LONGEST_REASON = 2_000


class SampleCancelled(BaseException):
    """The sample was cancelled while its task waited for the agent, or went on asking it: its code ends here."""


@dataclass(frozen=True)
class Outcome:
    """How a sample ended."""

    status: SampleStatus
    result: Any = None
    reward: float | None = None
    metrics: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class AgentReply:
    """What the agent answered: its text, and its whole message, calls of tools with it.

    ``status`` is ``agent context limit`` where the conversation no longer fits; then there is neither.
    """

    status: str
    content: str
    message: Message

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls of tools in the message, in OpenAI's form."""
        return self.message.get("tool_calls") or []


class BenchSpeech:
    """The ``controller`` of AgentBench's sessions: a history goes to the agent, and an ``AgentOutput`` comes back."""

    def __init__(self, asks: Asks, session: Any, agent_output: Any) -> None:
        import asyncio

        self._asks = asks
        self._session = session
        self._agent_output = agent_output
        self._one = asyncio.Lock()

    async def env_pull(self, history: Sequence[Any]) -> Any:
        """One asks after the other, as many as the task may have asking at once."""
        import asyncio

        async with self._one:
            told = _told(self._asks.index, Outcome(SampleStatus.RUNNING), _plain(history), None)
            answered = await asyncio.wrap_future(self._asks.ask(told))
            # One who goes on asking for ever, cancelled or not, must come to where it can be ended.
            await asyncio.sleep(0)
        content = None if answered.message is None else said_by(answered.message)
        return self._agent_output(status=answered.status, content=content)

    def end(self, outcome: Outcome) -> Saying:
        """What is told at the end: all of the history, whatever the agent was shown of it."""
        index = self._asks.index
        return _closing(lambda end: _told(index, end, _plain(self._session.history), None), outcome, index, ours=False)


class TaskSession:
    """The session of our own tasks: the conversation, in OpenAI's form, and the way to the agent.

    ``action`` is for tasks that are async, ``act`` for plain ones.
    """

    def __init__(self, asks: Asks, tools: Sequence[Mapping[str, Any]] = ()) -> None:
        self.session_id = asks.session_id
        self.index = asks.index
        self.messages: list[Message] = []
        self.tools: Sequence[Mapping[str, Any]] = tools
        self._asks = asks
        self._seen = 0

    def inject(self, *messages: str | Message) -> None:
        """Put messages at the end of the conversation; a text is the user's."""
        self.messages += [_message(message) for message in messages]

    async def action(self, *messages: str | Message) -> AgentReply:
        """Say these, and wait for what the agent answers. Raises SampleCancelled."""
        import asyncio

        future = self._ask(messages)
        return self._reply(await asyncio.wrap_future(future))

    def act(self, *messages: str | Message) -> AgentReply:
        """As :meth:`action`, in tasks that are not async."""
        return self._reply(self._ask(messages).result())

    def _ask(self, messages: Sequence[str | Message]) -> Any:
        self.inject(*messages)
        told = self._told(Outcome(SampleStatus.RUNNING))
        self._seen = len(self.messages)
        return self._asks.ask(told)

    def _reply(self, answered: AgentAnswer) -> AgentReply:
        if answered.status == CANCELLED:
            raise SampleCancelled
        message = answered.message or {"role": "assistant", "content": None}
        self.messages.append(message if answered.status == NORMAL else {**message, "content": answered.status})
        self._seen = len(self.messages)
        content = message.get("content")
        return AgentReply(answered.status, content if isinstance(content, str) else "", message)

    def _told(self, outcome: Outcome) -> Saying:
        return _told(self._asks.index, outcome, history_of(self.messages), self._out(outcome))

    def _out(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "messages": self.messages[self._seen :],
            "tools": list(self.tools),
            "status": outcome.status,
            "finish": outcome.status is not SampleStatus.RUNNING,
            "reward": outcome.reward,
            "metrics": outcome.metrics,
            "result": outcome.result,
        }

    def end(self, outcome: Outcome) -> Saying:
        """What is told at the end."""
        return _closing(self._told, outcome, self._asks.index, ours=True)


def task_error(index: Index, text: str, *, ours: bool, status: SampleStatus = SampleStatus.TASK_ERROR) -> Saying:
    """What is told of a sample of which nothing else can be told."""
    out = {"messages": [], "tools": [], "status": status, "finish": True, "reward": None, "metrics": None}
    return _told(index, Outcome(status, text), [], {**out, "result": text} if ours else None)


def _closing(tell: Callable[[Outcome], Saying], outcome: Outcome, index: Index, *, ours: bool) -> Saying:
    """Tell how a sample ended; where that cannot be written, why, with the history if that can."""
    try:
        return tell(outcome)
    except Exception as error:  # noqa: BLE001 - the task's values may do anything
        failed = Outcome(SampleStatus.TASK_ERROR, f"what the task returned cannot be told: {error}"[:_LONGEST_REASON])
    try:
        return tell(failed)
    except Exception:  # noqa: BLE001 - as above
        return task_error(index, failed.result, ours=ours)


def _told(index: Index, outcome: Outcome, history: list[Any], out: dict[str, Any] | None) -> Saying:
    """Write what is told. Raises ValueError for what is too large, or no value of JSON."""
    # AgentBench has no word for it.
    status = SampleStatus.TASK_ERROR if outcome.status is SampleStatus.CANCELLED else outcome.status
    output = written({"index": index, "status": status, "result": outcome.result, "history": history})
    told = Saying(outcome.status, output, None if out is None else written(out))
    if (size := len(output) + len(told.env_out or b"")) > LARGEST_BODY:
        raise ValueError(f"it has {size:,} bytes of JSON; accepted: at most {LARGEST_BODY:,}")
    return told


def written(value: Any) -> bytes:
    """Write a value as JSON, numbers and arrays of numpy with it. Raises TypeError or ValueError for all else."""
    return json.dumps(value, allow_nan=False, default=_plain_value, separators=(",", ":")).encode()


def _plain_value(value: Any) -> Any:
    if isinstance(value, BaseException):  # tasks of AgentBench put what they caught into their result
        return f"{type(value).__name__}: {value}"
    for method in ("tolist", "model_dump", "dict"):
        if callable(plain := getattr(value, method, None)) and not isinstance(value, type):
            return plain()
    raise TypeError(f"found a {type(value).__name__}; accepted: values of JSON")


def _plain(history: Sequence[Any]) -> list[Any]:
    """The items of a history as JSON has them, whichever classes they are of."""
    return [item if isinstance(item, dict) else {"role": item.role, "content": item.content} for item in history]


def _message(message: Any) -> Message:
    """A message as a task may write it. Raises TypeError for what is none."""
    if isinstance(message, str):
        return {"role": "user", "content": message}
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise TypeError(f"found {message!r} as a message; accepted: a text, or a dict with role and content")
    return {**message, "role": "assistant"} if message["role"] == "agent" else message
