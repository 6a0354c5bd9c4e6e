"""The settings of agents behind an HTTP API of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.llm.settings import CONCURRENCY, REQUEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.suite.settings import Settings

# AgentBench's own; a JSON text is answered as it is.
RETURN_FORMAT = "{response}"


@dataclass(frozen=True)
class HttpSettings:
    """An agent that is asked by POST: where, what is sent besides the conversation, and what of the answer is taken.

    ``prompter`` has a ``name`` and ``args``, or is the name alone; ``price`` is per 1,000,000 tokens.
    """

    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    prompter: Mapping[str, Any] | str | None = None
    return_format: str = RETURN_FORMAT
    concurrency: int | str = CONCURRENCY
    request_timeout: float = REQUEST_SECONDS
    proxy: str | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    verify: str | None = None
    price: Mapping[str, Any] = field(default_factory=dict)
    served_as: str | None = None


def http_settings_of(settings: Settings) -> HttpSettings:
    """Give the own settings of a pair whose kind is ``http``."""
    own = settings.own
    assert isinstance(own, HttpSettings), "asked of agents behind an HTTP API only"
    return own
