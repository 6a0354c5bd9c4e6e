"""How a sample of a task stands and ends, in the words of AgentBench."""

from __future__ import annotations

from enum import Enum, IntEnum


class SampleStatus(str, Enum):  # noqa: UP042 - written as its value on every Python
    """AgentBench's eight, and ``cancelled``, which AgentRL has besides."""

    RUNNING = "running"
    COMPLETED = "completed"
    AGENT_CONTEXT_LIMIT = "agent context limit"
    AGENT_VALIDATION_FAILED = "agent validation failed"
    AGENT_INVALID_ACTION = "agent invalid action"
    TASK_LIMIT_REACHED = "task limit reached"
    UNKNOWN = "unknown"
    TASK_ERROR = "task error"
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value

    @property
    def is_fault(self) -> bool:
        """Whether the environment failed, and not the agent: asked again, and never scored."""
        return self in (SampleStatus.TASK_ERROR, SampleStatus.CANCELLED)


class WorkerStatus(IntEnum):
    """Whether a worker is heard of: ``COMA`` without a heartbeat, ``DEAD`` where a call of ours was not answered."""

    ALIVE = 0
    COMA = 1
    DEAD = 2


class Fault(str, Enum):  # noqa: UP042 - as above
    """Why a sample has no end that counts, in the words of AgentBench's ``error.jsonl``."""

    START_FAILED = "START_FAILED"
    INTERACT_FAILED = "INTERACT_FAILED"
    AGENT_FAILED = "AGENT_FAILED"
    NETWORK_ERROR = "NETWORK_ERROR"
    NOT_AVAILABLE = "NOT_AVAILABLE"

    def __str__(self) -> str:
        return self.value
