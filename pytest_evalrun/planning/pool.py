"""Whose model is on which GPU, by our own books: the locks in ``slots`` are the truth, this is what is planned with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pytest_evalrun.slots.need import Need

# A GPU in parts that can be shared out evenly among any number of models that one may think of.
WHOLE = 720_720


class Pool:
    """GPUs with the memory of each in GB (0 where unknown: it fits all), and the shares of them that are taken."""

    def __init__(self, memories: Sequence[float] = ()) -> None:
        self.memories = tuple(memories)
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
        if need:
            self._taken[owner] = (WHOLE // need.per_gpu, places)
        return True

    def free(self, owner: str) -> None:
        self._taken.pop(owner, None)

    def place(self, need: Need, without: Collection[str] = ()) -> tuple[int, ...] | None:
        """GPUs for a need once ``without`` have gone: shared ones first, then those with the least memory that do."""
        return self._place(need, self._free_shares(without))

    def both(self, first: Need, second: Need, without: Collection[str]) -> bool:
        """Whether two needs can be met at once when ``without`` have gone."""
        free = self._free_shares(without)
        places = self._place(first, free)
        for place in places or ():
            free[place] -= WHOLE // first.per_gpu
        return places is not None and self._place(second, free) is not None

    def _place(self, need: Need, free: Sequence[int]) -> tuple[int, ...] | None:
        if not need:
            return ()
        share = WHOLE // need.per_gpu
        fits = [place for place in self.suitable(need) if free[place] >= share]
        fits.sort(key=lambda place: (free[place], self.memories[place], place))
        return tuple(fits[: need.gpus]) if len(fits) >= need.gpus else None

    def suitable(self, need: Need) -> Iterable[int]:
        """GPUs that are big enough, free or not."""
        return (place for place, memory in enumerate(self.memories) if not memory or memory >= need.memory)

    def capacity(self, need: Need) -> int:
        """How many such models the whole machine has room for at once."""
        big = sum(1 for _ in self.suitable(need))
        return big * need.per_gpu // need.gpus if need and big >= need.gpus else 0

    def _free_shares(self, without: Collection[str]) -> list[int]:
        free = [WHOLE] * len(self.memories)
        for owner, (share, places) in self._taken.items():
            for place in places if owner not in without else ():
                free[place] -= share
        return free
