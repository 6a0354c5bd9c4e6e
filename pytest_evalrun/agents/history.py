"""A conversation as AgentBench's agents know it: turns of ``user`` and ``agent``, each a text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.agents.protocol import Message


def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """AgentBench's history of messages in OpenAI's form; whoever is not the assistant is the user."""
    return [
        {"role": "agent" if message.get("role") == "assistant" else "user", "content": text_of_message(message)}
        for message in messages
    ]


def text_of_message(message: Mapping[str, Any]) -> str:
    """The text of a message; of parts theirs together, of calls without a text their JSON."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not content and message.get("tool_calls"):
        return json.dumps(message["tool_calls"], ensure_ascii=False)
    return content if isinstance(content, str) else ""
