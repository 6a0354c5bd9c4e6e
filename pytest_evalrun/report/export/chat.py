"""Conversations as Inspect writes them, made of OpenAI's chat messages and of what AgentBench keeps."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Whose role is another one is a user, who said it is kept beside it.
_ROLES = {"system": "system", "developer": "system", "assistant": "assistant", "agent": "assistant", "tool": "tool"}
_PICTURE = "<image>"


def text_of(value: Any) -> str:
    """Any value as text: text as it is, a path as one, nothing for null, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=_named)


def _named(value: Any) -> str:
    """What no JSON has: a path by its text, anything else by its kind."""
    return str(value) if isinstance(value, PurePath) else f"<{type(value).__name__}>"


def as_messages(said: Iterable[Any], source: str | None = None) -> list[dict[str, Any]]:
    """The messages in Inspect's form, in their order; ``source`` says of all who put them there."""
    messages = [_message(message) for message in said]
    return [{**message, "source": source} for message in messages] if source else messages


def plain_text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """The text of a message's content, pictures by a word."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", _PICTURE)) for part in content if part.get("type") != "reasoning")


def _message(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        return {"role": "user", "content": text_of(said)}
    role = str(said.get("role", "user"))
    message: dict[str, Any] = {"role": _ROLES.get(role, "user"), "content": _content(said.get("content"))}
    if role not in _ROLES and role != "user":
        message["metadata"] = {"role": role}
    if message["role"] == "assistant" and isinstance(calls := said.get("tool_calls"), list) and calls:
        message["tool_calls"] = [_call(call, place) for place, call in enumerate(calls)]
    if message["role"] == "tool":
        message |= {"tool_call_id": text_of(said.get("tool_call_id")), "function": said.get("name")}
        if not isinstance(message["function"], str):
            del message["function"]
    return message


def _content(content: Any) -> str | list[dict[str, Any]]:
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        return [_part(part) for part in content]
    return text_of(content)


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    picture = part.get("image_url")
    url = picture.get("url") if isinstance(picture, dict) else picture
    if isinstance(url, str):
        return {"type": "image", "image": url}
    return {"type": "text", "text": text_of(dict(part))}


def _call(call: Any, place: int) -> dict[str, Any]:
    """A call of a tool; arguments that are no object are kept as they are, with a word of what is wrong."""
    told = call if isinstance(call, dict) else {}
    function = told.get("function")
    function = function if isinstance(function, dict) else {"name": function, "arguments": told.get("arguments")}
    made = {"id": text_of(told.get("id")) or f"call-{place}", "function": text_of(function.get("name")) or "?"}
    raw = function.get("arguments")
    try:
        arguments = parse_json(raw) if isinstance(raw, str) and raw else raw or {}
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return {**made, "type": "function", "arguments": arguments}
    error = "the arguments are no JSON object"
    return {**made, "type": "function", "arguments": {"arguments": text_of(raw)}, "parse_error": error}
