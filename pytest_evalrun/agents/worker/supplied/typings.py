"""The values that AgentBench's tasks exchange with it (``src.typings``): the same names and fields, methods too."""

from __future__ import annotations

import builtins
import importlib
from enum import Enum
from typing import Any, Dict, List, Literal, Optional, Tuple, Union  # noqa: UP035 - names that tasks import from here

from pydantic import BaseModel, Field, model_validator

from pytest_evalrun.agents.statuses import SampleStatus, WorkerStatus

__all__ = ["Any", "BaseModel", "Dict", "List", "Literal", "Optional", "SampleStatus", "Tuple", "Union", "WorkerStatus"]

JSONSerializable = Any
SampleIndex = Union[int, str]  # noqa: UP007 - tasks may look into it


class AgentOutputStatus(str, Enum):  # noqa: UP042 - written as its value on every Python
    """How an agent answered."""

    NORMAL = "normal"
    CANCELLED = "cancelled"
    AGENT_CONTEXT_LIMIT = "agent context limit"


class Parsed(BaseModel):
    """A model of pydantic, with the methods by which its version 1 is used."""

    def dict(self, **options: Any) -> dict[str, Any]:  # type: ignore[override,unused-ignore]
        return self.model_dump(**options)

    def json(self, **options: Any) -> str:  # type: ignore[override,unused-ignore]
        return self.model_dump_json(**options)

    @classmethod
    def parse_obj(cls, obj: Any) -> Any:
        return cls.model_validate(obj)


class ChatHistoryItem(Parsed):
    """One message; VisualAgentBench has the role system, and content in parts, besides."""

    role: Literal["user", "agent", "system"]
    content: str | list[Any]


ChatHistory = List[ChatHistoryItem]  # noqa: UP006 - tasks may look into it


class TaskOutput(Parsed):
    """How a sample stands."""

    index: SampleIndex | None = None
    status: SampleStatus = SampleStatus.RUNNING
    result: JSONSerializable = None
    history: list[ChatHistoryItem] | None = None


class TaskSampleExecutionResult(Parsed):
    """How a sample ended."""

    status: SampleStatus = SampleStatus.COMPLETED
    result: JSONSerializable = None


class AgentOutput(Parsed):
    """What an agent answered; text where it answered at all."""

    status: AgentOutputStatus = AgentOutputStatus.NORMAL
    content: str | None = None

    @model_validator(mode="after")
    def _has_content(self) -> AgentOutput:
        if self.status is AgentOutputStatus.NORMAL and self.content is None:
            raise ValueError("If status is NORMAL, content should not be None")
        return self


class TaskClientOutput(Parsed):
    """How a sample went for its client."""

    error: str | None = None
    info: str | None = None
    output: TaskOutput | None = None


class InstanceFactory(Parsed):
    """A class by its dotted name, and what it is made with."""

    module: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _has_parameters(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("parameters", {}) is None:
            return {**values, "parameters": {}}
        return values

    def create(self) -> Any:
        """Make one."""
        module, _, name = self.module.rpartition(".")
        return getattr(importlib.import_module(module) if module else builtins, name)(**self.parameters)


class AgentBenchException(Exception):  # noqa: N818 - the name that tasks know
    """The root of AgentBench's own."""


class ServerException(AgentBenchException):
    """Something went wrong at a task."""


class ClientException(AgentBenchException):
    """Something went wrong where a task is asked."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__()
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        text = f"{type(self).__name__}[{self.reason}]"
        return f"{text}: {self.detail}" if self.detail else text


class AgentClientException(ClientException):
    """An agent could not be asked."""


class TaskClientException(ClientException):
    """A task could not be asked."""


class AgentContextLimitException(AgentClientException):
    """The conversation no longer fits into the agent's context."""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__("agent_context_limit", detail)
