"""Answers that are none: what may pass, what is the sample's own fault, and what ends the pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError, PairError, SampleError
from pytest_evalrun.llm.retryafter import retry_after
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.llm.settings import EndpointSettings

# Besides all from 500 on.
MAY_PASS = frozenset({408, 409, 425, 429})
# The server has no room: not the fault of the sample, however often.
NO_ROOM = frozenset({429, 503, 529})
UNAUTHORIZED = frozenset({401, 403})
_NOT_THERE = frozenset({404, 405})
PROXY_UNAUTHORIZED = 407
PROXY_REMEDY = "accepted: `proxy: http://NAME:PASSWORD@HOST`, where that may be `http://${PROXY_USER}@HOST`"
# What `error.code` says that no other request to this endpoint would change.
_OF_THE_PAIR = frozenset({"insufficient_quota", "unsupported_parameter", "unknown_parameter"})
SHOWN = 500
# The conversation is longer than the model's context, as `told` says it of every endpoint.
TOO_LONG = "context_length_exceeded"
# How that is called in `code` or `type`: by OpenAI, Azure and Groq; LiteLLM; llama.cpp; FastChat.
_TOO_LONG = frozenset(
    {TOO_LONG, "context_window_exceeded", "ContextWindowExceededError", "exceed_context_size_error", 40303}
)
# Who has no code for it says it in a sentence of his own, at a type of error: vLLM and SGLang, Anthropic.
_SENTENCES = {
    "BadRequestError": ("maximum context length", "longer than the model's context length"),
    "invalid_request_error": ("prompt is too long:",),
}
# The field that newer versions of vLLM name instead.
_FIELD = "input_tokens"


class Passing(EvalrunError):  # noqa: N818 - what it does; its base says that it is an error
    """A request that was not answered and may be when asked again, ``after`` so many seconds if the endpoint says so.

    ``status`` is None where there was no answer at all; ``limited`` where too much was asked at once, ``nobody`` where
    there was nobody to be asked: no fault of the sample.
    """

    def __init__(
        self,
        text: str,
        status: int | None = None,
        after: float | None = None,
        *,
        limited: bool = False,
        nobody: bool = False,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.after = after
        self.limited = limited
        self.nobody = nobody

    @property
    def counts(self) -> bool:
        """Whether it is one of the ``retries`` of its sample."""
        return self.status not in NO_ROOM and not self.nobody


class TooLong(SampleError):  # noqa: N818 - what is wrong; its base says that it is an error
    """What was sent does not fit into the model's context, by what the endpoint itself calls it."""


@dataclass(frozen=True)
class Remedies:
    """Where was asked, by which word the suite says that, and what helps where the key or the place is wrong."""

    url: str
    word: str
    key: str
    place: str

    @classmethod
    def of_endpoint(cls, endpoint: EndpointSettings) -> Remedies:
        place = "a `base_url` that the API's paths follow, as in http://…/v1, and a `model` that the endpoint knows"
        return cls(
            endpoint.base_url or "", "base_url", _remedy(endpoint.api_key), f"{place} (asked for: {endpoint.model})"
        )


def refused(status: int, headers: Mapping[str, str], body: bytes, remedies: Remedies) -> EvalrunError:
    """Make the error of an answer with an HTTP status that is none of success; names of headers in lower case."""
    return _error(status, headers, *told(body), remedies)


def _error(status: int, headers: Mapping[str, str], code: str | None, message: str, remedies: Remedies) -> EvalrunError:
    text = f"{remedies.url}: HTTP {status}{f': {message}' if message else ''}"
    if status in UNAUTHORIZED:
        return PairError(f"{text}; {remedies.key}", brief=f"HTTP {status}: {remedies.key}")
    if status == PROXY_UNAUTHORIZED:
        return PairError(f"{text}; {PROXY_REMEDY}")
    if status in _NOT_THERE or code == "model_not_found":
        return PairError(f"{text}; accepted: {remedies.place}")
    if code in _OF_THE_PAIR or status == 402:
        return PairError(text)
    if code == TOO_LONG and status not in NO_ROOM:  # a limit of tokens a minute is none of the context
        return TooLong(text)
    if status in MAY_PASS or status >= 500:
        after = retry_after(headers)
        limited = status == 429 or (status in NO_ROOM and after is not None)
        return Passing(text, status, after, limited=limited)
    if 300 <= status < 400:
        return PairError(
            f"{text}: it sends elsewhere ({headers.get('location', 'nowhere')}); accepted: that `{remedies.word}`"
        )
    return SampleError(text)


def told(body: bytes) -> tuple[str | None, str]:
    """The code and the message of an error, in the forms that endpoints give it; else the beginning of the text."""
    try:
        return _code_and_message(parse_json(body))
    except ValueError:
        return None, _shortened(body.decode(errors="replace"))


def tells_too_long(payload: Any) -> bool:
    """Whether the parsed body of a refusal says that a prompt is too long; of what status, is for who asks."""
    return _code_and_message(payload)[0] == TOO_LONG


def _code_and_message(payload: Any) -> tuple[str | None, str]:
    error = payload.get("error", payload) if isinstance(payload, dict) else payload
    if not isinstance(error, dict):
        return None, _shortened(str(error))
    code, message = error.get("code"), error.get("message", error.get("detail", error))
    code = TOO_LONG if _is_too_long(error) else code
    return code if isinstance(code, str) else None, _shortened(str(message))


def _is_too_long(error: Mapping[str, Any]) -> bool:
    """Tell by code, type and field; words count only where they are those of a server that has nothing else."""
    code, kind = error.get("code"), error.get("type")
    if any(isinstance(each, str | int) and each in _TOO_LONG for each in (code, kind)):
        return True
    sentences = _SENTENCES.get(kind, ()) if isinstance(kind, str) else ()
    said = any(sentence in str(error.get("message")) for sentence in sentences)
    return said or (bool(sentences) and error.get("param") == _FIELD)


def error_in(payload: Any, remedies: Remedies) -> EvalrunError | None:
    """Find the error in an answer of HTTP 200 that holds one in place of choices, as gateways and streams do."""
    error = payload.get("error") if isinstance(payload, dict) else None
    if not error or payload.get("choices"):
        return None
    code, message = _code_and_message(payload)
    status = error.get("code") if isinstance(error, dict) else None
    if type(status) is int and 400 <= status < 600:
        return _error(status, {}, code, message, remedies)
    if code == TOO_LONG:
        return TooLong(f"{remedies.url}: {message}")
    return Passing(f"{remedies.url}: {message}")


def _remedy(key: str | None) -> str:
    if key is None:
        return "no `api_key` is set for it; accepted: `api_key: ${NAME}` of an environment variable"
    return f"the key of `api_key: {key}` is not accepted there; look at that environment variable"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
