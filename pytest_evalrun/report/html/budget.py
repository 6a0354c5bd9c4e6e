"""How much of each pair there is room for in a page: details before samples, pairs in trouble before the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Key = TypeVar("Key")

# A pair in trouble gets so many times the room of another.
TROUBLED = 4


@dataclass(frozen=True)
class PairRoom:
    """What a pair would take, in bytes: its detail, and its samples behind it."""

    detail: int
    samples: int
    troubled: bool = False

    @property
    def weight(self) -> int:
        return TROUBLED if self.troubled else 1


def shares_of(wanted: Mapping[Key, PairRoom], room: int) -> dict[Key, int | None]:
    """How many bytes of samples of each pair there is room for; None where there is none for its detail either."""
    with_detail: list[Key] = []
    for key in sorted(wanted, key=lambda key: not wanted[key].troubled):  # others in their order
        if wanted[key].detail <= room:
            with_detail.append(key)
            room -= wanted[key].detail
    return dict.fromkeys(wanted) | _filled(wanted, with_detail, room)


def _filled(wanted: Mapping[Key, PairRoom], keys: Sequence[Key], room: int) -> dict[Key, int | None]:
    """Everybody gets the same, times its weight, and who needs less leaves the rest to the others."""
    found: dict[Key, int | None] = {}
    weights = sum(wanted[key].weight for key in keys)
    for key in sorted(keys, key=lambda key: wanted[key].samples / wanted[key].weight):
        one = wanted[key]
        share = min(one.samples, room * one.weight // weights)
        found[key] = share
        room -= share
        weights -= one.weight
    return found
