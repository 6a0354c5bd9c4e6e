"""Texts with ``{placeholders}``: which they name, what they become, and which files. ``{{`` is a brace."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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


def as_text(value: Any) -> str:
    """Write a parameter as an argument: text as it is, everything else as JSON writes it."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def portable(word: str, root: str) -> str:
    """Take the suite's own place off a word of a command: clones, other hosts and boards have another."""
    plain = fill(word, {}) if not names_in(word) else word
    return plain[len(root) + 1 :] if plain.startswith(f"{root}/") else word


def files_in(words: Iterable[str], root: str) -> Iterator[tuple[str, Path]]:
    """List the user's files that a command names, by the words for them: `python` is elsewhere on every machine.

    A word that no file can be called, too long or with a NUL in it, names none.
    """
    for word in words:
        if not names_in(word) and os.path.isfile(path := Path(root, fill(word, {}))):  # noqa: PTH113 - as said
            yield portable(word, root), path
