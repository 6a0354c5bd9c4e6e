"""The items of a launch with an engine that run here, between two looks at what jobs have reported."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from pytest_evalrun.plugin.items import pair_of
from pytest_evalrun.plugin.onebyone import OneByOne

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_evalrun.suite.pairs import Pair


class LocalItems:
    """``remote`` are the pairs whose items run elsewhere: a pair of shards waits for those of them that are its own."""

    def __init__(self, session: pytest.Session, items: Sequence[pytest.Item], remote: Sequence[Pair]) -> None:
        self._session = session
        self._one = OneByOne()
        here = [pair for item in items if (pair := pair_of(item)) is not None]
        self._shards = Counter(pair.whole.full_id for pair in (*remote, *here) if pair.is_shard)
        # Looked at many times a second, whatever waits: of 10,000 pairs none is asked whether it still has to.
        self._ready: deque[pytest.Item] = deque()
        self._held: dict[str, list[pytest.Item]] = {}
        for item in items:
            self.add(item)

    def add(self, item: pytest.Item) -> None:
        """Run an item here, also one whose predictions a job has made, as soon as it need not wait."""
        pair = pair_of(item)
        if pair is not None and pair.is_cut and self._shards[pair.full_id] > 0:
            self._held.setdefault(pair.full_id, []).append(item)
        else:
            self._ready.append(item)

    def ended(self, pair: Pair | None) -> None:
        """Note that an item about a pair is over, wherever it ran."""
        if pair is None or not pair.is_shard:
            return
        whole = pair.whole.full_id
        self._shards[whole] -= 1
        if self._shards[whole] <= 0:
            self._ready.extend(self._held.pop(whole, ()))

    @property
    def due(self) -> set[str]:
        """The node ids of those that have not run."""
        return {item.nodeid for items in (self._ready, *self._held.values()) for item in items}

    @property
    def is_over(self) -> bool:
        return not (self._ready or self._held)

    @property
    def has_next(self) -> bool:
        """There is one that need not wait."""
        return bool(self._ready)

    def run_next(self) -> None:
        """Run the first item that need not wait. Raises IndexError where none is."""
        item = self._ready.popleft()
        self._one.tear_down(self._session, item)
        self._one.run(item)
        self.ended(pair_of(item))

    def close(self) -> None:
        """Tear down whatever is still set up."""
        self._one.tear_down(self._session, None)
