"""What everybody in this room speaks of: a message, who takes it somewhere, and that it did not get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pytest_evalrun.errors import EvalrunError

Occasion = Literal["start", "error", "stall", "end"]
# How good or bad it is what a message says.
Level = Literal["info", "good", "warning", "bad"]


@dataclass(frozen=True)
class Fact:
    """One thing that a message says, under a label: a line, or several."""

    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Message:
    """A title and a few facts, safe to show and without any secret; never a word that a model has written."""

    occasion: Occasion
    level: Level
    title: str
    facts: tuple[Fact, ...]


class Notifier(Protocol):
    """Takes messages to one address."""

    def send(self, message: Message, until: float) -> None:
        """Send it before ``until``, a moment of the monotonic clock. Raises NotSent."""


class NotSent(EvalrunError):  # noqa: N818 - what happened; its base says that it is an error
    """A message did not get to its address; the text says why, and what to do, in words of ours alone."""


def cut(text: str, most: int) -> str:
    """At most so many characters of a line, and that it goes on."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
