"""Which jobs' reports are looked at now: of many, some each time, for every look asks the disk that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

# So many each time; of more, a part, so that each has its turn within TURNS times.
AT_A_TIME, TURNS = 16, 4

T = TypeVar("T")


class Rota:
    """Remembers whose turn it is."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, found: Sequence[T]) -> list[T]:
        """Give those whose turn it is; ``found`` are all, in an order that stays the same while none comes or goes."""
        share = max(AT_A_TIME, -(-len(found) // TURNS))
        first = self._next if self._next < len(found) else 0
        self._next = first + share
        return list(found[first : self._next])
