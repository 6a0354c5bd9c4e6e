"""What agents and task servers are to whoever brings them together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.agents.statuses import Fault, SampleStatus
    from pytest_evalrun.llm.wire import Usage

Index = int | str
# A message in the form of OpenAI's chats: role, content, and tool_calls or tool_call_id where it has some.
Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """What an agent is shown: the whole conversation so far, and the tools that it may call."""

    messages: Sequence[Message]
    """Messages of the roles system, user, assistant and tool, as OpenAI's chats have them."""
    tools: Sequence[Mapping[str, Any]] = ()
    """The tools of the task, in OpenAI's format; none where it is answered in text."""
    generation: int = 0
    """Which of several answers to the same sample it is for, from 0."""


@dataclass(frozen=True)
class Act:
    """What an agent answered: one assistant message, and what that took."""

    message: Message
    """An assistant message, with `content`, `tool_calls` or both."""
    usage: Usage | None = None
    """The tokens that it took, where that is known."""
    cost: float | None = None
    """What it cost, where there is a price."""
    finish_reason: str | None = None
    """Why the model ended, in the endpoint's words."""
    attempts: int = 1
    """How many requests it took."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What else a line of predictions keeps of it."""


class ContextLimit(Exception):  # noqa: N818 - what is the case
    """The conversation no longer fits into the agent's context: the sample ends as ``agent context limit``."""


class Agent(Protocol):
    """An agent that is loaded: asked for its next message, for many samples at once."""

    async def act(self, conversation: Conversation) -> Act:
        """Answer. Raises ContextLimit; what may pass as :class:`pytest_evalrun.llm.refusals.Passing`, or as an error
        that :func:`pytest_evalrun.children.faults.may_pass` knows; PairError for what no sample can help.
        """


@dataclass(frozen=True)
class Standing:
    """Where a session stands: what the environment says, or how the sample has ended.

    ``messages`` are those of the environment that are new, in OpenAI's form; ``replaces`` tells that they are the
    whole conversation. ``history`` is the whole conversation as AgentBench keeps it, with the roles user and agent.
    """

    session_id: int
    status: SampleStatus
    messages: Sequence[Message] = ()
    replaces: bool = False
    history: Sequence[Mapping[str, Any]] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    result: Any = None
    reward: float | None = None
    metrics: Mapping[str, Any] | None = None
    waited: float = 0.0
    """Seconds until there was a slot for it, where the controller says so."""


class ServerFault(Exception):  # noqa: N818 - what is the case
    """A call of the task server that came to nothing: why, in AgentBench's words, and the HTTP status, if any."""

    def __init__(self, fault: Fault, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.fault = fault
        self.status = status


@dataclass(frozen=True)
class TaskSlots:
    """The workers of a task that are alive: how many samples they take at once, and how many of those they have."""

    capacity: int
    current: int


class TaskServer(Protocol):
    """The client's side of a controller, as sessions use it; all in the asyncio thread of this process.

    ``waits`` tells that it is known to keep samples waiting for a slot.
    """

    @property
    def waits(self) -> bool: ...

    async def start_sample(self, name: str, index: Index, *, wait: float = 0.0) -> Standing:
        """Begin a sample, waiting up to ``wait`` seconds for a free slot where the controller knows how.

        Raises ServerFault: NOT_AVAILABLE where no slot is free, NETWORK_ERROR where nobody answers, START_FAILED.
        """

    async def interact(
        self, session_id: int, message: Message | None, status: str = "normal", before: Sequence[Message] = ()
    ) -> Standing:
        """Hand in the agent's answer; without a message its ``status`` alone. ``before`` is the conversation with it.

        Raises ServerFault.
        """

    async def renew(self, session_id: int) -> None:
        """Keep the session while its agent thinks. Raises nothing: a controller that knows no leases has none."""

    async def cancel(self, session_id: int) -> bool:
        """End the session and free its slot. Raises nothing; False where nobody was there to be told."""

    async def slots(self, name: str) -> TaskSlots:
        """What a task's workers take. Raises ServerFault: NOT_AVAILABLE where there is no such task."""

    async def calculate_overall(self, name: str, results: Sequence[Mapping[str, Any]]) -> Any:
        """What the task itself says of its results, AgentBench's TaskOutputs. Raises ServerFault."""

    async def close(self) -> None:
        """Close its connections."""
