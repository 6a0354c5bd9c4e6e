"""Agents behind an HTTP API of their own as a kind: AgentBench's HTTPAgent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.acting.settings import HttpSettings, http_settings_of
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.llm.kinds import is_url, mistakes_in_headers, mistakes_in_proxy
from pytest_evalrun.llm.limiter import Concurrency
from pytest_evalrun.suite.problems import found, some
from pytest_evalrun.suite.secrets import secret_names
from pytest_evalrun.suite.settings import OF_TASKS, ModelKind, is_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from pytest_evalrun.suite.settings import Settings

SCHEMES = ("http", "https", "all")
# What is sent, or says what is taken of an answer: no secret can stand there.
_COUNTED = ("body", "prompter", "return_format")


class Http(ModelKind):
    """An agent that is asked by HTTP, in the form that its settings say."""

    Own = HttpSettings
    version = 1
    can_act = True
    in_yaml = frozenset({"headers", "body", "prompter", "proxies", "price"})

    @classmethod
    def schema(cls) -> type[BaseModel]:
        from pytest_evalrun.agents.acting.schema import HttpModel

        return HttpModel

    @classmethod
    def own(cls, words: Mapping[str, Any]) -> HttpSettings:
        """Make :class:`HttpSettings` of what JSON knows; null unsets what a lower layer says."""
        return HttpSettings(**{name: words[name] for name in cls.words() if words.get(name) is not None})

    @classmethod
    def mistakes(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        own = http_settings_of(settings)
        if not settings.is_agent:
            wanted = f"accepted: `format: {OF_TASKS}`, adapter openai for samples"
            yield "adapter", f"found http with format {settings.format}, but it is an agent, which has tasks; {wanted}"
        if not is_url(own.url):
            yield "url", f"{found(own.url)}; accepted: http://HOST…, https://HOST…"
        yield from mistakes_in_headers(own.headers)
        yield from _mistakes_in_what_is_said(own)
        try:
            Concurrency.parse(own.concurrency)
        except ConfigError as error:
            yield "concurrency", str(error).removeprefix("concurrency: ")
        if own.proxy and own.proxies:
            yield "proxies", "found next to proxy; accepted: one of both"
        yield from mistakes_in_proxy("proxy", own.proxy)
        for name, proxy in sorted(own.proxies.items()):
            if name not in SCHEMES:
                yield f"proxies.{name}", f"found another scheme; accepted: {some(SCHEMES)}"
            yield from mistakes_in_proxy(f"proxies.{name}", proxy)

    @classmethod
    def identity(cls, settings: Settings, root: str, hashes: Any) -> dict[str, Any]:
        """Name where the agent is, what it is sent, and what of its answer is taken; key, price and number change none
        of its answers.
        """
        from pytest_evalrun.agents.acting.prompters import named_prompter
        from pytest_evalrun.suite.objects import source_file

        own = http_settings_of(settings)
        name, args = named_prompter(own.prompter)
        prompter: dict[str, Any] = {"name": name, "args": args}
        if is_reference(name) and (source := source_file(name, root)) is not None:
            prompter["content"] = hashes.file(source)
        return {
            "endpoint": own.served_as or own.url,
            "body": dict(own.body),
            "prompter": prompter,
            "return_format": own.return_format,
        }

    @classmethod
    def of_the_model(cls, settings: Settings, parts: Mapping[str, Any]) -> Mapping[str, Any]:
        """How it is reached is part of an agent that is loaded, too."""
        return {**parts, "words": {name: settings.words.get(name) for name in sorted(cls.words())}}

    @classmethod
    def create(cls, settings: Settings, path: str | None, root: str) -> Any:
        raise PairError("an agent is no Python object; it is asked where its pair is evaluated")


def _mistakes_in_what_is_said(own: HttpSettings) -> Iterator[tuple[str, str]]:
    from pytest_evalrun.agents.acting.formats import ValueFormat
    from pytest_evalrun.agents.acting.prompters import mistake_in_prompter

    for word in _COUNTED:
        if names := secret_names(getattr(own, word)):
            wanted = "accepted: texts that are no secret; ${NAME} in headers"
            yield word, f"found ${{{min(names)}}}, but what is sent is part of what counts; {wanted}"
    if mistake := mistake_in_prompter(own.prompter):
        yield mistake
    try:
        ValueFormat(own.return_format, "response", "return_format")
    except ConfigError as error:
        yield "return_format", str(error).removeprefix("return_format: ")
