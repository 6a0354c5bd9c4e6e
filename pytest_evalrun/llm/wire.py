"""What is sent to an OpenAI-compatible endpoint, and what its answers say."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import SampleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.llm.settings import EndpointSettings


# Prices are per so many tokens.
PRICED = 1_000_000


@dataclass(frozen=True)
class Usage:
    """Tokens of prompts, of answers, and how many of the prompts' the endpoint had in its cache."""

    input: int = 0
    output: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output, self.cached + other.cached)

    def cost(self, price: Mapping[str, Any]) -> float | None:
        """Tell what they cost at prices per 1,000,000 tokens; None where there is no price."""
        if "input" not in price and "output" not in price:
            return None
        fresh = price.get("input", 0.0)
        total = (self.input - self.cached) * fresh + self.cached * price.get("cached", fresh)
        return float(total + self.output * price.get("output", 0.0)) / PRICED

    def to_json(self) -> dict[str, int]:
        return {"input": self.input, "output": self.output, "cached": self.cached}

    @classmethod
    def from_json(cls, told: Any) -> Usage | None:
        """Read what an endpoint, or a line of ours, says; None where it says nothing that can be counted."""
        if not isinstance(told, dict):
            return None
        details = told.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else told.get("cached")
        counts = [
            told.get("prompt_tokens", told.get("input_tokens", told.get("input"))),
            told.get("completion_tokens", told.get("output_tokens", told.get("output"))),
            cached,
        ]
        if counts[0] is None and counts[1] is None:
            return None
        fresh, written, cached = (count if type(count) is int and count >= 0 else 0 for count in counts)
        return cls(fresh, written, min(cached, fresh))


PATHS = {"chat": "/chat/completions", "completions": "/completions"}
# How fields are called in which servers keep what a model thought before it answered.
_REASONING = ("reasoning_content", "reasoning")
# An answer that was ended so before its text began is an empty one; otherwise something else was answered.
CUT_SHORT = ("length", "content_filter")

# What follows the name of a model where an endpoint tells its version: a date, a number of three digits or more, v2.
_VERSION = re.compile(r"(?:[-@:](?:\d{3,}[\d-]*|v\d[\d.]*|latest))?")
_LATEST = re.compile(r"[-:]latest$")


@dataclass(frozen=True)
class Reply:
    """The answer to one request.

    ``seconds`` are those of the request that was answered, ``ttft`` those until its first token, where it was
    streamed; ``attempts`` counts the requests up to it. ``usage`` is None where the endpoint does not tell.
    ``tool_calls`` are as the endpoint wrote them, whole ones where they came piece by piece.
    """

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None
    ttft: float | None = None
    seconds: float = 0.0
    request_id: str | None = None
    model: str | None = None
    reasoning: str | None = None
    attempts: int = 1
    tool_calls: tuple[Mapping[str, Any], ...] = ()

    def detail(self, price: Mapping[str, Any]) -> dict[str, Any]:
        """What a line of predictions keeps of it besides the text; what is not known is left out."""
        told: dict[str, Any] = {
            "finish_reason": self.finish_reason,
            "usage": self.usage.to_json() if self.usage else None,
            "cost": self.usage.cost(price) if self.usage else None,
            "ttft": None if self.ttft is None else round(self.ttft, 6),
            "attempts": self.attempts,
            "request_id": self.request_id,
            "model": self.model,
            "reasoning": self.reasoning,
        }
        return {name: value for name, value in told.items() if value is not None}


def request_body(
    endpoint: EndpointSettings, content: list[dict[str, Any]] | str, generation: int = 0
) -> dict[str, Any]:
    """Make the body of a request: messages for a chat, one text for completions.

    Another generation of the same prompt has another seed, where one is given.
    """
    sent = "messages" if endpoint.api == "chat" else "prompt"
    body: dict[str, Any] = {"model": endpoint.model, sent: content, **endpoint.sampling, **endpoint.extra_body}
    if generation and isinstance(body.get("seed"), int):
        body["seed"] += generation
    if endpoint.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def digest_of(
    endpoint: EndpointSettings, body: Mapping[str, Any], generation: int = 0, files: Mapping[str, Any] | None = None
) -> str:
    """SHA-256 in hex of what an answer depends on: which endpoint, and what it is sent; not how the answer comes.

    ``files`` tells of a model that has some what is in them. Without a seed each generation is a draw of its own.
    """
    sent = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    draw = generation if "seed" not in body else 0
    told = [{**endpoint_identity(endpoint), **(files or {})}, sent, *([draw] if draw else [])]
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def endpoint_identity(endpoint: EndpointSettings) -> dict[str, Any]:
    """Name the endpoint as predictions depend on it: by the name that stands for it, its URL, or what serves it."""
    parts: dict[str, Any] = {"endpoint": endpoint.served_as or (None if endpoint.serve else endpoint.base_url)}
    parts["api"] = endpoint.api
    if endpoint.serve:
        parts["serve"] = endpoint.serve if isinstance(endpoint.serve, str) else list(endpoint.serve)
    return parts


def read_reply(payload: Any, *, any_message: bool = False) -> Reply:
    """Read a whole answer. Raises SampleError where it holds no text; of ``any_message`` calls of tools are enough, and
    nothing at all is an empty text.
    """
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise SampleError("the endpoint answered no choices: there is no text to keep")
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content = message.get("content") if "message" in choice else choice.get("text")
    content = message.get("refusal") if content is None else content
    end = text_in(choice, "finish_reason")
    return Reply(
        text=answered_text(content, end, any_message=any_message),
        finish_reason=end,
        usage=Usage.from_json(payload.get("usage")),
        request_id=text_in(payload, "id"),
        model=text_in(payload, "model"),
        reasoning=reasoning_of(message),
        tool_calls=tuple(_without_place(call) for call in tool_calls_in(message)),
    )


def is_same_model(asked: str, answered: str) -> bool:
    """Whether an answer's model is the one asked for, or a version of it: gpt-4o-2024-08-06 is gpt-4o."""
    if asked == answered:
        return True
    asked, answered = (name.lower().rpartition("/")[2] for name in (asked, answered))
    asked = _LATEST.sub("", asked)
    return answered.startswith(asked) and _VERSION.fullmatch(answered[len(asked) :]) is not None


def tool_calls_in(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of tools in a message, or in a piece of one."""
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _without_place(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call as it is sent back: its place among others is of streams alone, and some servers take no other word."""
    return {name: value for name, value in call.items() if name != "index"}


def answered_text(content: Any, end: str | None, *, any_message: bool = False) -> str:
    """The text of an answer that ended so; parts of it are joined. Raises SampleError where none was answered, unless
    there need be none.
    """
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(part for part in parts if isinstance(part, str))
    if isinstance(content, str) and (content or any_message or end != "tool_calls"):
        return content
    if content is None and (any_message or end in CUT_SHORT):
        return ""
    raise SampleError(f"the endpoint answered no text (finish_reason: {end or 'none'})")


def reasoning_of(message: Mapping[str, Any]) -> str | None:
    """What the model thought before it answered, where the endpoint tells that apart from the answer."""
    return next((text for name in _REASONING if (text := text_in(message, name))), None)


def text_in(payload: Mapping[str, Any], name: str) -> str | None:
    """The text of a field; None where it has none, or something else."""
    value = payload.get(name)
    return value if isinstance(value, str) and value else None
