"""What AgentBench's tasks are made of (``src.server.task``): a base class, and the session in which a sample speaks.

The values are those of ``src.typings``, the user's own where they lie there.
"""

from __future__ import annotations

import importlib
from itertools import groupby
from typing import Any

from pytest_evalrun.agents.worker.supplied import typings as supplied

typings: Any = importlib.import_module("src.typings")
ChatHistoryItem = getattr(typings, "ChatHistoryItem", supplied.ChatHistoryItem)
AgentOutput = getattr(typings, "AgentOutput", supplied.AgentOutput)
TaskOutput = getattr(typings, "TaskOutput", supplied.TaskOutput)

# Of a history an agent is shown the first message, and as many of the last as these allow.
MOST_SEGMENTS = 3500
_LETTERS = 7
_BLANKS = {ord(" "): None, ord("\n"): None}


class BenchSession:
    """A conversation: the task says something, and waits for the agent.

    ``controller`` takes a history to the agent and comes back with what it answers; whoever runs the task sets it.
    """

    def __init__(self) -> None:
        self.history: list[Any] = []
        self.controller: Any = None

    def inject(self, item: Any) -> None:
        """Put one message, or a list of them, at the end of the history."""
        if not item:
            return
        if isinstance(item, list):
            for one in item:
                self.inject(one)
        elif isinstance(item, dict):
            self.history.append(ChatHistoryItem.parse_obj(item))
        elif isinstance(item, ChatHistoryItem):
            self.history.append(item)
        else:
            raise TypeError(f"Unsupported type {type(item)}")

    def clear(self) -> None:
        self.history = []

    def filter_messages(self, messages: list[Any]) -> list[Any]:
        """The first message and the last ones, of an odd number; the first tells how many are left out."""
        if len(messages) % 2 != 1:
            raise AssertionError("Invalid message length")
        first, *rest = messages
        left = MOST_SEGMENTS - _segments(first.content)
        kept: list[Any] = []
        for message in reversed(rest):
            left -= _segments(message.content)
            if left <= 0:
                break
            kept.insert(0, message)
        if kept and kept[0].role == "user":
            kept.pop(0)
        content, omitted = first.content, len(rest) - len(kept)
        if omitted:
            content += f"\n\n[NOTICE] {omitted} messages are omitted."
        return [ChatHistoryItem(role="user", content=content), *kept]

    async def action(self, *injection: Any) -> Any:
        """Say something and wait for what the agent answers."""
        self.inject(list(injection))
        answered = await self.controller.env_pull(self.filter_messages(self.history))
        said = ChatHistoryItem(role="agent", content=answered.content or answered.status)
        self.history.append(said)
        return answered


def _segments(text: Any) -> int:
    """Count the pieces of words, and the other signs, in a text."""
    parts = [(is_word, "".join(signs)) for is_word, signs in groupby(text, str.isalpha)]
    return sum(-(-len(part) // _LETTERS) if is_word else len(part.translate(_BLANKS)) for is_word, part in parts)


class BenchTask:
    """What a task has to have."""

    def __init__(self, name: str, concurrency: int = 1, *_: Any, **__: Any) -> None:
        self.name = name
        self.concurrency = concurrency

    def get_indices(self) -> list[Any]:
        raise NotImplementedError

    async def start_sample(self, index: Any, session: BenchSession) -> Any:
        raise NotImplementedError

    def calculate_overall(self, results: list[Any]) -> dict[str, Any]:
        raise NotImplementedError

    def release(self) -> None:
        pass


Session = BenchSession
Task = BenchTask
