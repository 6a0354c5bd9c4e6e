"""Alarms of a run: which gates got worse for certain, though many were looked at; no outcome follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LEVEL = 0.05


@dataclass(frozen=True)
class Alarm:
    """A gate whose metric got worse: ``p`` as if it were the only one, ``adjusted`` for all that were looked at.

    ``change`` is the difference from the baseline in the metric's own unit, ``tier`` critical or supporting.
    """

    pair: str
    metric: str
    tier: str
    p: float
    adjusted: float
    change: float
    baseline: str


@dataclass(frozen=True)
class Alarms:
    """Of one suite: ``found`` are smallest adjusted p first; ``looked_at`` counts the gates by tier.

    ``chance`` is that all gates would PASS if nothing had changed, taken as independent; None where none was compared
    sample by sample. ``gates`` are so many.
    """

    suite: str
    found: tuple[Alarm, ...]
    looked_at: Mapping[str, int]
    chance: float | None
    gates: int

    def lines(self) -> Iterator[str]:
        """Tell a person: nothing where no gate was compared sample by sample."""
        raise NotImplementedError


def alarms_of(suite: str, gates: Iterable[tuple[str, Mapping[str, Any]]]) -> Alarms:
    """Look at all gates of a suite's results, as (full id of the pair, gate as its result has it).

    Holm over those that are critical, Benjamini and Hochberg over supporting ones; advisory ones are left out.
    """
    raise NotImplementedError
