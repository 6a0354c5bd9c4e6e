"""Texts with ``{placeholders}``: which they name, and what they become. ``{{`` is a brace."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PIECE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|\{[^{}]{0,20}\}?")


def names_in(text: str) -> list[str]:
    """The placeholders in the order of the text. Raises ConfigError for a brace that is neither one nor doubled."""
    found = []
    for piece in _PIECE.finditer(text):
        if piece[1]:
            found.append(piece[1])
        elif piece[0] not in ("{{", "}}"):
            raise ConfigError(f"found {piece[0]!r}; accepted: {{NAME}} for a placeholder, {{{{ for a brace")
    return found


def fill(text: str, values: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
    """The text with every placeholder replaced by its value, as ``quote`` writes it."""
    return _PIECE.sub(lambda piece: quote(values[piece[1]]) if piece[1] else piece[0][:1], text)


def escaped(text: str) -> str:
    """A text that means itself: its braces doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def words_of(command: str | Sequence[str]) -> list[str]:
    """A command as its words; a text is split as a shell splits it. Raises ConfigError for an open quote."""
    if not isinstance(command, str):
        return list(command)
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"found {command!r}, which cannot be split into words: {error}") from None
