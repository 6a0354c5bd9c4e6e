"""The settings that only models behind an endpoint have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.suite.settings import Settings

# Requests under way at once, where a suite says nothing: adaptive, from the least over the first to the most.
CONCURRENCY = "10-20-100"
REQUEST_SECONDS = 600.0
READY_SECONDS = 600.0
# What is said in each request, or of what came back: who serves the model, and how it is reached, is the same.
OF_REQUESTS = frozenset({"sampling", "extra_body", "prompt", "price"})
# What `serve` may name besides the suite's parameters; `python` is the one that runs here, with its libraries.
PLACEHOLDERS = ("port", "model", "model_dir", "name", "gpus", "python")
# In `env`, too, but of the one who starts programs on boards.
_OF_BOARDS = frozenset({"REMOTE_TASK_HOME", "CLEANUP_REMOTE_WORKDIR", "CLEANUP_SHARED_MODELS"})


@dataclass(frozen=True)
class EndpointSettings:
    """A model behind an endpoint: which, where, what it is asked, and what that costs.

    ``prompt`` is what is sent of a sample (:mod:`pytest_evalrun.llm.prompts`); ``price`` is per 1,000,000 tokens.
    """

    model: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    api: str = "chat"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int | str = CONCURRENCY
    price: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    verify: str | None = None
    proxy: str | None = None
    stream: bool = False
    request_timeout: float = REQUEST_SECONDS
    served_as: str | None = None
    serve: str | tuple[str, ...] | None = None
    ready: str = "/v1/models"
    ready_timeout: float = READY_SECONDS
    prompt: Mapping[str, Any] = field(default_factory=dict)


def served_environment(settings: Settings) -> dict[str, str]:
    """What is added to the environment of a program that serves the model, before ``${SECRETS}`` are read."""
    return {name: value for name, value in settings.env.items() if name not in _OF_BOARDS}


def endpoint_of(settings: Settings) -> EndpointSettings:
    """Give the own settings of a pair that is known to be asked over an endpoint."""
    own = settings.own
    assert isinstance(own, EndpointSettings), "asked of endpoints only"
    return own
