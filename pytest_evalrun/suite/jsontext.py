"""JSON that somebody else wrote, or that may be damaged: read in one place, so that no text of it ends a run."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Whoever walks through a value later (to keep it, to tell it to another process) needs a few frames a level, of the
# thousand that Python has by itself.
MOST_LEVELS = 200
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_LEVELS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
# orjson reads an integer beyond 64 bits as a float; any of fewer digits than these fits.
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19
_OPENING = re.compile(r"[\[{]")
_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(-?[0-9]{1,9})\]")


class TooDeep(ValueError):  # noqa: N818 - what is wrong; its base says that it is an error
    """Objects and lists in one another, more than anybody here walks through."""

    def __init__(self, levels: int) -> None:
        super().__init__(f"nested too deeply (at most {levels} levels)")


def parse_json(text: str | bytes, *, levels: int = MOST_LEVELS, decode: Callable[[Any], Any] = json.loads) -> Any:
    """The value of a text; ``decode`` is a decoder of json's with other hooks.

    Raises ValueError where it is no JSON, and TooDeep, a kind of that, for a value nested deeper than ``levels``: how
    deep is too deep depends on nothing else, as what was accepted once must be readable ever after.
    """
    try:
        value = decode(text)
    except RecursionError:
        raise TooDeep(levels) from None
    if len(text) > 2 * levels and _openings(text) > levels and _is_deeper(text, levels):
        raise TooDeep(levels)
    return value


def parse_line(raw: bytes, *, levels: int = MOST_LEVELS) -> Any:
    """Read the value of one of our own lines: by orjson wherever that says the same as ``parse_json``.

    Raises ValueError as ``parse_json`` does, and for what is not UTF-8.
    """
    flat = len(raw) <= 2 * levels or _openings(raw) <= levels
    if flat and _LONG_NUMBER not in raw.translate(_DIGITS):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass  # half a character, NaN, or a line that is damaged
    return parse_json(raw.decode(), levels=levels)


def parse_lines(raws: Sequence[bytes]) -> list[Any] | None:
    """The values of some of our own lines; None where one of them has to be looked at by itself.

    They are what ``parse_line`` says of each; what orjson reads otherwise is looked for in all of them at once.
    """
    if _LONG_NUMBER in b"".join(raws).translate(_DIGITS) or not raws[-1].endswith(b"\n"):
        return None
    if any(len(raw) > 2 * MOST_LEVELS and _openings(raw) > MOST_LEVELS for raw in raws):
        return None
    try:
        return list(map(orjson.loads, raws))
    except orjson.JSONDecodeError:
        return None


def _openings(text: str | bytes) -> int:
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _is_deeper(text: str | bytes, levels: int) -> bool:
    """Measure the depth of a sound text: of its brackets alone the innermost pairs are taken away, level by level."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    brackets = _TEXTS.sub(b"", data).translate(_LEVELS, _OTHERS)
    while brackets and levels:
        brackets, levels = brackets.replace(b"[]", b""), levels - 1
    return bool(brackets)


def json_path(text: str) -> tuple[str | int, ...]:
    """Split ``path.to[0].field`` into keys and places. Raises ValueError for what is no path."""
    steps: list[str | int] = []
    end = 0
    while end < len(text):
        step = _STEP.match(text, end)
        if step is None:
            raise ValueError("keys and places, as in path.to[0].field")
        steps.append(step[1] if step[2] is None else int(step[2]))
        end = step.end()
    return tuple(steps)


def value_at(value: Any, path: Sequence[str | int]) -> Any:
    """Follow a path into a value of JSON. Raises LookupError where it leads nowhere."""
    for step in path:
        fits: bool = isinstance(value, list if isinstance(step, int) else dict)
        if not fits:
            raise LookupError(step)
        value = value[step]
    return value


def values_in(text: str) -> Iterator[Any]:
    """Yield the objects and lists of JSON that stand in a text, in their order; what lies inside one is not another.

    Brackets that begin none cost time: after ten times the length of the text nothing more is looked for.
    """
    place, patience = 0, 10 * len(text) + 10_000
    while patience > 0 and (opening := _OPENING.search(text, place)):
        start = opening.start()
        try:
            value, place = _STRICTLY.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            place = start + 1
            patience -= getattr(error, "pos", start + 1_000) - start + 1
            continue
        part = text[start:place]
        if part.count("[") + part.count("{") <= MOST_LEVELS or not _is_deeper(part, MOST_LEVELS):
            yield value


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is beyond all numbers of JSON")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not of JSON")


_STRICTLY = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
