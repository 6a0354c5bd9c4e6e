"""How long it is worth asking somebody who refuses everything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_evalrun.predicting.loop import HOPELESS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Hashable

# A request that is under way for so long is worked on: what refuses does so at once.
WORKED_ON_SECONDS = 10.0


class Patience:
    """Tells whether everything has been refused for so long that a pair is given up.

    An answer may take longer than that: nothing is given up while a request is worked on. A pause that is longer, and
    asked for, is believed, however often. Requests are told apart by whatever the caller likes; any thread may tell.
    """

    def __init__(self) -> None:
        # When the first was refused since something was answered.
        self._since: float | None = None
        self._under_way: dict[Hashable, float] = {}

    def asked(self, request: Hashable) -> None:
        self._under_way[request] = time.monotonic()

    def answered(self, request: Hashable) -> None:
        self.ended(request)
        self._since = None

    def ended(self, request: Hashable) -> None:
        """Without an answer, and without a word of when to ask again."""
        self._under_way.pop(request, None)

    def refused(self, request: Hashable, after: float | None) -> bool:
        """Say whether it is over with this one, which may be asked again ``after`` some seconds."""
        self.ended(request)
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if after is not None and after >= HOPELESS_SECONDS:
            self._since = max(self._since, now + after)
        oldest = min(list(self._under_way.values()), default=now)
        return now - self._since >= HOPELESS_SECONDS and now - oldest < WORKED_ON_SECONDS
