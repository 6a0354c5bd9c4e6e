"""One conversation in two forms: messages as OpenAI's chats have them, and the history that AgentBench keeps.

A history has the roles user and agent, and text. What an environment and its tools say is the user's there, what a
model says is the agent's; content in parts is joined where it is text, and stays as it is where it holds images, as
VisualAgentBench has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_evalrun.agents.protocol import Message

# The roles of a history → those of messages. VisualAgentBench has system besides.
_ROLES = {"user": "user", "agent": "assistant", "system": "system", "assistant": "assistant"}
_SYSTEM = ("system", "developer")


def messages_of(history: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Write a history as messages."""
    return [{"role": _ROLES.get(item["role"], "user"), "content": item["content"]} for item in history]


def history_of(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write messages as a history: an item for each, calls of tools in words."""
    return [
        {"role": "agent", "content": said_by(message)}
        if message.get("role") == "assistant"
        else {"role": "user", "content": _joined(message.get("content"))}
        for message in messages
    ]


def said_by(message: Mapping[str, Any]) -> Any:
    """What an assistant's message says, in one text: its content, and its calls of tools as ``name(arguments)``."""
    content = _joined(message.get("content"))
    calls = [_written(call) for call in message.get("tool_calls") or ()]
    return "\n".join(part for part in (content, *calls) if part) if calls and isinstance(content, str) else content


def is_whole(messages: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> bool:
    """Whether messages that follow on others are the whole conversation, and not what is new of it.

    The wire does not say. AgentRL's own client takes a system message for the beginning; whatever repeats all that
    was said before is whole, too.
    """
    if not messages or not before:
        return False
    if any(message.get("role") in _SYSTEM for message in messages):
        return True
    return len(messages) > len(before) and list(messages[: len(before)]) == list(before)


def new_of(history: Sequence[Mapping[str, Any]], answered: str | None) -> Sequence[Mapping[str, Any]]:
    """What follows in a history on the agent's last answer; all of it before there was one.

    Histories lose old turns when they grow long, so their lengths say nothing.
    """
    if answered is None:
        return history
    said = [place for place, item in enumerate(history) if item["role"] in ("agent", "assistant")]
    places = [place for place in said if history[place]["content"] == answered] or said
    return history[places[-1] + 1 :] if places else history


def _joined(content: Any) -> Any:
    """The text of a content; the content itself where there is more in it than text."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        whole = len(texts) == len(content) and all(isinstance(text, str) for text in texts)
        return "".join(str(text) for text in texts) if whole else content
    return "" if content is None else content


def _written(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return str(call)
    return f"{function.get('name')}({function.get('arguments') or ''})"
