"""Whose model is on which GPU or board, by our own books: to plan with, for the locks in ``slots`` are the truth."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pytest_evalrun.slots.need import Need

# A GPU or board in parts that can be shared out evenly among any number of models that one may think of.
WHOLE = 720_720


class Pool:
    """GPUs with the memory of each in GB (0 where unknown: it fits all), boards by their keys with the slots of each.

    Places are GPUs, then boards. ``needs`` are those that may come: what fewest of them can use is given away first.
    """

    def __init__(
        self, memories: Sequence[float] = (), devices: Mapping[str, int] | None = None, needs: Iterable[Need] = ()
    ) -> None:
        self.memories = tuple(memories)
        self.devices = dict(devices or {})
        self._slots = tuple(self.devices.values())
        self._places = {key: len(self.memories) + number for number, key in enumerate(self.devices)}
        self._wanted = Counter(self._places[key] for need in needs for key in need.devices if key in self._places)
        self._taken: dict[str, tuple[int, tuple[int, ...]]] = {}

    def holds(self, owner: str) -> bool:
        return owner in self._taken

    def take(self, owner: str, need: Need, without: Collection[str] = ()) -> bool:
        """Give ``owner`` what is needed instead of what it has; the models of ``without`` go. False where it cannot."""
        gone = {owner, *without}
        places = self.place(need, gone)
        if places is None:
            return False
        for name in gone:
            self.free(name)
        if places:
            self._taken[owner] = (self._share(need, places[0]), places)
        return True

    def free(self, owner: str) -> None:
        self._taken.pop(owner, None)

    def place(self, need: Need, without: Collection[str] = ()) -> tuple[int, ...] | None:
        """GPUs for a need once ``without`` have gone: shared ones first, then those with the least memory that do.

        Or a board: the one that others can make least use of, of these the freest.
        """
        return self._place(need, self._free_shares(without))

    def both(self, first: Need, second: Need, without: Collection[str]) -> bool:
        """Whether two needs can be met at once when ``without`` have gone."""
        free = self._free_shares(without)
        if first.devices:  # one of several, any of which may be what the other one needs
            return any(self._leaves(first, (place,), second, free) for place in self._fits(first, free))
        places = self._place(first, free)
        return places is not None and self._leaves(first, places, second, free)

    def _leaves(self, first: Need, places: Sequence[int], second: Need, free: Sequence[int]) -> bool:
        left = list(free)
        for place in places:
            left[place] -= self._share(first, place)
        return self._place(second, left) is not None

    def _place(self, need: Need, free: Sequence[int]) -> tuple[int, ...] | None:
        if not need:
            return ()
        fits = self._fits(need, free)
        if need.devices:
            fits.sort(key=lambda place: (self._wanted[place], -free[place], place))
            return tuple(fits[:1]) or None
        fits.sort(key=lambda place: (free[place], self.memories[place], place))
        return tuple(fits[: need.gpus]) if len(fits) >= need.gpus else None

    def _fits(self, need: Need, free: Sequence[int]) -> list[int]:
        return [place for place in self.suitable(need) if free[place] >= self._share(need, place)]

    def _share(self, need: Need, place: int) -> int:
        return WHOLE // (self._slots[place - len(self.memories)] if need.devices else need.per_gpu)

    def suitable(self, need: Need) -> Iterable[int]:
        """GPUs that are big enough, or boards that would do, free or not."""
        if need.devices:
            return (self._places[key] for key in dict.fromkeys(need.devices) if key in self._places)
        return (place for place, memory in enumerate(self.memories) if not memory or memory >= need.memory)

    def capacity(self, need: Need) -> int:
        """How many such models there is room for at once."""
        if need.devices:
            return sum(self._slots[place - len(self.memories)] for place in self.suitable(need))
        big = sum(1 for _ in self.suitable(need))
        return big * need.per_gpu // need.gpus if need and big >= need.gpus else 0

    def _free_shares(self, without: Collection[str]) -> list[int]:
        free = [WHOLE] * (len(self.memories) + len(self._slots))
        for owner, (share, places) in self._taken.items():
            for place in places if owner not in without else ():
                free[place] -= share
        return free
