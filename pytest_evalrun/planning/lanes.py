"""Who should do what: works dealt to lanes, one a worker, so that the last one ends early and models are loaded once.

A plan only: whoever runs out of work helps the others, because expectations are wrong.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_evalrun.planning.pool import Pool
    from pytest_evalrun.planning.work import Work
    from pytest_evalrun.slots.need import Need

# Halvings of the gap between a bound that cannot be beaten and a plan that is known to fit.
HALVINGS = 12


@dataclass(eq=False)
class Group:
    """What one lane has to do of one model, longest first."""

    model: str
    need: Need
    load: float
    works: deque[Work] = field(default_factory=deque)
    seconds: float = 0.0

    def add(self, work: Work) -> None:
        self.works.append(work)
        self.seconds += work.seconds

    def pop(self) -> Work:
        work = self.works.popleft()
        self.seconds -= work.seconds
        return work

    def bring(self, suits: Callable[[Work], bool]) -> bool:
        """The first work that suits to the front, those before it to the end; False, and as before, where none does."""
        for _ in range(len(self.works)):
            if suits(self.works[0]):
                return True
            self.works.rotate(-1)
        return False

    @property
    def total(self) -> float:
        return self.load + self.seconds


Lane = deque[Group]


def deal(works: Iterable[Work], count: int, pool: Pool) -> list[Lane]:
    """``count`` lanes; what needs most comes first in each, so that it need not wait for GPUs or boards."""
    groups = _groups(works)
    lanes: list[Lane] = [deque() for _ in range(count)]
    times = [0.0] * count
    for need in sorted({group.need for group in groups}, key=_pickiest_first):
        width = min(count, max(1, pool.capacity(need))) if need else count
        chosen = sorted(range(count), key=lambda place: (times[place], place))[:width]
        same = [group for group in groups if group.need == need]
        for place, dealt in zip(chosen, _best([times[place] for place in chosen], same), strict=True):
            lanes[place] += dealt
            times[place] += sum(group.total for group in dealt)
    return lanes


def _pickiest_first(need: Need) -> tuple[object, ...]:
    """Whole GPUs, then shares of them, then boards, the fewer that would do the earlier; what needs nothing is last."""
    return -need.gpus, need.per_gpu, -need.memory, not need, len(need.devices), need.devices


def _groups(works: Iterable[Work]) -> list[Group]:
    """By model, the longest first: a model that takes longest to finish has least room to be put off."""
    found: dict[tuple[str, Need], Group] = {}
    for work in sorted(works, key=lambda work: (-work.seconds, work.place)):
        group = found.setdefault((work.model, work.need), Group(work.model, work.need, work.load))
        group.add(work)
    return sorted(found.values(), key=lambda group: -group.total)


def _best(starts: Sequence[float], groups: Sequence[Group]) -> list[Lane]:
    """The earliest end that the packing below reaches, by bisection."""
    low = max([*starts, *(group.load + group.works[0].seconds for group in groups)])
    low = max(low, (sum(starts) + sum(group.total for group in groups)) / len(starts))
    high, lanes = low, _pack(starts, groups, low)
    while lanes is None:
        low, high = high, high * 1.5
        lanes = _pack(starts, groups, high)
    for _ in range(HALVINGS if high > low else 0):
        middle = (low + high) / 2
        if (tried := _pack(starts, groups, middle)) is None:
            low = middle
        else:
            high, lanes = middle, tried
    return [deque(_copy(group) for group in lane) for lane in lanes]


def _pack(starts: Sequence[float], groups: Sequence[Group], end: float) -> list[Lane] | None:
    """Lanes that all end by ``end``, or None: each group into the tightest lane that takes it whole, else cut.

    A cut costs one more load, so the emptiest lane takes as much as it can.
    """
    room = [end - start + 1e-9 for start in starts]
    lanes: list[Lane] = [deque() for _ in starts]
    for group in groups:
        rest: Group | None = group
        while rest is not None:
            lane = _tightest(room, rest.total)
            part, rest = (rest, None) if lane is not None else _cut(rest, max(room))
            if lane is None:
                lane = room.index(max(room))
            if not part.works:
                return None
            lanes[lane].append(part)
            room[lane] -= part.total
    return lanes


def _tightest(room: Sequence[float], needed: float) -> int | None:
    fits = [(free, lane) for lane, free in enumerate(room) if free >= needed]
    return min(fits)[1] if fits else None


def _cut(group: Group, room: float) -> tuple[Group, Group]:
    """What of a group ends within ``room``, longest first, and the rest."""
    part, rest = (Group(group.model, group.need, group.load) for _ in range(2))
    for work in group.works:
        (part if part.total + work.seconds <= room else rest).add(work)
    return part, rest


def _copy(group: Group) -> Group:
    """A plan that is carried out uses its groups up; those that were only tried share theirs."""
    return Group(group.model, group.need, group.load, deque(group.works), group.seconds)
