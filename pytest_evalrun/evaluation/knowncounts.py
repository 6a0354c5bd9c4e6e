"""How many samples data have, as far as the cache of hashes knows: nothing is read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.evaluation.cuts import TABLES, DatasetFacts
from pytest_evalrun.rundir.hashes import HashCache, HashCaches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_evalrun.suite.pairs import Pair


class KnownCounts:
    """Counts of tables that were read before, and have not changed since; others are not looked at."""

    def __init__(self, hashes: Path) -> None:
        self._hashes = hashes
        self._caches = HashCaches(hashes, lambda _: None, _OnlyKnown)
        self._facts = DatasetFacts(self._caches.of)

    def count(self, pair: Pair) -> int | None:
        """The samples of a pair; None where nobody has counted them."""
        if pair.settings.format not in TABLES or not self._hashes.is_file():
            return None
        return self._facts.count(pair) or None

    def close(self) -> None:
        self._caches.close()


class _OnlyKnown(HashCache):
    """Raises LookupError for what it would have to read."""

    def file(self, path: Path) -> str:
        raise LookupError(path)

    def tree(self, root: Path, names: Iterable[str]) -> str:  # noqa: ARG002 - as the cache has it
        raise LookupError(root)

    def derived(self, path: Path, kind: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        def unknown() -> dict[str, Any]:
            raise LookupError(path)

        return super().derived(path, kind, unknown)
