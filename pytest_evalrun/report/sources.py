"""The files of a merge: for which ranges each counts, and what reading it once has told of its order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.csvfiles import Complaints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class RangeFile:
    """A file that a program wrote, and the range ``[low, high)`` for which it counts; rows of others are left out."""

    file: Path
    low: int
    high: int


@dataclass
class Span:
    """The lowest and the highest key of a file, and whether they came in order."""

    low: Any = None
    high: Any = None
    in_order: bool = True

    def add(self, key: Any) -> None:
        if self.low is None:
            self.low = self.high = key
        elif key >= self.high:
            self.high = key
        else:
            self.in_order = False
            self.low = min(self.low, key)


@dataclass
class Source:
    """A file with all ranges for which it counts, and what the first reading of it found."""

    file: Path
    ranges: list[tuple[int, int]]
    notes: Complaints = field(default_factory=Complaints)
    header: list[str] = field(default_factory=list)
    rows: int = 0
    spans: dict[str, Span] = field(default_factory=lambda: {order: Span() for order in ("number", "position", "text")})

    def covers(self, value: int) -> bool:
        return any(low <= value < high for low, high in self.ranges)


def sources_of(parts: Iterable[RangeFile]) -> list[Source]:
    """One for each file, in the order of their first ranges."""
    found: dict[Path, Source] = {}
    for part in sorted(parts, key=lambda part: (part.low, part.high)):
        found.setdefault(part.file, Source(part.file, [])).ranges.append((part.low, part.high))
    return list(found.values())


def groups(sources: Sequence[Source], order: str) -> Iterator[tuple[list[Source], bool]]:
    """Files whose ids lie between each other's, together; and whether there is nothing to sort in them.

    In a group they stand in the order of their ranges, which is that of rows with the same id.
    """
    if order == "range":
        yield list(sources), True
        return
    place = {id(source): number for number, source in enumerate(sources)}
    filled = sorted(((s.spans[order], s) for s in sources if s.rows), key=lambda each: each[0].low)
    group: list[Source] = []
    high, in_order = None, True
    for span, source in filled:
        if group and span.low > high:
            yield sorted(group, key=lambda source: place[id(source)]), in_order
            group, high, in_order = [], None, True
        in_order = in_order and span.in_order and not group
        group.append(source)
        high = span.high if high is None else max(high, span.high)
    if group:
        yield sorted(group, key=lambda source: place[id(source)]), in_order
