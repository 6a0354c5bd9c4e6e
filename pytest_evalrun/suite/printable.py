"""The one place that makes text safe to show: what models, programs, boards and file names hold drives no terminal."""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from re import Match

# Controls (C0 but tab and newline, DEL, C1), line and paragraph separators, everything that turns the direction of
# writing, and halves of characters, which no encoding can write.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff"
_IN_LINES = re.compile(f"[{_UNSAFE}]")
_IN_A_LINE = re.compile(f"[{_UNSAFE}\t\n]")
# What a terminal does with it is colour, and no more: pytest writes these itself.
_BUT_COLOURS = re.compile(rf"\x1b\[[0-9;]*m|[{_UNSAFE}]")
_LINE_END = re.compile("\r\n?")


def printable(text: str, *, colours: bool = False) -> str:
    """The text with its lines and tabs; other characters that drive a terminal are shown as escapes (``\\x1b``).

    A carriage return ends a line: each state of a progress bar stays to be read, and none is written over another.
    With ``colours`` codes of colour stay as they are; only text that pytest itself has made may keep them.
    """
    if text.isprintable():
        return text
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    return _BUT_COLOURS.sub(_escaped_but_colours, text) if colours else _IN_LINES.sub(_escaped, text)


class Shown:
    """The same for what comes in pieces of bytes, whatever is cut by their ends."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._returned = False

    def feed(self, data: bytes, *, final: bool = False) -> str:
        text = self._decoder.decode(data, final)
        returned, self._returned = self._returned, text.endswith("\r") or (self._returned and not text)
        return printable(text.removeprefix("\n") if returned else text)


def one_line(value: Any) -> str:
    """Any JSON value on one line: newlines and tabs are escapes, too."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else _IN_A_LINE.sub(_escaped, text)


def brief(name: str, most: int = 80) -> str:
    """A name that others chose, on one line, cut where it is longer than anybody reads: ids may be whole texts."""
    return one_line(name if len(name) <= most else f"{name[:most]}…")


def printable_json(value: Any) -> str:
    """The value as JSON for people and programs: what JSON leaves as it is, but a terminal obeys, is ``\\u….``."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return _IN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 pair``, ``2 pairs``; ``plural`` is that of a noun that takes more than an s."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def first_of(words: Sequence[str], most: int) -> str:
    """``a, b and 3 more``: at most so many of the words, and how many there are beside them."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def as_typed(word: str) -> str:
    """Escape a word for a shell between ``$'`` and ``'``, so that it is exactly this, bytes that are no text too."""
    return _IN_A_LINE.sub(_as_typed, re.sub(r"([\\'])", r"\\\1", word))


def _as_typed(match: Match[str]) -> str:
    code = ord(match[0])
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte != code or code < 0x80 else f"\\u{code:04x}"


def _escaped(match: Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _escaped_but_colours(match: Match[str]) -> str:
    return match[0] if len(match[0]) > 1 else _escaped(match)
