"""The sessions that a running pair has under way, counted for people who look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

AGENT, ENVIRONMENT, SLOT = "the agent", "the environment", "a slot"


@dataclass(frozen=True)
class UnderWay:
    """How many sessions a running pair has, what they wait for, and for how many seconds the longest lasts."""

    sessions: int
    agent: int
    environment: int
    slot: int
    longest: float

    @property
    def text(self) -> str:
        waits = (self.agent, AGENT), (self.environment, ENVIRONMENT), (self.slot, SLOT)
        told = [f"{count} for {what}" for count, what in waits if count]
        if told:
            first, rest = told[0].split(" ", 1)
            told[0] = f"{first} {'waits' if first == '1' else 'wait'} {rest}"
        return ", ".join([counted(self.sessions, "session"), *told, f"longest {self.longest:.0f} s"])


def under_way(rows: Iterable[Any], now: float) -> UnderWay | None:
    """Count the sessions that a running pair has written down; None where there are none."""
    sound = [row for row in rows if isinstance(row, dict)]
    if not sound:
        return None
    waits = [_word(row.get("waiting_for")) for row in sound]
    since = [row["since"] for row in sound if type(row.get("since")) in (int, float)]
    longest = max((now - begun for begun in since), default=0.0)
    return UnderWay(
        len(sound), waits.count(AGENT), waits.count(ENVIRONMENT), waits.count(SLOT), max(0.0, longest)
    )  # fmt: skip


def _word(told: Any) -> str | None:
    """What a session waits for, in the word that is shown."""
    words = {"agent": AGENT, "environment": ENVIRONMENT, "slot": SLOT}
    return words.get(str(told).rpartition(" ")[2])
