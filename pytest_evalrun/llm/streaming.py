"""Answers that come piece by piece, as server-sent events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import SampleError
from pytest_evalrun.llm.wire import Reply, Usage, answered_text, reasoning_of, text_in, tool_calls_in
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DONE = b"[DONE]"
_FACTS = ("id", "model")


class StreamedReply:
    """An answer that grows with each chunk of bytes; ``ttft`` is for whoever has the clock."""

    def __init__(self) -> None:
        self.ttft: float | None = None
        # Characters of its texts, and bytes of what is not whole yet: what else events consist of is not kept.
        self.size = 0
        self._rest = b""
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls = _Calls()
        self._facts: dict[str, str | None] = {}
        self._usage: Any = None
        self._end: str | None = None
        self._choices = self._done = self._damaged = False

    def feed(self, chunk: bytes) -> Iterator[Any]:
        """Take a chunk, and give each event that is whole now."""
        self.size -= len(self._rest)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self.size += len(self._rest)
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == DONE:
                self._done = True
                continue
            try:
                payload = parse_json(data)
            except ValueError:
                self._damaged = True
                continue
            if isinstance(payload, dict):
                self._take(payload)
                yield payload

    def _take(self, payload: dict[str, Any]) -> None:
        self._usage = payload.get("usage") or self._usage
        for name in _FACTS:
            self._facts[name] = text_in(payload, name) or self._facts.get(name)
        choices = payload.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return
        choice = choices[0]
        self._choices = True
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        content = delta.get("content", choice.get("text"))
        if content is None:
            content = delta.get("refusal")
        if content is not None:
            self._texts.append(answered_text(content, None))
            self.size += len(self._texts[-1])
        if thought := reasoning_of(delta):
            self._thoughts.append(thought)
            self.size += len(thought)
        for call in tool_calls_in(delta):
            self.size += self._calls.take(call)
        self._end = text_in(choice, "finish_reason") or self._end

    @property
    def has_begun(self) -> bool:
        """Whether a first token has come, be it of a thought."""
        return bool(self._thoughts or self._calls.whole) or any(self._texts)

    @property
    def is_whole(self) -> bool:
        """Whether it came to its end: a connection that is cut ends a stream, too."""
        return not self._damaged and (self._done or self._end is not None)

    def reply(self, *, any_message: bool = False) -> Reply:
        """Give the whole. Raises SampleError as :func:`pytest_evalrun.llm.wire.read_reply` does."""
        if not self._choices:
            raise SampleError("the endpoint answered no choices: there is no text to keep")
        content = "".join(self._texts) if self._texts else None
        return Reply(
            text=answered_text(content, self._end, any_message=any_message),
            finish_reason=self._end,
            usage=Usage.from_json(self._usage),
            ttft=self.ttft,
            request_id=self._facts.get("id"),
            model=self._facts.get("model"),
            reasoning="".join(self._thoughts) or None,
            tool_calls=tuple(self._calls.whole),
        )


class _Calls:
    """Calls of tools, whose arguments come piece by piece, several of them in turn."""

    def __init__(self) -> None:
        self.whole: list[dict[str, Any]] = []
        self._at: dict[Any, dict[str, Any]] = {}

    def take(self, piece: Mapping[str, Any]) -> int:
        """Add a piece to its call; returns how many characters that were.

        Which call it is of, its ``index`` says; some servers give all of them the same, and only their ids differ.
        """
        place, name = piece.get("index", len(self.whole)), text_in(piece, "id")
        call = self._at.get(place)
        if call is None or name not in (None, call["id"]):
            call = {"id": name, "type": "function", "function": {"name": "", "arguments": ""}}
            self._at[place] = call
            self.whole.append(call)
        told = {key: value for key, value in piece.items() if key not in ("index", "id", "function")}
        call.update({key: value for key, value in told.items() if value is not None})
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        more = text_in(function, "arguments") or ""
        call["function"]["arguments"] += more
        call["function"]["name"] = call["function"]["name"] or text_in(function, "name") or ""
        return len(more)
