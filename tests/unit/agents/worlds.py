"""Tasks that say how often they were loaded."""

from __future__ import annotations

from pathlib import Path


class World:
    """Has the indices that it is given, and writes a line into ``log`` each time that it is made."""

    def __init__(self, indices, log=None) -> None:
        self._indices = indices
        print("a world is made, and that is no index")
        if log:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write("made\n")

    def get_indices(self):
        if self._indices is None:
            raise LookupError("the world has ended")
        return self._indices

    async def start_sample(self, index, session): ...
