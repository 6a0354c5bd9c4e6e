"""Models behind an OpenAI-compatible endpoint as a kind: what they need, what counts of them, how they are asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.llm.limiter import Concurrency
from pytest_evalrun.llm.settings import OF_REQUESTS, PLACEHOLDERS, EndpointSettings, endpoint_of, served_environment
from pytest_evalrun.llm.wire import endpoint_identity
from pytest_evalrun.suite.problems import found
from pytest_evalrun.suite.secrets import secret_names
from pytest_evalrun.suite.settings import ModelKind, Way
from pytest_evalrun.suite.template import files_in, names_in, portable, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from pytest_evalrun.suite.settings import Settings

_URL = re.compile(r"https?://|\$\{", re.IGNORECASE)
# Headers that hold keys.
OF_KEYS = frozenset({"authorization", "proxy-authorization", "api-key", "x-api-key"})
# Fields of a request, and the words of a suite that say them.
_SAID_ELSEWHERE = {
    "model": "model: NAME",
    "messages": "prompt: …",
    "prompt": "prompt: …",
    "n": "generations: N",
    "stream": "stream: true",
    "stream_options": "stream: true",
}


class OpenAI(ModelKind):
    """A model that is asked over HTTP, wherever it runs; with ``serve`` it is started for that."""

    Own = EndpointSettings
    version = 1
    in_yaml = frozenset({"sampling", "price", "headers", "extra_body", "prompt"})
    has_environment = True
    can_act = True
    other_words = "passed on to the program of `serve` as environment, where there is one"

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
        yield from _mistakes_of_place(own, settings.params)
        yield from _mistakes_in_fields(own)
        if settings.is_agent:
            yield from _mistakes_of_agents(own)
        elif own.prompt:
            from pytest_evalrun.llm.prompts import mistakes_in

            yield from mistakes_in(own.prompt, settings)

    @classmethod
    def way(cls, settings: Settings) -> Way:
        return Way.ENDPOINT

    @classmethod
    def identity(cls, settings: Settings, root: str, hashes: Any) -> dict[str, Any]:
        """Name the model, where it is, and what is sent; key, price, concurrency and port change no answer."""
        own = endpoint_of(settings)
        parts = endpoint_identity(own) | {
            "model_name": own.model,
            "sampling": dict(own.sampling),
            "prompt": _prompt(own, settings, root, hashes),
        }
        if own.extra_body:
            parts["extra_body"] = dict(own.extra_body)
        if own.serve:
            words = words_of(own.serve)
            parts["serve"] = [portable(word, root) for word in words]
            parts["program"] = {name: hashes.file(path) for name, path in files_in(words, root)}
            if env := served_environment(settings):
                parts["environment"] = env
        return parts

    @classmethod
    def of_the_model(cls, settings: Settings, parts: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the server is, and how it is reached; whatever is said in the requests of a pair is that pair's own."""
        words = {name: settings.words.get(name) for name in sorted(cls.words() - OF_REQUESTS)}
        return {name: parts.get(name) for name in ("model", "params", "program", "environment")} | {"words": words}

    @classmethod
    def identity_in_data(cls, settings: Settings, root: str, dataset: Any, hashes: Any) -> dict[str, Any]:
        """The content of pictures that rows name, where messages have some; a change of them changes no row."""
        own = endpoint_of(settings)
        if not own.prompt.get("messages"):
            return {}
        from pytest_evalrun.llm.prompts import named_pictures

        return named_pictures(own.prompt, settings, root, dataset, hashes)

    @classmethod
    def create(cls, settings: Settings, path: str | None, root: str) -> Any:
        raise PairError("an endpoint is no Python object; it is asked where its pair is evaluated")


def _mistakes_of_place(own: EndpointSettings, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with where the endpoint is, and how it is entered."""
    if not own.base_url and not own.serve:
        yield "adapter", "adapter openai needs an endpoint; accepted: `base_url: http://…/v1`, `serve: …`"
    if own.serve:
        yield from _mistakes_in_serve(own.serve, params)
    if own.base_url and own.serve:
        yield "base_url", "found next to serve, whose program has a URL of its own; accepted: one of both"
    elif own.base_url and not is_url(own.base_url):
        yield "base_url", f"{found(own.base_url)}; accepted: http://HOST…, https://HOST…"
    if own.api_key is not None and not secret_names(own.api_key):  # what was found may be a key: it is not shown
        yield "api_key", "found a text as it is; accepted: ${NAME} of an environment variable, nothing for no key"


def _mistakes_of_agents(own: EndpointSettings) -> Iterator[tuple[str, str]]:
    """What an agent has no use for: a task says what is asked, turn by turn."""
    if own.api != "chat":
        yield "api", f"{found(own.api)} with format agentbench; accepted: chat, for a conversation has messages"
    for name in sorted(own.prompt.keys() - {"system"}):
        yield f"prompt.{name}", "found with format agentbench, whose tasks say what is asked; accepted: prompt.system"
    if "system" in own.prompt:
        from pytest_evalrun.llm.templates import mistake_in
        from pytest_evalrun.llm.templates import names_in as columns_in

        text = own.prompt["system"]
        if mistake := mistake_in(text):
            yield "prompt.system", mistake
        elif columns := sorted(columns_in(text)):
            yield "prompt.system", f"no column {columns[0]!r}, for tasks have none; accepted: a text"


def _mistakes_in_serve(serve: str | Sequence[str], params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        named = {name for word in words_of(serve) for name in names_in(word)}
    except ConfigError as error:
        yield "serve", str(error)
        return
    known = [*PLACEHOLDERS, *params]
    for name in sorted(named.difference(known)):
        shown = ", ".join(f"{{{each}}}" for each in known)
        yield "serve", f"found the unknown placeholder {{{name}}}; accepted: {shown}, and names of params"
    if "port" not in named:
        yield "serve", "found no {port}, on which the program must listen; accepted: a command with {port}"


def _mistakes_in_fields(own: EndpointSettings) -> Iterator[tuple[str, str]]:
    try:
        Concurrency.parse(own.concurrency)
    except ConfigError as error:
        yield "concurrency", str(error).removeprefix("concurrency: ")
    yield from mistakes_in_headers(own.headers)
    yield from mistakes_in_proxy("proxy", own.proxy)
    if names := secret_names(dict(own.extra_body)):
        wanted = "accepted: texts that are no secret; ${NAME} in headers"
        yield "extra_body", f"found ${{{min(names)}}}, but what is sent is part of what counts; {wanted}"
    for word in ("sampling", "extra_body"):
        for name in sorted(_SAID_ELSEWHERE.keys() & getattr(own, word)):
            yield f"{word}.{name}", f"found a field that has a word of its own; accepted: `{_SAID_ELSEWHERE[name]}`"


def is_url(text: str) -> bool:
    """Whether it is a URL that can be asked, or will be one once ``${NAME}`` was read."""
    try:
        urlsplit(text)
    except ValueError:  # brackets that no address has
        return False
    return _URL.match(text) is not None


def mistakes_in_proxy(key: str, proxy: str | None) -> Iterator[tuple[str, str]]:
    """Tell of a proxy that speaks something else than HTTP; it may hold a password, and is not shown."""
    if proxy is not None and not is_url(proxy):
        yield key, "found no URL of a proxy that speaks HTTP; accepted: http://HOST:PORT, https://HOST:PORT"


def mistakes_in_headers(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Tell of keys that stand where everybody reads them; they are not shown."""
    for name in sorted(headers):
        if name.lower() in OF_KEYS and not secret_names(headers[name]):
            where = "accepted: ${NAME} of an environment variable, as in 'Bearer ${API_KEY}'"
            yield f"headers.{name}", f"found a text as it is; {where}"


def _prompt(own: EndpointSettings, settings: Settings, root: str, hashes: Any) -> dict[str, Any]:
    if not own.prompt:
        return {}
    from pytest_evalrun.llm.prompts import Prompt

    return Prompt(own.prompt, root=root, settings=settings).identity(hashes)
