"""What fits where only so many characters do: passages of lines, of which some give way to others.

A passage is whole, or is cut between two of its lines and says so, or is not there at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A passage that is cut shows at least so many lines of its body; with fewer it says less than its absence.
FEWEST = 5


@dataclass(frozen=True, eq=False)
class Passage:
    """``name`` is what is said of it where it is left out; ``head`` and ``foot`` stand whenever any of it does.

    ``more`` is the line that stands for those of the body that are left out, with ``{}`` for their count; a passage
    without one is shown whole or not at all.
    """

    name: str
    head: Sequence[str]
    body: Sequence[str]
    foot: Sequence[str] = ()
    more: str = ""

    @cached_property
    def size(self) -> int:
        """The characters of all of it, each line with its end, and of the empty line behind it."""
        return sum(len(line) + 1 for lines in (self.head, self.body, self.foot) for line in lines) + 1

    @cached_property
    def least(self) -> int:
        """The characters without which it is not shown."""
        if not self.more or len(self.body) <= FEWEST:
            return self.size
        return min(self.size, self._bare + sum(len(line) + 1 for line in self.body[:FEWEST]))

    @property
    def _bare(self) -> int:
        """Without its body, but with the line that says how much of that is left out."""
        return self.size - sum(len(line) + 1 for line in self.body) + len(self._told(len(self.body))) + 1

    def _told(self, left: int) -> str:
        return self.more.format(f"{left:,}")

    def lines(self, room: int) -> list[str]:
        """As much of it as there is room for, which is at least its ``least``."""
        if self.size <= room:
            return [*self.head, *self.body, *self.foot]
        taken, shown = self._bare, 0
        for line in self.body:
            taken += len(line) + 1
            if taken > room:
                break
            shown += 1
        return [*self.head, *self.body[:shown], self._told(len(self.body) - shown), *self.foot]


def fitted(passages: Iterable[Passage], room: int) -> dict[Passage, int]:
    """Choose which of these, most important first, are shown; with the room that each of them has.

    One for whose least no room is left is not shown. Of those that are the large ones are cut to the same size, so that
    none takes the room of the others.
    """
    chosen: list[tuple[Passage, int, int]] = []
    left = room
    for passage in passages:
        if (least := passage.least) <= left:
            chosen.append((passage, passage.size, least))
            left -= least
    low, high = 0, room
    while low < high:
        level = (low + high + 1) // 2
        if sum(min(size, max(least, level)) for _, size, least in chosen) <= room:
            low = level
        else:
            high = level - 1
    return {passage: min(size, max(least, low)) for passage, size, least in chosen}
