"""Pairs of a run by the anchors that they have in its page: names alone are looked at, no results."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.rundir.results import read_result
from pytest_evalrun.rundir.tasklist import read_task_list
from pytest_evalrun.suite.names import first_samples
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.rundir.results import Result

# Whoever asks for anchors that there are not makes nobody look more often.
_INTERVAL = 1.0
_PLACES = (("results", ".json"), ("predictions", ".jsonl"), ("logs/infer", ".log"))


@dataclass(frozen=True)
class FoundPair:
    """A pair that somebody asked for: its files, its names as its suite has them, and its result if it has one."""

    anchor: str
    key: PairKey
    files: PairPaths
    suite: str
    task: str
    dataset: str
    result: Result | None

    @property
    def id(self) -> str:
        """``suite/task/dataset``, and how many first samples it is of."""
        return first_samples(self.pair, self.key.limit)

    @property
    def pair(self) -> str:
        """``suite/task/dataset``."""
        return f"{self.suite}/{self.task}/{self.dataset}"


class FoundPairs:
    """The pairs of a run; looked for again where an anchor is new."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._keys: dict[str, tuple[PairKey, tuple[str, str, str]]] = {}
        self._looked = 0.0

    def find(self, anchor: str) -> FoundPair | None:
        """The pair of an anchor; None where there is none."""
        if anchor not in self._keys and time.monotonic() - self._looked >= _INTERVAL:
            self._keys = {anchor_of(key): (key, names) for key, names in self._known()}
            self._looked = time.monotonic()
        if anchor not in self._keys:
            return None
        key, names = self._keys[anchor]
        files = self._paths.pair(key)
        result = read_result(files.result)
        if result is not None:
            names = result.suite, result.task, result.dataset
        return FoundPair(anchor, key, files, *names, result)

    def _known(self) -> Iterator[tuple[PairKey, tuple[str, str, str]]]:
        """Pairs by their files, then by the list of the run, which knows their names as they are."""
        for place, ending in _PLACES:
            for suite, task, name in _names(self._paths.root / place):
                if name.endswith(ending) and not name.startswith("."):
                    key = PairKey(suite, task, name.removesuffix(ending).removesuffix(".scores"))
                    yield key, (*key.full,)
        for directory, dataset in read_task_list(self._paths.task_list) or {}:
            suite, _, task = directory.partition("/")
            listed = PairKey.of_id(f"{directory}/{dataset}")
            if listed is not None:
                yield listed, (suite, task, dataset)


def _names(root: os.PathLike[str]) -> Iterator[tuple[str, str, str]]:
    """Files two directories deep, by their names alone."""
    for suite in _entries(root, files=False):
        for task in _entries(os.path.join(root, suite), files=False):  # noqa: PTH118 - names, by the thousand
            for name in _entries(os.path.join(root, suite, task), files=True):  # noqa: PTH118
                yield suite, task, name


def _entries(directory: os.PathLike[str] | str, *, files: bool) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_file() == files]
    except OSError:
        return []
