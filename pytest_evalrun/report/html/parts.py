"""Values of samples as the page shows them: safe text cut at a length, pictures within it, files as links."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.media import picture_kind
from pytest_evalrun.report.html.pictures import Pictures, is_shown, picture_in
from pytest_evalrun.rundir.predictions import file_of
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.report.records import SampleRecord
    from pytest_evalrun.suite.secrets import Secrets

    Part = dict[str, Any]

# So many characters of a text are shown, and of all messages of a conversation together.
LONGEST = 4_000
SHORT = 200
LONGEST_TALK = 16_000
MOST_MESSAGES = 100
# Longer ids and reasons are no lines any more.
LONGEST_LINE = 500
CONVERSATION = "conversation"
NONE: Part = {"kind": "none"}


def no_link(_: Path) -> str | None:
    """Nobody can be led to a file."""
    return None


@dataclass(frozen=True)
class FilePlaces:
    """Where the files of a pair's samples lie: ``written`` those of its model, ``data`` those of its dataset.

    ``link`` makes the address of a file, None for one that the page must not lead to.
    """

    written: Path | None = None
    data: Path | None = None
    link: Callable[[Path], str | None] = no_link


@dataclass(frozen=True)
class Parts:
    """Makes parts of values and records of samples; ``pictures`` says how many bytes of them there may be."""

    places: FilePlaces = FilePlaces()
    secrets: Secrets = NO_SECRETS
    pictures: Pictures = field(default_factory=Pictures)
    longest: int = LONGEST

    def record(self, sample: SampleRecord, flip: dict[str, str] | None = None) -> dict[str, Any]:
        """One answer to one sample; ``flip`` says which metrics judge it otherwise than another run."""
        line = self.line
        inputs = [{"name": line(name), "part": self.part(value)} for name, value in sample.inputs.items()]
        if isinstance(talk := sample.detail.get("history"), list) and talk:
            inputs.append({"name": CONVERSATION, "part": self._talk(talk)})
        return {
            "i": sample.index,
            "g": sample.generation,
            "id": line(sample.id),
            "failed": sample.failed,
            "inputs": inputs,
            "prediction": self.prediction(sample.prediction),
            "reference": self.part(sample.reference),
            "answer": None if sample.answer is None else self._brief(sample.answer),
            "no_answer": None if sample.no_answer is None else line(sample.no_answer),
            "scores": sample.scores,
            "error": None if sample.error is None else self._cut(str(sample.error))["text"],
            "seconds": sample.seconds,
            "judge": [
                {"metric": name, "score": sample.scores.get(name), "text": self._cut(text)["text"]}
                for name, text in sample.judged.items()
            ],
            "flip": flip or {},
        }

    def prediction(self, value: Any) -> Part:
        """What a model answered; what names a file that it wrote is that file."""
        name = file_of(value) if isinstance(value, dict) else None
        if name is None:
            return self.part(value)
        place = self.places.written
        return self.file(place / name, below=place) if place is not None else self._named(name)

    def part(self, value: Any) -> Part:
        """Any value of a dataset or a prediction."""
        if isinstance(value, str):
            if (
                len(value) <= SHORT
                and not self.secrets
                and "." not in value
                and value[:5] != "data:"
                and value.isprintable()
            ):
                return {"kind": "text", "text": value}  # no picture of any kind: most texts
            return self._text(value)
        if value is None:
            return NONE
        if isinstance(value, Path):
            return self.file(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"kind": "number", "text": json.dumps(value)}
        if isinstance(value, bytes | bytearray):
            return self._bytes(bytes(value))
        return self._structure(value)

    def file(self, path: Path, *, below: Path | None = None) -> Part:
        """A picture that is small enough, or made so, is part of the page; of others there is the name and a link.

        What leads out of ``below``, by links too, is named only.
        """
        if below is not None and not _is_below(path, below):
            return self._named(path.name)
        href = self.places.link(path)
        if is_shown(path.name) and (found := self.pictures.of_file(path)) is not None:
            return found
        return self._named(path.name, href)

    def line(self, text: Any) -> str:
        """A name or a reason, cut where it is no line any more."""
        text = text if isinstance(text, str) else str(text)
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}…"
        shown = text if text.isprintable() else printable(text)
        return self.secrets.blank(shown) if self.secrets else shown

    def _named(self, name: str, href: str | None = None) -> Part:
        return {"kind": "file", "name": self.line(name), "href": href}

    def _text(self, text: str) -> Part:
        if text.startswith("data:image/") and (found := picture_in(text)) is not None:
            return self.pictures.of_bytes(found) or self._cut(text, longest=LONGEST_LINE)
        place = self.places.data
        if place is not None and len(text) < LONGEST_LINE and is_shown(text) and _is_below(place / text, place):
            return self.file(place / text)
        return self._cut(text)

    def _cut(self, text: str, kind: str = "text", longest: int = 0) -> Part:
        """A text as it is, or its beginning and how much more there is of it."""
        most = longest or self.longest
        if self.secrets:  # before it is cut: the rest of a secret is not known for one
            text = self.secrets.blank(text)
        if len(text) <= most:
            return {"kind": kind, "text": printable(text)}
        return {"kind": kind, "text": printable(text[:most]), "cut": len(text) - most}

    def _brief(self, value: Any) -> str:
        text: str = self._cut(value if isinstance(value, str) else _as_json(value))["text"]
        return text

    def _bytes(self, content: bytes) -> Part:
        shown = self.pictures.of_bytes(content) if picture_kind(content) else None
        return shown or self._named(f"{len(content):,} bytes")

    def _structure(self, value: Any) -> Part:
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes | bytearray):
            return self._bytes(bytes(value["bytes"]))
        if is_talk(value):
            return self._talk(value)
        return self._cut(_as_json(value), "json")

    def _talk(self, messages: Sequence[Any]) -> Part:
        """Messages with their roles; what there is no room for is counted in the last of them."""
        shown, room = [], LONGEST_TALK
        for message in messages[:MOST_MESSAGES]:
            if room <= 0:
                break
            role, text = _said(message)
            part = self._cut(text, longest=min(room, self.longest))
            left = f" … {part['cut']:,} characters more" if "cut" in part else ""
            shown.append({"role": self.line(role), "text": part["text"] + left})
            room -= len(part["text"])
        if len(shown) < len(messages):
            shown.append({"role": "…", "text": f"{len(messages) - len(shown)} messages more"})
        return {"kind": "messages", "messages": shown}


def is_talk(value: Any) -> bool:
    """Tell whether a value is a conversation: messages that each have a role."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in value)
    )


def _said(message: Any) -> tuple[str, str]:
    """Who said what; of a message in parts the texts, and whatever else it has as JSON."""
    if not isinstance(message, dict):
        return "?", message if isinstance(message, str) else _as_json(message)
    content, rest = message.get("content"), {k: v for k, v in message.items() if k not in ("role", "content")}
    if isinstance(content, list):
        texts = [one["text"] for one in content if isinstance(one, dict) and isinstance(one.get("text"), str)]
        text = "\n".join(texts) if texts else _as_json(content)
    else:
        text = content if isinstance(content, str) else "" if content is None else _as_json(content)
    calls = rest.get("tool_calls")
    return str(message.get("role", "?")), "\n".join(filter(None, [text, _as_json(calls) if calls else ""]))


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1, default=str)
    except (ValueError, TypeError, RecursionError):
        return f"<{type(value).__name__}>"


def _is_below(path: Path, place: Path) -> bool:
    """Tell whether a file lies in a directory, whatever links are on the way."""
    try:
        return path.resolve().is_relative_to(place.resolve())
    except (OSError, ValueError):
        return False
