"""What may not start before other things have ended: a pair after its shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


class Dependencies:
    """Places that wait, each for keys that are to end; true while any is left."""

    def __init__(self, after: Mapping[int, Collection[int]]) -> None:
        self._missing = {place: {*keys} for place, keys in after.items() if keys}
        self._waiting: dict[int, list[int]] = {}
        for place, keys in self._missing.items():
            for key in keys:
                self._waiting.setdefault(key, []).append(place)

    def __contains__(self, place: int) -> bool:
        return place in self._missing

    def __bool__(self) -> bool:
        return bool(self._missing)

    def over(self, keys: Iterable[int]) -> list[int]:
        """These have ended: the places that may start now."""
        touched = [(place, key) for key in keys for place in self._waiting.pop(key, ()) if place in self._missing]
        for place, key in touched:
            self._missing[place].discard(key)
        free = [place for place in dict.fromkeys(place for place, _ in touched) if not self._missing[place]]
        for place in free:
            del self._missing[place]
        return free

    def rest(self) -> list[int]:
        """All that still wait may start, whatever they wait for."""
        places = list(self._missing)
        self._missing.clear()
        return places
