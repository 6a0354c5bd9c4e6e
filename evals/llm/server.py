"""A small language model behind an OpenAI-compatible API: n-grams of any length, counted at start in ``data/*.txt``.

    python server.py --port 8000                                  http://127.0.0.1:8000/v1
    python server.py --port 0 --fault 429=every:3 --fault retry_after=ms:200

Chat, completions (``logprobs``, ``echo``), streaming, ``/v1/models``, ``/health``. Tokens are counted as its own
tokenizer cuts them, and its probabilities add up to one. As a partner of tests it does what servers do on bad days:
``--fault WHAT=WHEN``, or ``POST /faults {WHAT: WHEN}``, where null ends one.

WHAT   a status from 400 to 599; context (400, too long); stall, stall_body (until the caller goes); cut, cut_body (of
       the connection, before and in the middle of the answer); half_json; html; empty (no choices); length and
       content_filter (why the text ends); model (another name); null, tool_calls (no text); reasoning, think (before
       the text); huge (over 10 MB); no_usage; cached (half of the prompt); exit (of the server)
WHEN   all; every:K; first:N; nth:N; after:N; beyond:N (in flight); rate:N (a second); each:N (the first times of a
       prompt); contains:TEXT
Also   retry_after=seconds:2, ms:300, date:2, reset:1m30s, reset-tokens:500ms, several by commas, or none;
       delay=0.05 (seconds an answer), token_delay (a piece of a stream), canned=TEXT (answers that, without the model)

``GET /stats`` counts requests, what was answered and refused, the most in flight, and how often each prompt was asked
and answered; ``GET /requests`` shows the last thousand; ``POST /reset`` forgets both. ``--log FILE`` keeps a line a
request, for those who look when the server has gone.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import random
import re
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LOG = "EVALS_LLM_LOG"
DATA = Path(__file__).parent / "data"
TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]|\s")
END = "\x03"  # of a text, and before the first word of the next
TURN = "\nUser:"  # where in a conversation it would speak for somebody else
LONGEST = 64  # tokens that an n-gram may have
SMOOTHING = 0.02  # so many times everything shorter counts, beside what was seen after a context
HUGE = 11 * 1024 * 1024
REASON = "I remember a text in which this was said."
BEFORE = ("context", "stall", "cut", "exit")
SENDING = ("stall_body", "cut_body", "half_json", "html")
ANSWERS = (
    *("empty", "length", "content_filter", "model", "null", "tool_calls", "reasoning", "think", "huge"),
    *("no_usage", "cached"),
)
FAULTS = (*BEFORE, *SENDING, *ANSWERS)


class Model:
    """A model that continues a text as the texts did that it was trained on: the longest n-gram counts most."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._tokens = [END]
        for text in texts:
            for block in re.split(r"\n\s*\n", text.strip()):
                self._tokens += [*TOKEN.findall(block.strip()), END]
        self._counts = Counter(self._tokens[1:])
        self._total = self._counts.total() + 1  # one for all that was never seen
        self._places: dict[str, list[int]] = {}
        for place, token in enumerate(self._tokens[:-1]):
            self._places.setdefault(token, []).append(place)

    def chances(self, context: list[str]) -> dict[str, float]:
        """Give the probability of each token that was ever seen after the context's last one, and of the others.

        What is left to those never seen there stands at ``""``, to be shared as they occur (:meth:`chance`).
        """
        found: dict[int, Counter[str]] = {}
        for place in self._places.get(context[-1], ()) if context else ():
            found.setdefault(self._length(place, context), Counter())[self._tokens[place + 1]] += 1
        followers: Counter[str] = sum(found.values(), Counter())
        chances = {"": 1.0}
        for length in sorted(found):
            total = followers.total() + SMOOTHING
            chances = {token: chance * SMOOTHING / total for token, chance in chances.items()}
            for token, count in followers.items():
                chances[token] = chances.get(token, 0.0) + count / total
            followers -= found[length]
        return chances

    def _length(self, place: int, context: list[str]) -> int:
        """Count for how many tokens the text before and at a place is the end of the context."""
        most = min(LONGEST, len(context), place + 1)
        return next((n for n in range(1, most) if self._tokens[place - n] != context[-1 - n]), most)

    def chance(self, token: str, chances: Mapping[str, float]) -> float:
        return chances.get(token, 0.0) + chances[""] * self._counts.get(token, 1) / self._total

    def pick(self, chances: Mapping[str, float], temperature: float, dice: random.Random) -> str:
        if not temperature:
            likely = [token for token in chances if token] or list(self._counts)
            return max(likely, key=lambda token: self.chance(token, chances))
        weights = [self.chance(token, chances) ** (1 / temperature) for token in self._counts]
        return dice.choices(list(self._counts), weights)[0]

    def logprob(self, token: str, context: list[str], most: int) -> Piece:
        """Give a token with its logarithm, and the likeliest ones in its place."""
        chances = self.chances(context)
        ranked = sorted(chances, key=lambda other: -self.chance(other, chances))
        top = {_shown(other): math.log(self.chance(other, chances)) for other in ranked if other}
        return Piece(token, math.log(self.chance(token, chances)), dict(list(top.items())[:most]))


@dataclass(frozen=True)
class Piece:
    """A token of an answer. ``logprob`` and ``top`` are natural logarithms, where they were asked for."""

    text: str
    logprob: float | None = None
    top: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What a request asks for. ``logprobs`` is the number of likely tokens to name, -1 for none at all."""

    chat: bool
    prompt: str
    most: int
    temperature: float
    seed: int | None
    stop: tuple[str, ...]
    logprobs: int
    echo: bool
    stream: bool
    usage: bool
    digest: str


@dataclass(frozen=True)
class Reply:
    """What is answered: tokens, why they end, and how many there were."""

    asked: Asked
    model: str
    pieces: tuple[Piece, ...]
    finish: str
    counted: tuple[int, int, int]  # tokens of the prompt, of the answer, and of the prompt that were cached
    reasoning: str | None = None
    tool: bool = False
    empty: bool = False
    usage: bool = True

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


class Refused(Exception):  # noqa: N818
    """A request that gets an error, in the words of the API."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")
        kind = "server_error" if status >= 500 else kind
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def read(body: Any, *, chat: bool) -> Asked:
    """Take a request's body apart, and refuse what a server of this API refuses."""
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    if body.get("n") not in (None, 1) or body.get("best_of") not in (None, 1):
        raise Refused(400, "only n=1 is supported", "unsupported_value", "n")
    logprobs = -1
    if body.get("logprobs") not in (None, False):
        logprobs = _number(body, "top_logprobs", 0, 0, 20) if chat else _number(body, "logprobs", 0, 0, 5)
    name = "max_completion_tokens" if chat and body.get("max_completion_tokens") is not None else "max_tokens"
    stop = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise Refused(400, "stop must be a text or a list of texts", "invalid_type", "stop")
    sent = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
    return Asked(
        chat=chat,
        prompt=_conversation(body.get("messages")) if chat else _text(body.get("prompt"), "prompt"),
        most=_number(body, name, 256 if chat else 16, 0 if body.get("echo") else 1, 1_000_000),
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        seed=body.get("seed"),
        stop=(*stop, TURN) if chat else tuple(stop),
        logprobs=logprobs,
        echo=bool(body.get("echo")) and not chat,
        stream=bool(body.get("stream")),
        usage=bool((body.get("stream_options") or {}).get("include_usage")),
        digest=hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest(),
    )


def _number(body: Mapping[str, Any], name: str, default: Any, least: Any, most: Any) -> Any:
    value = default if body.get(name) is None else body[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Refused(400, f"{name} must be a number from {least} to {most}, not {value!r}", "invalid_value", name)
    return value


def _conversation(messages: Any) -> str:
    """Put messages into one text. One that ends with a colon is continued, after others the assistant speaks."""
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages must be a list of at least one", "invalid_value", "messages")
    text = ""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        said = json.dumps(calls) if content is None and calls else _text(content, "messages")
        if message.get("role") == "assistant" and text.endswith(":"):
            text += f" {said}"
        else:
            text += f"\n{str(message.get('role')).capitalize()}: {said}"
    return text.strip() if text.endswith(":") else f"{text}\nAssistant:".strip()


def _text(content: Any, name: str) -> str:
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], str):
        return content[0]
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in content)
    if not isinstance(content, str):
        raise Refused(400, f"{name} must be text", "invalid_type", name)
    return content


class Faults:
    """The faults that are switched on, and which of them hits a request."""

    def __init__(self) -> None:
        self.when: dict[str, tuple[str, str]] = {}
        self.settings: dict[str, Any] = {"retry_after": "none", "delay": 0.0, "token_delay": 0.0, "canned": None}
        self._counts: Counter[str] = Counter()
        self._taken: deque[float] = deque()

    def switch(self, what: str, value: Any) -> None:
        """Switch a fault on, or off with None; ValueError where there is none such."""
        if what in self.settings:
            usual = Faults().settings[what]
            self.settings[what] = usual if value is None else type(usual)(value) if usual is not None else str(value)
            return
        if what not in FAULTS and not re.fullmatch(r"[45]\d\d", what):
            raise ValueError(f"no fault {what!r}; there are 400 to 599, {', '.join([*FAULTS, *self.settings])}")
        self._counts[what] = 0
        if value is None:
            self.when.pop(what, None)
            return
        rule, _, number = str(value).partition(":")
        known = {"all", "every", "first", "nth", "after", "beyond", "rate", "each", "contains"}
        if rule not in known or (rule not in ("all", "contains") and not number.isdigit()):
            raise ValueError(f"fault {what} has no value {value!r}; accepted: all, contains:TEXT, {{rule}}:NUMBER")
        self.when[what] = (rule, number)

    def hit(self, asked: Asked, times: int, in_flight: int) -> str:
        """Name the fault that a request meets, the first that applies; empty where there is none."""
        self._counts.update(list(self.when))
        for what, (rule, value) in self.when.items():
            if self._applies(rule, value, self._counts[what], times, in_flight, asked):
                return what
        return ""

    def _applies(self, rule: str, value: str, count: int, times: int, in_flight: int, asked: Asked) -> bool:
        if rule in ("all", "contains"):
            return value in asked.prompt
        number = int(value)
        if rule == "rate":
            return self._too_fast(number)
        if rule == "every":
            return count % number == 0
        return {
            "first": count <= number,
            "nth": count == number,
            "after": count > number,
            "beyond": in_flight > number,
            "each": times <= number,
        }[rule]

    def _too_fast(self, number: int) -> bool:
        """Say whether so many were taken within the last second; if not, one more is."""
        now = time.monotonic()
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()
        if len(self._taken) >= number:
            return True
        self._taken.append(now)
        return False

    def headers(self) -> dict[str, str]:
        """Say when to come again, in each form that was asked for."""
        headers = {}
        for form in self.settings["retry_after"].split(","):
            name, _, value = form.partition(":")
            if name == "seconds":
                headers["Retry-After"] = value
            elif name == "ms":
                headers["retry-after-ms"] = value
            elif name == "date":
                headers["Retry-After"] = formatdate(time.time() + float(value), usegmt=True)
            elif name in ("reset", "reset-tokens"):
                of = "tokens" if name == "reset-tokens" else "requests"
                headers |= {f"x-ratelimit-remaining-{of}": "0", f"x-ratelimit-reset-{of}": value}
        return headers


class Stats:
    """What was asked, and what came of it."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        self.most = self.in_flight
        self.requests = self.answered = self.gone = 0
        self.refused: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.last: deque[dict[str, Any]] = deque(maxlen=1000)

    def shown(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "answered": self.answered,
            "refused": self.refused,
            "faults": self.faults,
            "gone": self.gone,
            "in_flight": self.in_flight,
            "most": self.most,
            "tokens": self.tokens,
            "prompts": self.asked,
            "answered_prompts": self.paid,
        }


class Server:
    """The API over a model, with its faults and its counters."""

    def __init__(
        self,
        model: Model,
        name: str,
        *,
        key: str | None = None,
        context: int = 8192,
        warm_up: float = 0,
        log: str | None = None,
    ) -> None:
        self.model = model
        self.name = name
        self.faults = Faults()
        self.stats = Stats()
        self._key = key
        self._context = context
        self._ready = time.monotonic() + warm_up
        self._started = int(time.time())
        self._log = Path(log).open("a", buffering=1) if log else None  # noqa: SIM115

    def app(self) -> web.Application:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.ask)
        app.router.add_post("/v1/completions", self.ask)
        app.router.add_get("/stats", self.show_stats)
        app.router.add_get("/requests", self.show_requests)
        app.router.add_post("/reset", self.reset)
        app.router.add_post("/faults", self.switch)
        return app

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if time.monotonic() >= self._ready else 503)

    async def models(self, request: web.Request) -> web.Response:
        try:
            self._allowed(request)
        except Refused as error:
            return web.json_response(error.body, status=error.status)
        if time.monotonic() < self._ready:
            return web.Response(status=503)
        model = {"id": self.name, "object": "model", "created": self._started, "owned_by": "evals"}
        return web.json_response({"object": "list", "data": [model]})

    async def show_stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.stats.shown())

    async def show_requests(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self.stats.last))

    async def reset(self, _request: web.Request) -> web.Response:
        self.stats.reset()
        return web.json_response({})

    async def switch(self, request: web.Request) -> web.Response:
        try:
            for what, value in (await request.json()).items():
                self.faults.switch(what, value)
        except (ValueError, AttributeError) as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)
        return web.json_response(
            self.faults.settings | {what: ":".join(when) for what, when in self.faults.when.items()}
        )

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; while it is here it is in flight."""
        stats = self.stats
        stats.requests += 1
        stats.in_flight += 1
        stats.most = max(stats.most, stats.in_flight)
        note = {"at": time.monotonic(), "path": request.path, "headers": _unsecret(request.headers), "status": None}
        stats.last.append(note)
        try:
            return await self._answered(request, note)
        except Refused as error:
            note["status"] = error.status
            stats.refused[str(error.status)] += 1
            headers = self.faults.headers() if error.status in (429, 503) else {}
            return web.json_response(error.body, status=error.status, headers=headers)
        except ConnectionAbortedError:  # by us
            return web.Response()
        except (asyncio.CancelledError, ConnectionError):
            stats.gone += 1
            raise
        finally:
            stats.in_flight -= 1
            if self._log:
                self._log.write(json.dumps({key: note.get(key) for key in ("digest", "status", "body")}) + "\n")

    async def _answered(self, request: web.Request, note: dict[str, Any]) -> web.StreamResponse:
        self._allowed(request)
        asked, name = await self._read(request, note)
        stats = self.stats
        stats.asked[asked.digest] += 1
        if fault := self.faults.hit(asked, stats.asked[asked.digest], stats.in_flight):
            stats.faults[fault] += 1
            note["fault"] = fault
            await self._fail(fault, request)
        await asyncio.sleep(self.faults.settings["delay"])
        if name != self.name:
            raise Refused(404, f"The model `{name}` does not exist.", "model_not_found", "model")
        reply = damaged(self._reply(asked), fault)
        note["status"] = 200
        sent = await self._send(request, reply, fault)
        if fault not in ("cut_body", "half_json", "html", "empty"):
            stats.answered += 1
            stats.paid[asked.digest] += 1
            stats.tokens.update(input=reply.counted[0], output=reply.counted[1])
        return sent

    def _allowed(self, request: web.Request) -> None:
        if self._key and request.headers.get("Authorization") != f"Bearer {self._key}":
            raise Refused(401, "Incorrect API key provided.", "invalid_api_key")

    async def _read(self, request: web.Request, note: dict[str, Any]) -> tuple[Asked, Any]:
        try:
            body = note["body"] = await request.json()
        except ValueError as error:
            raise Refused(400, f"the body is no JSON: {error}") from error
        asked = read(body, chat="chat" in request.path)
        note["digest"] = asked.digest
        return asked, body.get("model")

    async def _fail(self, fault: str, request: web.Request) -> None:
        """Do what a fault does before there is an answer."""
        if fault.isdigit():
            raise Refused(int(fault), f"refused with {fault}, as it was told to", _CODES.get(fault))
        if fault == "context":
            raise Refused(400, f"This model's maximum context length is {self._context} tokens.", _TOO_LONG, "messages")
        if fault == "stall":
            await asyncio.Event().wait()
        if fault == "cut" and request.transport is not None:
            request.transport.abort()
            raise ConnectionAbortedError("cut, as it was told to")
        if fault == "exit":
            os._exit(3)

    def _reply(self, asked: Asked) -> Reply:
        canned = self.faults.settings["canned"]
        before = TOKEN.findall(asked.prompt)
        if len(before) + (0 if canned is not None else 1) > self._context:
            message = f"This model's maximum context length is {self._context} tokens. You asked for {len(before)}."
            raise Refused(400, message, _TOO_LONG, "messages" if asked.chat else "prompt")
        if canned is not None:
            made, finish = [Piece(token) for token in TOKEN.findall(canned)], "stop"
        else:
            made, finish = self._continued(asked, before)
        if asked.chat and made:
            made[0] = replace(made[0], text=made[0].text.lstrip())
        pieces = made
        if asked.echo:
            pieces = list(self._echoed(asked, before)) + made
        return Reply(asked, self.name, tuple(pieces), finish, (len(before), len(made), 0))

    def _continued(self, asked: Asked, before: list[str]) -> tuple[list[Piece], str]:
        """Go on token by token until the model ends, a stop is met, or there are enough."""
        dice = random.Random(asked.seed)  # noqa: S311
        context, pieces, text = [END, *before], [], ""
        while len(pieces) < min(asked.most, self._context - len(before)):
            token = self.model.pick(self.model.chances(context), asked.temperature, dice)
            if token == END:
                return pieces, "stop"
            text += token
            if any(stop in text for stop in asked.stop):
                return _cut(pieces, token, asked.stop), "stop"
            pieces.append(self.model.logprob(token, context, asked.logprobs) if asked.logprobs >= 0 else Piece(token))
            context.append(token)
        return pieces, "length"

    def _echoed(self, asked: Asked, before: list[str]) -> Iterator[Piece]:
        """Give the prompt's own tokens; before the first there is nothing that it could be expected from."""
        for place, token in enumerate(before):
            if asked.logprobs >= 0 and place:
                yield self.model.logprob(token, [END, *before[:place]], asked.logprobs)
            else:
                yield Piece(token)

    async def _send(self, request: web.Request, reply: Reply, fault: str) -> web.StreamResponse:
        if fault == "html":
            return web.Response(text="<html><body>Welcome to nginx!</body></html>", content_type="text/html")
        if reply.asked.stream:
            return await self._stream(request, reply, fault)
        text = json.dumps(whole(reply))
        if fault == "half_json":
            text = text[: len(text) // 2]
        if fault not in ("cut_body", "stall_body"):
            return web.Response(text=text, content_type="application/json", headers=_marked(reply))
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(text))})
        await response.prepare(request)
        await response.write(text[: len(text) // 2].encode())
        await self._break(request, fault)
        return response

    async def _stream(self, request: web.Request, reply: Reply, fault: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_marked(reply)})
        await response.prepare(request)
        events = list(chunks(reply))
        for place, event in enumerate(events):
            line = f"data: {json.dumps(event)}\n\n"
            if fault in ("half_json", "cut_body", "stall_body") and place >= len(events) // 2:
                await response.write(line[: len(line) // 2].encode())
                await self._break(request, fault)
                return response
            await response.write(line.encode())
            await asyncio.sleep(self.faults.settings["token_delay"])
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _break(self, request: web.Request, fault: str) -> None:
        if fault == "stall_body":
            await asyncio.Event().wait()
        if fault == "cut_body" and request.transport is not None:
            await asyncio.sleep(0.01)  # what was written is under way
            request.transport.abort()


_TOO_LONG = "context_length_exceeded"
_CODES = {"401": "invalid_api_key", "429": "rate_limit_exceeded", "404": "model_not_found"}


def _unsecret(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "…" if name.lower() == "authorization" else value for name, value in headers.items()}


def _marked(reply: Reply) -> dict[str, str]:
    return {"x-request-id": f"req-{reply.asked.digest[:16]}"}


def _cut(pieces: list[Piece], token: str, stops: tuple[str, ...]) -> list[Piece]:
    """Leave the text before the first stop in what was said and a last token."""
    text = "".join(piece.text for piece in pieces) + token
    end = min(text.index(stop) for stop in stops if stop in text)
    kept, length = [], 0
    for piece in [*pieces, Piece(token)]:
        if length < end:
            kept.append(replace(piece, text=piece.text[: end - length]))
        length += len(piece.text)
    return kept


def damaged(reply: Reply, fault: str) -> Reply:
    """Make of a good answer what a fault makes of it."""
    if fault not in ANSWERS:
        return reply
    said = reply.pieces[: max(1, len(reply.pieces) // 2)]
    taken, given, _ = reply.counted
    changes: dict[str, dict[str, Any]] = {
        "length": {"finish": "length", "pieces": said, "counted": (taken, len(said), 0)},
        "content_filter": {"finish": "content_filter", "pieces": said, "counted": (taken, len(said), 0)},
        "empty": {"empty": True},
        "model": {"model": f"another-than-{reply.model}"},
        "null": {"pieces": (), "counted": (taken, 0, 0)},
        "tool_calls": {"pieces": (), "tool": True, "finish": "tool_calls"},
        "reasoning": {"reasoning": REASON},
        "think": {"pieces": (Piece(f"<think>{REASON}</think>"), *reply.pieces)},
        "huge": {"pieces": (Piece("x" * HUGE),)},
        "no_usage": {"usage": False},
        "cached": {"counted": (taken, given, taken // 2)},
    }
    return replace(reply, **changes[fault])


def whole(reply: Reply) -> dict[str, Any]:
    """Put an answer as one JSON object."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": reply.finish, "logprobs": _logprobs(reply, reply.pieces)}
    if reply.asked.chat:
        choice["message"] = {"role": "assistant", **_said(reply, reply.text)}
    else:
        choice["text"] = reply.text
    usage = {"usage": _usage(reply)} if reply.usage else {}
    return _head(reply) | {"choices": [] if reply.empty else [choice]} | usage


def chunks(reply: Reply) -> Iterator[dict[str, Any]]:
    """Put an answer as a stream of objects: a piece each, why it ends, and what it cost where that was asked for."""
    head = _head(reply, ".chunk")
    none = {"usage": None} if reply.asked.usage else {}
    if not reply.empty:
        for piece in reply.pieces or (Piece(""),):
            yield head | {"choices": [_part(reply, piece)]} | none
        last: dict[str, Any] = {"index": 0, "finish_reason": reply.finish, "logprobs": None}
        yield head | {"choices": [last | ({"delta": {}} if reply.asked.chat else {"text": ""})]} | none
    if reply.asked.usage and reply.usage:
        yield head | {"choices": [], "usage": _usage(reply)}


def _part(reply: Reply, piece: Piece) -> dict[str, Any]:
    part: dict[str, Any] = {"index": 0, "finish_reason": None, "logprobs": _logprobs(reply, (piece,))}
    if not reply.asked.chat:
        return part | {"text": piece.text}
    first = not reply.pieces or piece is reply.pieces[0]
    said = _said(reply, piece.text)
    return part | {"delta": {"role": "assistant", **said} if first else {"content": piece.text}}


def _said(reply: Reply, text: str) -> dict[str, Any]:
    said: dict[str, Any] = {"content": text if reply.pieces else None}
    if reply.reasoning:
        said["reasoning_content"] = reply.reasoning
    if reply.tool:
        function = {"name": "look_up", "arguments": '{"subject": "it"}'}
        said["tool_calls"] = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
    return said


def _head(reply: Reply, chunk: str = "") -> dict[str, Any]:
    kind = f"chat.completion{chunk}" if reply.asked.chat else "text_completion"
    number = f"cmpl-{reply.asked.digest[:16]}"
    return {"id": number, "object": kind, "created": int(time.time()), "model": reply.model}


def _usage(reply: Reply) -> dict[str, Any]:
    taken, given, cached = reply.counted
    counted = {"prompt_tokens": taken, "completion_tokens": given, "total_tokens": taken + given}
    return counted | {"prompt_tokens_details": {"cached_tokens": cached}}


def _logprobs(reply: Reply, pieces: tuple[Piece, ...]) -> dict[str, Any] | None:
    if reply.asked.logprobs < 0:
        return None
    if reply.asked.chat:
        return {"content": [_likely(piece.text, piece.logprob, piece.top) for piece in pieces], "refusal": None}
    ends = [sum(len(piece.text) for piece in pieces[:place]) for place in range(len(pieces))]
    return {
        "tokens": [piece.text for piece in pieces],
        "token_logprobs": [piece.logprob for piece in pieces],
        "top_logprobs": [piece.top if piece.logprob is not None else None for piece in pieces],
        "text_offset": [end + (0 if reply.asked.echo else len(reply.asked.prompt)) for end in ends],
    }


def _likely(text: str, logprob: float | None, top: Mapping[str, float]) -> dict[str, Any]:
    one = {"token": text, "logprob": logprob, "bytes": list(text.encode())}
    return one | {"top_logprobs": [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in top.items()]}


def _shown(token: str) -> str:
    return "<end>" if token == END else token


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    parser.add_argument("--model", default="ngram", help="the name by which it is asked")
    parser.add_argument("--text", type=Path, default=DATA, help="a directory of *.txt, or a file, to learn from")
    parser.add_argument("--api-key", help="ask for it")
    parser.add_argument("--context", type=int, default=8192, help="so many tokens at most")
    parser.add_argument("--warm-up", type=float, default=0.0, metavar="SECONDS", help="until then it is not ready")
    parser.add_argument("--delay", metavar="SECONDS", help="of each answer")
    parser.add_argument("--canned", metavar="TEXT", help="answer that, whatever is asked")
    parser.add_argument("--log", default=os.environ.get(LOG), help=f"a file for a line a request; default: ${LOG}")
    parser.add_argument("--fault", action="append", default=[], metavar="WHAT=WHEN")
    return parser.parse_args(argv)


async def main() -> None:
    options = parse()
    files = sorted(options.text.glob("*.txt")) if options.text.is_dir() else [options.text]
    model = Model(file.read_text(encoding="utf-8") for file in files)
    given = {"key": options.api_key, "context": options.context, "warm_up": options.warm_up, "log": options.log}
    server = Server(model, options.model, **given)
    try:
        for fault in options.fault:
            server.faults.switch(*fault.partition("=")[::2])
        for what in ("delay", "canned"):
            if (value := getattr(options, what)) is not None:
                server.faults.switch(what, value)
    except ValueError as error:
        sys.exit(f"--fault: {error}")
    # Who goes away is in flight no longer.
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port, backlog=1024)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
