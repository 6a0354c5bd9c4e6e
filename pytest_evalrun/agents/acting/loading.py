"""The agents of a pair that are loaded by themselves: behind an HTTP API, and the user's own classes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.agents.acting.settings import HttpSettings
from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.secrets import expand
from pytest_evalrun.suite.settings import is_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalrun.agents.protocol import Act, Conversation
    from pytest_evalrun.llm.budget import Budget
    from pytest_evalrun.suite.pairs import Pair


class AgentServices(Protocol):
    """What an agent needs of the worker that loads it."""

    @property
    def event(self) -> Callable[..., object]: ...

    @property
    def say(self) -> Callable[[str], None]: ...


class LoadedAgent(Protocol):
    """An agent that is loaded once, asked for many samples at once, and closed.

    Once it is loaded, ``budget`` says of one behind an endpoint how many requests there may be, which others of this
    user ask, too; of others it is None, and ``concurrency`` says how many.
    """

    @property
    def budget(self) -> Budget | None: ...

    @property
    def concurrency(self) -> int | str: ...

    def load(self) -> None:
        """Take what it needs. Raises PairError."""

    async def act(self, conversation: Conversation) -> Act:
        """As :class:`pytest_evalrun.agents.protocol.Agent` says, in the asyncio thread of this process."""

    def close(self) -> None:
        """Give it back."""


def load_agent(pair: Pair, services: AgentServices) -> LoadedAgent:
    """Make the agent of a pair whose kind is ``http`` or the user's class; ``load`` makes it ready.

    ``${SECRETS}`` are read from the environment here. Raises ConfigError where one is not set.
    """
    settings = pair.settings
    if settings.adapter is not None and is_reference(settings.adapter):
        from pytest_evalrun.agents.acting.users import UsersAgent

        own, params = settings.own, expand(dict(settings.params))
        ref, path = settings.adapter, pair.task.path
        return UsersAgent(
            ref, pair.root, path, params, concurrency=own.concurrency, retry_on=own.retry_on, say=services.say
        )
    if isinstance(settings.own, HttpSettings):
        from pytest_evalrun.agents.acting.http import HTTPAgent

        opened = replace(settings.own, **expand(_with_secrets(settings.own)))
        return HTTPAgent(opened, pair.root, services.event, services.say)
    raise PairError(f"adapter {settings.adapter} is no agent that is loaded by itself")


def _with_secrets(own: HttpSettings) -> dict[str, Any]:
    """Where an agent is, and how it is entered; what it is sent holds no secrets."""
    return {"url": own.url, "headers": dict(own.headers), "proxy": own.proxy, "proxies": dict(own.proxies)}
