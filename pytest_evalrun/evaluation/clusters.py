"""Which samples belong together, while they are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.datasets.clusters import cluster_column
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.suite.pairs import Pair


class Clusters:
    """The clusters of a pair's samples, asked for in the order of the dataset: read beside them, once more."""

    def __init__(self, names: Iterator[str], dataset: str) -> None:
        self._names = names
        self._dataset = dataset
        self._index = -1
        self._name: str | None = None

    @classmethod
    def of_pair(cls, pair: Pair) -> Clusters | None:
        """None where the suite does not ask. Raises PairError where the data cannot say it."""
        if cluster_column(pair.settings) is None:
            return None
        reader: Any = create_reader(pair.dataset, pair.settings, pair.root)
        return cls(reader.clusters(), pair.dataset.path)

    def of(self, samples: Sequence[Sample]) -> list[str]:
        """The cluster of each; of several answers to a sample it is the same."""
        return [self._of(sample.index) for sample in samples]

    def _of(self, index: int) -> str:
        while self._index < index:
            self._name = next(self._names, None)
            self._index += 1
        if self._name is None:
            raise PairError(f"{self._dataset}: the dataset changed while it was evaluated; run it again")
        return self._name
