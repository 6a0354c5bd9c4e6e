"""The items of a launch with an engine that run here, between two looks at what jobs have reported."""

from __future__ import annotations

from collections import Counter
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
        self._waiting = list(items)
        self._one = OneByOne()
        here = [pair for item in items if (pair := pair_of(item)) is not None]
        self._shards = Counter(pair.whole.full_id for pair in (*remote, *here) if pair.is_shard)

    def add(self, item: pytest.Item) -> None:
        """Run an item here whose predictions a job has made."""
        self._waiting.append(item)

    def ended(self, pair: Pair | None) -> None:
        """Note that an item about a pair is over, wherever it ran."""
        if pair is not None and pair.is_shard:
            self._shards[pair.whole.full_id] -= 1

    @property
    def due(self) -> set[str]:
        """The node ids of those that have not run."""
        return {item.nodeid for item in self._waiting}

    @property
    def is_over(self) -> bool:
        return not self._waiting

    @property
    def has_next(self) -> bool:
        """There is one that need not wait."""
        return any(map(self._is_ready, self._waiting))

    def run_next(self) -> None:
        """Run the first item that need not wait. Raises StopIteration where none is."""
        item = next(filter(self._is_ready, self._waiting))
        self._waiting.remove(item)
        self._one.tear_down(self._session, item)
        self._one.run(item)
        self.ended(pair_of(item))

    def _is_ready(self, item: pytest.Item) -> bool:
        pair = pair_of(item)
        return pair is None or not pair.is_cut or self._shards[pair.full_id] <= 0

    def close(self) -> None:
        """Tear down whatever is still set up."""
        self._one.tear_down(self._session, None)
