"""Which samples belong together, while they are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.datasets.clusters import cluster_column
from pytest_evalrun.errors import PairError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.suite.pairs import Pair


class Clusters:
    """The clusters of a pair's samples, asked for in the order of the dataset.

    They are read beside the samples, once more, but for those of a reader that finds them in an input.
    """

    def __init__(self, reader: Any, dataset: str) -> None:
        self._in_input: Callable[[Sample], str] | None = getattr(reader, "cluster_of", None)
        self._names: Iterator[str] = iter(()) if self._in_input else reader.clusters()
        self._dataset = dataset
        self._index = -1
        self._name: str | None = None

    @classmethod
    def of_pair(cls, pair: Pair) -> Clusters | None:
        """None where the suite does not ask. Raises PairError where the data cannot say it."""
        if cluster_column(pair.settings) is None:
            return None
        return cls(create_reader(pair.dataset, pair.settings, pair.root), pair.dataset.path)

    def of(self, samples: Sequence[Sample]) -> list[str]:
        """The cluster of each; of several answers to a sample it is the same."""
        return list(map(self._in_input or self._read, samples))

    def _read(self, sample: Sample) -> str:
        while self._index < sample.index:
            self._name = next(self._names, None)
            self._index += 1
        if self._name is None:
            raise PairError(f"{self._dataset}: the dataset changed while it was evaluated; run it again")
        return self._name
