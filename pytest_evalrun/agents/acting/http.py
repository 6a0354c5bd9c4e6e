"""An agent behind an HTTP API of its own: AgentBench's HTTPAgent, by its settings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_evalrun.agents.acting.formats import ValueFormat
from pytest_evalrun.agents.acting.prompters import prompter_of
from pytest_evalrun.agents.acting.unseen import UnseenTools
from pytest_evalrun.agents.protocol import Act, ContextLimit
from pytest_evalrun.agents.wire.histories import history_of
from pytest_evalrun.errors import SampleError
from pytest_evalrun.llm.budget import Budget
from pytest_evalrun.llm.kinds import OF_KEYS
from pytest_evalrun.llm.limiter import Concurrency
from pytest_evalrun.llm.refusals import Passing, Remedies, TooLong, error_in, refused
from pytest_evalrun.llm.transport import Transport, whole
from pytest_evalrun.llm.wire import Usage
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import aiohttp

    from pytest_evalrun.agents.acting.prompters import Prompter
    from pytest_evalrun.agents.acting.settings import HttpSettings
    from pytest_evalrun.agents.protocol import Conversation

KEY_REMEDY = "accepted: its key in `headers`, as in `Authorization: Bearer ${NAME}`"
PLACE_REMEDY = "a `url` where an agent is asked by POST"


class HTTPAgent:
    """Sends ``body`` with what the prompter makes of the conversation, and takes a text out of the JSON answered.

    It is asked in the asyncio thread of this process, and never asks again by itself. Tools are no part of it. Once it
    is loaded, ``budget`` says how many requests there may be.
    """

    def __init__(
        self, own: HttpSettings, root: str, event: Callable[..., object], say: Callable[[str], object]
    ) -> None:
        """Every ``${NAME}`` of ``own`` has been read; ``event`` is told of each change of the limit."""
        self.concurrency = own.concurrency
        self.budget: Budget | None = None
        self._own = own
        self._root = root
        self._event = event
        self._tools = UnseenTools("an agent behind `http`", say)
        self._format = ValueFormat(own.return_format, "response", "return_format")
        self._remedies = Remedies(own.url, "url", KEY_REMEDY, PLACE_REMEDY)
        self._prompt: Prompter
        self._transport: Transport | None = None

    def load(self) -> None:
        """Raises ConfigError for a prompter that is not there, PairError where `verify` cannot be read."""
        own = self._own
        self._prompt = prompter_of(own.prompter, self._root)
        self._transport = Transport(
            own.url,
            own.headers,
            verify=own.verify,
            root=self._root,
            proxy=own.proxy or _proxy_for(own.url, own.proxies),
            timeout=own.request_timeout,
        )
        keys = "\0".join(value for name, value in sorted(own.headers.items()) if name.lower() in OF_KEYS)
        self.budget = Budget(own.url, keys or None, Concurrency.parse(own.concurrency), event=self._event)

    async def act(self, conversation: Conversation) -> Act:
        """Ask once. Raises ContextLimit where a code of the answer says so, Passing for what may pass, SampleError for
        what another try would not change, PairError for what ends the pair.
        """
        assert self._transport is not None, "load comes first"
        self._tools.note(conversation.tools)
        body = {**self._own.body, **self._prompt(history_of(conversation.messages))}
        if conversation.generation and isinstance(body.get("seed"), int):
            body["seed"] += conversation.generation
        try:
            return await asyncio.wrap_future(self._transport.post(body, self._read))
        except TooLong as error:
            raise ContextLimit(str(error)) from None

    def close(self) -> None:
        """The connections, and what it had of the endpoint's budget."""
        budget, self.budget = self.budget, None
        if budget is not None:
            budget.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    async def _read(self, response: aiohttp.ClientResponse, _: float) -> Act:
        data = await whole(response)
        if not 200 <= response.status < 300:
            headers = {name.lower(): value for name, value in response.headers.items()}
            raise refused(response.status, headers, data, self._remedies)
        try:
            payload = parse_json(data)
        except ValueError:
            shown = data[:200].decode(errors="replace")
            raise Passing(f"{self._own.url}: the answer is no JSON: {shown!r}") from None
        return self._act(payload)

    def _act(self, payload: Any) -> Act:
        try:
            text = self._format.fill(payload)
        except SampleError:
            if (error := error_in(payload, self._remedies)) is not None:
                raise error from None
            raise
        usage = Usage.from_json(payload.get("usage")) if isinstance(payload, dict) else None
        cost = usage.cost(self._own.price) if usage is not None else None
        return Act({"role": "assistant", "content": text}, usage=usage, cost=cost)


def _proxy_for(url: str, proxies: Mapping[str, str]) -> str | None:
    """The one of several that is for this URL."""
    return proxies.get(urlsplit(url).scheme) or proxies.get("all")
