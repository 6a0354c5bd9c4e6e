"""The samples of a pair as Inspect's log has them: one object each, and a short one for its list."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.export.chat import as_messages, plain_text, text_of
from pytest_evalrun.rundir.predictions import file_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.report.records import SampleRecord

# Inspect's own list cuts longer texts, too.
LONGEST_THIN = 1024
# An id is a part of the name of a file in a ZIP archive: whoever unpacks that stays where he is.
_LONGEST_ID = 200  # bytes
_ODD = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|^[/~]|^[A-Za-z]:|(?:^|/)\.{1,2}(?:/|$)")
_FOREIGN = re.compile(r"[^A-Za-z0-9-]+")
_HALF = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,14}")
_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter", "tool_calls": "tool_calls"}
# What of a line's detail has a place of its own in Inspect's sample.
_PLACED = frozenset({"usage", "finish_reason", "reasoning", "history", "request_id", "model", "digest"})


@dataclass(frozen=True)
class SampleMaker:
    """Makes the samples of one pair. ``binary`` are the metrics whose scores are right or wrong.

    ``embed`` makes the URL of a file that the model wrote, None where it shows none.
    """

    run: str
    pair: str
    model: str
    currency: str | None = None
    binary: frozenset[str] = frozenset()
    embed: Callable[[str], str | None] = field(default=lambda _: None)

    def whole(self, record: SampleRecord, said: Sequence[Any] | str | None) -> dict[str, Any]:
        """The sample with its conversation; ``said`` is what the model was sent."""
        name, epoch = sample_id(record), (record.generation or 0) + 1
        asked, messages, answer = self._conversation(record, said)
        for place, message in enumerate([*messages, answer] if answer else messages):
            message.setdefault("id", f"{record.index}-{epoch}-{place}")
        usage = self._usage(record)
        sample: dict[str, Any] = {
            "id": name,
            "epoch": epoch,
            "input": asked,
            "target": _target(record.reference),
            "messages": [*messages, answer] if answer else messages,
            "output": self._output(record, answer or _last_answer(messages), usage),
            "scores": self._scores(record),
            "metadata": _metadata(record, name),
            "store": {},
            "events": [],
            "model_usage": {self.model: usage} if usage else {},
            "attachments": {},
            "uuid": self._uuid(record),
        }
        if record.seconds is not None:
            sample |= {"total_time": record.seconds, "working_time": record.seconds}
        if record.failed:
            text = record.error or "it failed"
            sample["error"] = {"message": text, "traceback": text, "traceback_ansi": text}
        return sample

    def thin(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """What the list of samples shows of it."""
        asked = sample["input"]
        shown = asked if isinstance(asked, str) else "\n".join(plain_text(one["content"]) for one in asked)
        target = sample["target"]
        scores = {
            name: {key: _cut(value) if isinstance(value, str) else value for key, value in score.items()}
            for name, score in sample["scores"].items()
        }
        kept = ("id", "epoch", "model_usage", "total_time", "working_time", "uuid")
        return {
            **{name: sample[name] for name in kept if name in sample},
            "input": _cut(shown),
            "target": _cut(target) if isinstance(target, str) else [_cut(text) for text in target],
            "metadata": {key: sample["metadata"][key] for key in ("index", "status") if key in sample["metadata"]},
            "scores": scores,
            "error": _cut(sample["error"]["message"]) if "error" in sample else None,
            "completed": True,
            "message_count": len(sample["messages"]),
        }

    def _conversation(
        self, record: SampleRecord, said: Sequence[Any] | str | None
    ) -> tuple[str | list[dict[str, Any]], list[dict[str, Any]], dict[str, Any] | None]:
        """What was asked, the messages but the answer, and that; None where it is among them, or none was given."""
        history = record.detail.get("history")
        if isinstance(history, list):
            messages = as_messages(history)
            first = next((n for n, one in enumerate(messages) if one["role"] == "assistant"), len(messages))
            return [{**one, "source": "input"} for one in messages[:first]] or "", messages, None
        if said is None or isinstance(said, str):
            asked: str | list[dict[str, Any]] = _inputs(record) if said is None else said
            messages = [{"role": "user", "content": asked, "source": "input"}]
        else:
            messages = as_messages(said, "input")
            asked = [dict(message) for message in messages]
        return asked, messages, None if record.failed else self._answer(record)

    def _answer(self, record: SampleRecord) -> dict[str, Any]:
        text = text_of(record.prediction)
        content: str | list[dict[str, Any]] = text
        file = file_of(record.prediction)
        if file is not None:
            url = self.embed(file)
            content = file if url is None else [{"type": "text", "text": file}, {"type": "image", "image": url}]
        elif isinstance(reasoning := record.detail.get("reasoning"), str) and reasoning:
            content = [{"type": "reasoning", "reasoning": reasoning}, {"type": "text", "text": text}]
        return {"role": "assistant", "content": content, "source": "generate", "model": self.model}

    def _output(
        self, record: SampleRecord, answer: Mapping[str, Any] | None, usage: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        model = record.detail.get("model")
        output: dict[str, Any] = {"model": model if isinstance(model, str) else self.model, "choices": []}
        if record.failed:
            return output | {"completion": "", "error": record.error}
        reason = record.detail.get("finish_reason")
        message = answer or {"role": "assistant", "content": text_of(record.prediction), "source": "generate"}
        output["choices"] = [
            {"message": dict(message), "stop_reason": _STOPS.get(reason, "unknown") if reason else "stop"}
        ]
        output["completion"] = plain_text(message["content"])
        told = {"usage": usage, "time": record.seconds, "response_id": record.detail.get("request_id")}
        return output | {name: value for name, value in told.items() if value is not None}

    def _usage(self, record: SampleRecord) -> dict[str, Any] | None:
        told = record.detail.get("usage")
        if not isinstance(told, dict):
            return None
        read, written, cached = (_count(told.get(name)) for name in ("input", "output", "cached"))
        usage: dict[str, Any] = {
            "input_tokens": read - cached,
            "output_tokens": written,
            "total_tokens": read + written,
        }
        if cached:
            usage["input_tokens_cache_read"] = cached
        cost = record.detail.get("cost")
        if isinstance(cost, int | float) and self.currency == "USD":  # Inspect counts in dollars
            usage["total_cost"] = cost
        return usage

    def _scores(self, record: SampleRecord) -> dict[str, dict[str, Any]]:
        answer = None if record.answer is None else text_of(record.answer)
        scores: dict[str, dict[str, Any]] = {}
        for name, score in record.scores.items():
            if score is None and name not in record.judged:
                continue
            value: Any = float("nan") if score is None else score  # as Inspect writes what could not be scored
            if name in self.binary and score is not None:
                value = "C" if score else "I"
            why = record.judged.get(name, record.no_answer)
            scores[name] = {"value": value, "answer": answer}
            if why is not None:
                scores[name]["explanation"] = why
        return scores

    def _uuid(self, record: SampleRecord) -> str:
        """A name of the sample's answer in all the world, the same for each export of a run."""
        named = f"{self.run}\0{self.pair}\0{record.id}\0{record.generation or 0}"
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:22]


def sample_id(record: SampleRecord) -> str | int:
    """The id as it is; one that would lead elsewhere as the name of a file becomes another, without its odd parts.

    A plain number is one, so that samples are sorted by it.
    """
    name = record.id
    if _WHOLE.fullmatch(name):
        return int(name)
    if not _ODD.search(name) and len(name.encode()) <= _LONGEST_ID:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_FOREIGN.sub('_', name).strip('_')[:60]}-{digest}"


def _last_answer(messages: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return next((one for one in reversed(messages) if one["role"] == "assistant"), None)


def _inputs(record: SampleRecord) -> str:
    """What is known of the input as text: of several parts a line each."""
    if len(record.inputs) == 1:
        return text_of(next(iter(record.inputs.values())))
    return "\n".join(f"{name}: {text_of(value)}" for name, value in record.inputs.items())


def _target(reference: Any) -> str | list[str]:
    if isinstance(reference, list) and reference and all(isinstance(one, str) for one in reference):
        return list(reference)
    return text_of(reference)


def _metadata(record: SampleRecord, name: str | int) -> dict[str, Any]:
    """What Inspect has no place for."""
    told: dict[str, Any] = {"index": record.index}
    if str(name) != record.id:
        told["id"] = record.id
    if isinstance(record.prediction, dict) and isinstance(status := record.prediction.get("status"), str):
        told["status"] = status
    if record.prediction is not None and not isinstance(record.prediction, str):
        told["prediction"] = record.prediction
    if record.reference is not None and not isinstance(record.reference, str):
        told["reference"] = record.reference
    if record.blanked:
        told["blanked"] = True
    if record.no_answer is not None:
        told["no_answer"] = record.no_answer
    return told | {key: value for key, value in record.detail.items() if key not in _PLACED}


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_THIN else f"{text[:LONGEST_THIN]}…"


def dumped(value: Any) -> bytes:
    """One JSON value, as Inspect reads it: NaN is what could not be scored.

    Half a character, which its models do not take, stands there as the text of an escape.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _HALF.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text).encode()
