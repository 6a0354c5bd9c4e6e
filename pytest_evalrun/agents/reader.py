"""The samples of a task: the indices that its task server has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.agents.tasks import TaskMistakes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.datasets.protocol import Hashes, Identity, Sample
    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings


class TaskReader:
    """One sample for each index."""

    accepted: frozenset[str] = frozenset()

    # What is wrong with tasks, found out before there is a reader.
    mistakes = TaskMistakes

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self._dataset = dataset
        self._settings = settings

    def __iter__(self) -> Iterator[Sample]:
        raise NotImplementedError

    def identity(self, hashes: Hashes) -> Identity:
        raise NotImplementedError
