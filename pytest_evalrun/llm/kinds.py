"""Models behind an OpenAI-compatible endpoint as a kind: what they need, what counts of them, how they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.settings import EndpointSettings, endpoint_of
from pytest_evalrun.suite.settings import ModelKind, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from pytest_evalrun.suite.settings import Settings


class OpenAI(ModelKind):
    """A model that is asked over HTTP, wherever it runs; with ``serve`` it is started for that."""

    Own = EndpointSettings
    version = 1
    in_yaml = frozenset({"sampling", "price", "headers", "extra_body", "prompt"})

    @classmethod
    def schema(cls) -> type[BaseModel]:
        from pytest_evalrun.llm.schema import EndpointModel

        return EndpointModel

    @classmethod
    def own(cls, words: Mapping[str, Any]) -> EndpointSettings:
        """Make :class:`EndpointSettings` of what JSON knows; null unsets what a lower layer says."""
        chosen = {name: words[name] for name in cls.words() if words.get(name) is not None}
        if isinstance(chosen.get("serve"), list):
            chosen["serve"] = tuple(chosen["serve"])
        return EndpointSettings(**chosen)

    @classmethod
    def mistakes(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        own = endpoint_of(settings)
        if not own.base_url and not own.serve:
            yield "adapter", "adapter openai needs an endpoint; accepted: `base_url: http://…/v1`, `serve: …`"

    @classmethod
    def way(cls, settings: Settings) -> Way:
        return Way.ENDPOINT

    @classmethod
    def identity(cls, settings: Settings, root: str, hashes: Any) -> dict[str, Any]:
        """Name the model, where it is, and what is sent; key, price, concurrency and port change no answer."""
        own = endpoint_of(settings)
        parts: dict[str, Any] = {
            "endpoint": own.served_as or own.base_url,
            "model_name": own.model,
            "api": own.api,
            "sampling": dict(own.sampling),
            "prompt": dict(own.prompt),
        }
        if own.serve:
            parts["endpoint"] = own.served_as
            parts["serve"] = own.serve if isinstance(own.serve, str) else list(own.serve)
        if own.extra_body:
            parts["extra_body"] = dict(own.extra_body)
        return parts

    @classmethod
    def create(cls, settings: Settings, path: str | None, root: str) -> Any:
        raise PairError("an endpoint is no Python object; it is asked where its pair is evaluated")
