"""What a class of the user's answered, as a message: text, an assistant message, or what the SDK has for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.protocol import Act
from pytest_evalrun.errors import SampleError

if TYPE_CHECKING:
    from pytest_evalrun.agents.protocol import Message

LARGEST_ANSWER = 10_000_000
ACCEPTED = "accepted: text, or {role: assistant, content: …, tool_calls: […]}"


def act_of(answer: Any, who: str) -> Act:
    """Raises SampleError, beginning with ``who``, for nothing, for too much, and for what is no message."""
    if isinstance(answer, Act):
        return replace(answer, message=message_of(answer.message, who))
    return Act(message_of(answer, who))


def message_of(answer: Any, who: str) -> Message:
    """The assistant's message; of what else a mapping holds nothing is kept."""
    if answer is None:
        raise SampleError(f"{who} answered nothing; {ACCEPTED}")
    if isinstance(answer, str):
        if len(answer) > LARGEST_ANSWER:
            raise _too_large(who)
        return {"role": "assistant", "content": answer}
    if callable(dump := getattr(answer, "model_dump", None)):
        answer = dump(exclude_none=True)
    if not isinstance(answer, dict):
        raise SampleError(f"{who} answered {type(answer).__name__}; {ACCEPTED}")
    return _checked(answer, who)


def _checked(answer: dict[str, Any], who: str) -> Message:
    role, content, calls = (answer.get(name) for name in ("role", "content", "tool_calls"))
    if role not in (None, "assistant"):
        raise SampleError(f"{who} answered a message of the role {role!r}; accepted: assistant")
    if content is None and not calls:
        raise SampleError(f"{who} answered a message without content and tool_calls; {ACCEPTED}")
    if not isinstance(content, str | list | None):
        raise SampleError(f"{who} answered content of type {type(content).__name__}; accepted: text")
    message: Message = {"role": "assistant", "content": content}
    if calls:
        if not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
            raise SampleError(f"{who} answered tool_calls that are no list of mappings; accepted: OpenAI's form")
        message["tool_calls"] = calls
    try:
        size = len(json.dumps(message, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SampleError(f"{who} answered a message that JSON cannot hold: {error}") from None
    if size > LARGEST_ANSWER:
        raise _too_large(who)
    return message


def _too_large(who: str) -> SampleError:
    return SampleError(f"{who} answered more than {LARGEST_ANSWER // 1_000_000} MB; nothing of it is kept")
