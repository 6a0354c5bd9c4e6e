"""Numbers, names and columns as people read them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

_DIGITS = re.compile(r"([0-9]+)")
# An underscore inside a word is not emphasis; escaping it would only make `mlp_int8` hard to read. What begins a
# heading or a list does so only where a text begins.
_MARKDOWN = re.compile(r"[\\|`*<>\[\]&$~]|(?<!\w)_|_(?!\w)|^#(?=#* )|^[+-](?= )")
_NUMBERED = re.compile(r"^(\d{1,9})([.)] )")
# A comment that mentions somebody tells them: a model's name is not meant to.
_MENTION = re.compile(r"(?<![\w/])@(?=\w)")


@lru_cache(maxsize=8192)
def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """A sort key under which ``v2`` comes before ``v10``."""
    parts = _DIGITS.split(name.casefold())
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def number(value: float) -> str:
    """Four significant digits, more where that would need an exponent below a million."""
    if 1e4 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:#.4g}".removesuffix(".")


def display_width(text: str) -> int:
    """Columns of a terminal that the text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1


def columns(rows: Iterable[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Rows aligned by display width, two spaces between columns; the columns in ``right`` are set to the right."""
    aligned = [_column(cells, i in right) for i, cells in enumerate(zip(*rows, strict=True))]
    return ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]


def _column(cells: Iterable[str], right: bool) -> list[str]:
    shown = [cell if cell.isprintable() else one_line(cell) for cell in cells]
    widths = [display_width(cell) for cell in shown]
    widest = max(widths)
    if right:
        return [" " * (widest - width) + cell for cell, width in zip(shown, widths, strict=True)]
    return [cell + " " * (widest - width) for cell, width in zip(shown, widths, strict=True)]


def markdown_row(cells: Iterable[str]) -> str:
    """Write one line of a Markdown table."""
    return "| " + " | ".join(markdown(cell) for cell in cells) + " |"


def markdown(text: str) -> str:
    """The text as one line of Markdown that shows it literally, in a table too."""
    shown = _MARKDOWN.sub(r"\\\g<0>", one_line(text))
    if " " in shown:
        shown = _NUMBERED.sub(r"\1\\\2", shown)
    return _MENTION.sub("@<!-- -->", shown) if "@" in shown else shown
