"""One piece of work for one worker: an item, or a module whose items must stay together."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_evalrun.slots.need import Need


@dataclass(frozen=True)
class Work:
    """``seconds`` are expected without ``load``, which is paid by a worker that does not hold ``model`` yet.

    ``place`` names the work to whoever made it; nothing here looks at it.
    """

    place: int
    model: str
    seconds: float
    load: float = 0.0
    need: Need = field(default=Need())
