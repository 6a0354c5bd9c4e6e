"""A model behind an OpenAI-compatible endpoint as an agent: the whole conversation is sent each turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.protocol import Act, ContextLimit
from pytest_evalrun.llm.refusals import TooLong
from pytest_evalrun.llm.wire import request_body

if TYPE_CHECKING:
    from pytest_evalrun.agents.protocol import Conversation, Message
    from pytest_evalrun.llm.client import Client
    from pytest_evalrun.llm.settings import EndpointSettings
    from pytest_evalrun.llm.wire import Reply

# Between what the suite and what the task say to the model before everything else.
GAP = "\n\n"
# What an act says itself of a reply.
_OF_THE_ACT = frozenset({"usage", "cost", "finish_reason", "attempts"})


class OpenAIAgent:
    """Answers by a model's chat, with the tools of the task where it has some.

    It is asked in the asyncio thread of this process, and never asks again by itself.
    """

    def __init__(self, client: Client, own: EndpointSettings) -> None:
        """``own`` has the name of the model; its prompt's ``system`` is said first. Raises ConfigError where that is
        no template, PairError where it asks for a column.
        """
        self._client = client
        self._own = own
        self._system = _system(own)

    async def act(self, conversation: Conversation) -> Act:
        """Answer with a message as the endpoint wrote it; one without text and calls is empty: the task judges it.

        Raises ContextLimit where the endpoint's code says so, and else what :meth:`Client.ask` says.
        """
        asked = self._client.ask(self.body(conversation), any_message=True)
        try:
            return self._act(await asyncio.wrap_future(asked))
        except TooLong as error:
            raise ContextLimit(str(error)) from None

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """Make what is sent of a conversation; another generation of it has another seed, where there is one."""
        body = request_body(self._own, self._messages(conversation), conversation.generation)
        if conversation.tools:
            body["tools"] = [dict(tool) for tool in conversation.tools]
        return body

    def _messages(self, conversation: Conversation) -> list[Message]:
        """One message of the system at most, and that the first: many models' templates take no other."""
        messages = [dict(message) for message in conversation.messages]
        if self._system is None:
            return messages
        first = messages[0] if messages else {}
        if first.get("role") == "system" and isinstance(first.get("content"), str):
            return [{**first, "content": f"{self._system}{GAP}{first['content']}"}, *messages[1:]]
        return [{"role": "system", "content": self._system}, *messages]

    def _act(self, reply: Reply) -> Act:
        message: Message = {"role": "assistant", "content": reply.text}
        if reply.tool_calls:
            message |= {"content": reply.text or None, "tool_calls": [dict(call) for call in reply.tool_calls]}
        detail = reply.detail(self._own.price)
        return Act(
            message,
            usage=reply.usage,
            cost=detail.get("cost"),
            finish_reason=reply.finish_reason,
            attempts=reply.attempts,
            detail={name: value for name, value in detail.items() if name not in _OF_THE_ACT},
        )


def _system(own: EndpointSettings) -> str | None:
    """What the suite says to the model; a task has no columns that it could be made of."""
    if not own.prompt.get("system"):
        return None
    from pytest_evalrun.llm.templates import Template

    return Template(own.prompt["system"], "prompt.system").render({})
