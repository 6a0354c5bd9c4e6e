"""Mistakes in a suite, gathered so that the user sees all of them at once."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_evalrun.suite.layers import Layer

T = TypeVar("T")

MOST_SHOWN = 20
LONGEST_SHOWN = 80
# Stands in a problem for the pair that has it: no text of a user has such a character.
PAIR = "\0"


class Problems:
    """Problems, one a line, each once, that become a single ConfigError."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def add(self, problem: str, pair: str | None = None) -> None:
        """Add a problem; ``pair`` is one that has it, and is named where ``PAIR`` stands in it."""
        pairs = self._lines.setdefault(problem, [])
        if pair is not None and pair not in pairs:
            pairs.append(pair)

    def __contains__(self, where: str) -> bool:
        """Tell whether something is wrong at a place."""
        return any(line.startswith(f"{where}:") for line in self._lines)

    def attempt(self, call: Callable[[], T], fallback: T) -> T:
        """Return what the call returns; where it raises ConfigError, the fallback, so that looking can go on."""
        try:
            return call()
        except ConfigError as error:
            self.add(str(error))
            return fallback

    def raise_any(self) -> None:
        """Raise ConfigError with all of them, a line each; of many pairs that have the same one the first is named."""
        lines = []
        for problem, pairs in self._lines.items():
            more = f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
            lines.append(problem.replace(PAIR, f"{pairs[0]}{more}", 1) if pairs else problem)
        if lines:
            raise ConfigError("\n".join(lines))


def shown(path: str) -> str:
    """Write a path as people say it: relative to where they stand, if it lies below."""
    here = os.getcwd()  # noqa: PTH109 - text in, text out
    return path[len(here) + 1 :] if path.startswith(f"{here}{os.sep}") else path


def place(source: str, line: int | None, key: str = "") -> str:
    """Write ``path:line: key``, or as much of it as is known."""
    return ": ".join(filter(None, (f"{shown(source)}:{line}" if line else shown(source), key)))


def place_in(layer: Layer, key: str) -> str:
    """Name the place where a layer says something about a key."""
    return place(layer.source, line_of(layer, key), key)


def line_of(layer: Layer, key: str) -> int | None:
    """Find the line of a dotted key; of one inside a mapping or list that has no line of its own, that one's."""
    while key and key not in layer.lines:
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return layer.lines.get(key)


def found(value: Any) -> str:
    text = repr(value)
    return f"found {text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + '…'}"


def accepted(value: str, words: Iterable[str]) -> str:
    """Write ``did you mean 'x'? accepted: x, y``."""
    known = sorted(words)
    close = difflib.get_close_matches(value, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}accepted: {some(known)}"


def some(words: Iterable[str], most: int = 60) -> str:
    """Join the words with commas, or the first of them and how many there are."""
    listed = list(words)
    return ", ".join(listed[:most]) + (f", … ({len(listed)} in all)" if len(listed) > most else "")
