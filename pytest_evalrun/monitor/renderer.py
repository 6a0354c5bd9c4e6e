"""Lines of styled text, and the glyphs that a terminal can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.report.text import display_width
from pytest_evalrun.rundir.tasklist import Status
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Pieces of text, each with the name of its style; styles are named in `screen`.
Line = tuple[tuple[str, str], ...]
EMPTY: Line = ()


@dataclass(frozen=True)
class Glyphs:
    """The characters for states, bars and edges."""

    status: Mapping[Status, str]
    skipped: str
    deselected: str
    full: str
    rest: str
    cut: str
    rule: str
    edge: str
    keys: str


UNICODE = Glyphs(
    {Status.PENDING: "○", Status.RUNNING: "◐", Status.COMPLETED: "✓", Status.FAILED: "✗"},
    skipped="⊘",
    deselected="·",
    full="█",
    rest="░",
    cut="…",
    rule="─",
    edge="│",
    keys="↑↓ scroll  ←→ fold",
)
ASCII = Glyphs(
    {Status.PENDING: "o", Status.RUNNING: ">", Status.COMPLETED: "+", Status.FAILED: "x"},
    skipped="/",
    deselected=".",
    full="#",
    rest=".",
    cut="~",
    rule="-",
    edge="|",
    keys="up/down scroll  left/right fold",
)


@dataclass(frozen=True)
class Renderer:
    """Writes what an encoding can hold, and nothing that drives a terminal."""

    glyphs: Glyphs
    encoding: str

    @classmethod
    def of(cls, encoding: str | None, environ: Mapping[str, str]) -> Renderer:
        """Python itself writes UTF-8 in the C locale, where the terminal need not know it."""
        encoding = encoding or "ascii"
        try:
            ASKED.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return cls(ASCII, "ascii")
        return cls(ASCII, "ascii") if environ.get("LC_ALL") in {"C", "POSIX"} else cls(UNICODE, encoding)

    def clean(self, text: str) -> str:
        """The text on one line; characters that cannot be shown as escapes."""
        text = one_line(text)
        return text if text.isascii() else text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def cut(self, text: str, width: int) -> str:
        """The beginning of a text, no wider than ``width``."""
        if display_width(text) <= width:
            return text
        return take(text, width - 1) + self.glyphs.cut if width > 0 else ""

    def squeeze(self, text: str, width: int) -> str:
        """A name without its middle, no wider than ``width``: its end tells as much as its beginning."""
        if display_width(text) <= width:
            return text
        if width < 5:
            return self.cut(text, width)
        tail = take(text[::-1], (width - 1) // 2)[::-1]
        return take(text, width - 1 - display_width(tail)) + self.glyphs.cut + tail

    def fit(self, line: Line, width: int) -> Line:
        """The line in exactly this many columns: cut, or filled with spaces."""
        left, pieces = width, []
        for text, style in line:
            if left <= 0:
                break
            shown = self.cut(text, left)
            pieces.append((shown, style))
            left -= display_width(shown)
        return (*pieces, (" " * left, "")) if left > 0 else tuple(pieces)


ASKED = "".join((*UNICODE.status.values(), "⊘█░…─│↑↓←→"))


def take(text: str, width: int) -> str:
    """Take as much of the beginning as fits; a character of two columns is never halved."""
    used = 0
    for i, letter in enumerate(text):
        used += display_width(letter)
        if used > width:
            return text[:i]
    return text


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line).rstrip()


def pad(text: str, width: int) -> str:
    """Filled with spaces to a width in columns."""
    return text + " " * (width - display_width(text))


def widest(texts: Iterable[str]) -> int:
    return max(map(display_width, texts), default=0)


def duration(seconds: float) -> str:
    """Write seconds as people say them: ``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
