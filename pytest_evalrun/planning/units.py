"""Items for other machines, cut into units: each is a job that the cluster may run when and where it likes."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

# What a job takes for itself: it is scheduled, an interpreter starts, pytest collects.
JOB_SECONDS = 5.0
# Halvings of the gap between a length that cannot be beaten and one that is known to do.
HALVINGS = 12


@dataclass(frozen=True)
class UnitItem:
    """An item as far as its unit goes; ``id`` is its node id.

    Items of one ``pair`` (a shard is one of its own) are never in two units. ``seconds`` are expected without ``load``,
    which each unit pays once a model. ``cls`` is the resource class: what a job needs, never looked at here.
    """

    id: str
    pair: str | None
    model: str
    seconds: float
    load: float
    cls: Hashable


@dataclass(frozen=True)
class UnitPlan:
    """What one job runs, in this order; ``seconds`` with the loads of its models."""

    items: tuple[UnitItem, ...]
    cls: Hashable
    seconds: float


def cut_units(items: Sequence[UnitItem], *, minutes: float, at_once: int) -> list[UnitPlan]:
    """Cut items into units of no more than ``minutes``, the longest first; only what is one pair may take longer.

    A model is in one unit where it fits, and small models share one. Where that gives no more units than may run
    ``at_once``, shorter and more even ones are made, which cuts models too, but only where the last then ends earlier
    by more than a job takes for itself.
    """
    groups = _groups(items)
    units = _pack(groups, minutes * 60)
    if 0 < len(units) <= at_once:
        units = _spread(groups, units, at_once)
    return [_plan(unit) for unit in sorted(units, key=lambda unit: (-unit.seconds, unit.place))]


def split_unit(plan: UnitPlan) -> list[UnitPlan]:
    """Halve a unit by its seconds, so that at most one model is in both; one that is a single pair stays whole."""
    parts = [(group, atom) for group in _groups(plan.items) for atom in group.atoms]
    if len(parts) < 2:
        return [plan]
    ahead = _lengths(parts)
    behind = [*reversed(_lengths(parts[::-1]))]
    middle = min(range(1, len(parts)), key=lambda cut: max(ahead[cut - 1], behind[cut]))
    halves = ((parts[:middle], ahead[middle - 1]), (parts[middle:], behind[middle]))
    return [
        UnitPlan(tuple(item for _, atom in half for item in atom.items), plan.cls, seconds) for half, seconds in halves
    ]


# ------------------------------------------------------------------ what belongs together


@dataclass(frozen=True)
class _Atom:
    """What is never cut: the items of a pair, or one item; ``place`` is that of its first."""

    place: int
    items: tuple[UnitItem, ...]
    seconds: float


@dataclass(frozen=True)
class _Group:
    """Atoms of one model in one unit, the longest first."""

    cls: Hashable
    load: float
    atoms: tuple[_Atom, ...]
    seconds: float

    @property
    def total(self) -> float:
        return self.load + self.seconds


@dataclass
class _Unit:
    cls: Hashable
    groups: list[_Group] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def place(self) -> int:
        return min(atom.place for group in self.groups for atom in group.atoms)

    def add(self, group: _Group) -> None:
        self.groups.append(group)
        self.seconds += group.total


def _plan(unit: _Unit) -> UnitPlan:
    items = (item for group in unit.groups for atom in group.atoms for item in atom.items)
    return UnitPlan(tuple(items), unit.cls, unit.seconds)


def _groups(items: Iterable[UnitItem]) -> list[_Group]:
    """By resource class and model, the longest first."""
    pairs: dict[Hashable, list[UnitItem]] = {}
    for place, item in enumerate(items):
        pairs.setdefault((item.cls, place if item.pair is None else item.pair), []).append(item)
    models: dict[Hashable, list[_Atom]] = {}
    for place, of_pair in enumerate(pairs.values()):
        atom = _Atom(place, tuple(of_pair), sum(item.seconds for item in of_pair))
        models.setdefault((of_pair[0].cls, of_pair[0].model), []).append(atom)
    return sorted(map(_group, models.values()), key=lambda group: -group.total)


def _group(atoms: Sequence[_Atom], load: float | None = None) -> _Group:
    items = [item for atom in atoms for item in atom.items]
    load = max(item.load for item in items) if load is None else load
    ordered = tuple(sorted(atoms, key=lambda atom: (-atom.seconds, atom.place)))
    return _Group(items[0].cls, load, ordered, sum(atom.seconds for atom in atoms))


# ------------------------------------------------------------------ how it is cut


def _pack(groups: Sequence[_Group], limit: float) -> list[_Unit]:
    """Put each model into the fullest unit that takes it whole; one that is too long for any unit is cut before."""
    units: list[_Unit] = []
    rooms: dict[Hashable, list[tuple[float, int]]] = {}
    parts = [part for group in groups for part in _parts(group, limit)]
    for part in sorted(parts, key=lambda part: (-part.total, part.atoms[0].place)):
        free = rooms.setdefault(part.cls, [])
        found = bisect_left(free, (part.total, -1))
        if found < len(free):
            room, number = free.pop(found)
        else:
            room, number = limit, len(units)
            units.append(_Unit(part.cls))
        units[number].add(part)
        insort(free, (room - part.total, number))
    return units


def _parts(group: _Group, limit: float) -> list[_Group]:
    """Cut a model that takes longer into as few even parts as do not; what takes longer by itself is one alone."""
    if group.total <= limit:
        return [group]
    room = limit - group.load
    alone = [[atom] for atom in group.atoms if atom.seconds >= room]
    rest = [atom for atom in group.atoms if atom.seconds < room]
    count = max(1, math.ceil(sum(atom.seconds for atom in rest) / room)) if rest else 0
    dealt = _deal(rest, count)
    while count < len(rest) and any(sum(atom.seconds for atom in part) > room for part in dealt):
        count = min(len(rest), count + 1 + count // 8)
        dealt = _deal(rest, count)
    return [_group(part, group.load) for part in (*alone, *dealt)]


def _deal(atoms: Sequence[_Atom], count: int) -> list[list[_Atom]]:
    """Deal atoms, which come longest first, each to whoever has least."""
    dealt: list[list[_Atom]] = [[] for _ in range(count)]
    least = [(0.0, 0, place) for place in range(count)]
    for atom in atoms:
        seconds, many, place = least[0]
        dealt[place].append(atom)
        heapq.heapreplace(least, (seconds + atom.seconds, many + 1, place))
    return [part for part in dealt if part]


def _spread(groups: Sequence[_Group], units: list[_Unit], at_once: int) -> list[_Unit]:
    """Find the shortest length that gives no more units than may run at once; ``units`` where it gains too little."""
    best, high = units, _longest(units)
    longest_pair = max(group.load + group.atoms[0].seconds for group in groups)
    limit = low = max(longest_pair, sum(group.total for group in groups) / at_once)
    for _ in range(HALVINGS):
        tried = _pack(groups, limit)
        if len(tried) <= at_once:
            best, high = min(best, tried, key=_longest), limit
        else:
            low = limit
        limit = (low + high) / 2
    return best if _longest(best) + JOB_SECONDS < _longest(units) else units


def _longest(units: Iterable[_Unit]) -> float:
    return max(unit.seconds for unit in units)


def _lengths(parts: Sequence[tuple[_Group, _Atom]]) -> list[float]:
    """Give the seconds of the first part, of the first two, and so on; a model's load once, where it begins."""
    groups = [None, *(group for group, _ in parts)]
    steps = (
        atom.seconds + (group.load if group is not before else 0.0)
        for (group, atom), before in zip(parts, groups, strict=False)
    )
    return [*accumulate(steps)]
