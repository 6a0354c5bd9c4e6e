"""Tasks x datasets → pairs: each with its layers in order, its tags, and why it is skipped."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.suite.names import clashes, refusal
from pytest_evalrun.suite.pairs import Pair
from pytest_evalrun.suite.problems import MOST_SHOWN, found, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_evalrun.suite.discovery import Stack
    from pytest_evalrun.suite.entries import Entry, Row
    from pytest_evalrun.suite.pairs import Dataset, Layer, Task
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.suitefile import Part, SuiteFile


@dataclass(frozen=True)
class _Override:
    part: Part
    pattern: re.Pattern[str]
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, part: Part) -> _Override:
        layer = part.layer("override")
        return cls(part, re.compile(fnmatch.translate(part.values["match"])), () if layer is None else (layer,))


def assemble(name: str, suite: SuiteFile, rows: Sequence[Row], stack: Stack, problems: Problems) -> tuple[Pair, ...]:
    """All pairs, those of one task in a row."""
    _check_names(rows, problems)
    assembler = _Assembler(name, suite, stack)
    pairs = tuple([assembler.pair(task, dataset) for task, datasets in rows for dataset in datasets])
    for override in assembler.unused():
        # An imported override is shared by suites that do not all have what it speaks of.
        if override.part.document.file == suite.file:
            ids = some([pair.id for pair in pairs], MOST_SHOWN)
            where, pattern = override.part.place("match"), override.part.values["match"]
            problems.add(
                f"{where}: {found(pattern)}, which matches no pair; accepted: a pattern that fits one of {ids}"
            )
    return pairs


class _Assembler:
    def __init__(self, name: str, suite: SuiteFile, stack: Stack) -> None:
        self.name = name
        self.root = suite.root
        self.stack = stack
        self.tags = tuple(suite.get("tags") or ())
        self.overrides = [_Override.of(part) for part in suite.overrides()]
        self._used: set[int] = set()

    def pair(self, task: Entry[Task], dataset: Entry[Dataset]) -> Pair:
        overrides = self._matching(f"{task.item.name}/{dataset.item.name}") if self.overrides else []
        layers = self.stack.suite + task.layers + dataset.layers
        tags = self.tags + task.tags + dataset.tags
        skip = task.skip or dataset.skip
        for override in overrides:
            layers += override.layers
            tags += tuple(override.part.values.get("tags", ()))
            skip = skip or override.part.values.get("skip")
        layers += self.stack.launch + task.run_config + dataset.run_config + self.stack.last
        return Pair(self.name, self.root, task.item, dataset.item, layers, tuple(dict.fromkeys(tags)), skip)

    def _matching(self, pair_id: str) -> list[_Override]:
        places = [place for place, override in enumerate(self.overrides) if override.pattern.match(pair_id)]
        self._used.update(places)
        return [self.overrides[place] for place in places]

    def unused(self) -> list[_Override]:
        return [override for place, override in enumerate(self.overrides) if place not in self._used]


def _check_names(rows: Sequence[Row], problems: Problems) -> None:
    checked: set[int] = set()
    _check("task", [task.item.name for task, _ in rows], problems)
    for _, datasets in rows:
        if id(datasets) not in checked:
            checked.add(id(datasets))
            _check("dataset", [dataset.item.name for dataset in datasets], problems)


def _check(what: str, names: list[str], problems: Problems) -> None:
    for problem in (*filter(None, (refusal(name, what) for name in names)), *clashes(names, what)):
        problems.add(problem)


def protected_directories(rows: Sequence[Row], layers: Iterable[Layer], root: str) -> tuple[str, ...]:
    """Directories of data and outputs. One that holds the suite itself is left open, what lies in it is not."""
    said = {
        key: {v for layer in layers if (v := layer.values.get(key))}
        for key in ("in_subdir", "references", "out_subdir")
    }
    found = {os.path.normpath(os.path.join(root, out)) for out in said["out_subdir"] if out.startswith((".", "/"))}
    for path in {dataset.item.path for _, datasets in rows for dataset in datasets}:
        found.update(_directories_of(path, root, said["in_subdir"] | said["references"] | said["out_subdir"]))
    return tuple(sorted(path for path in found if not _holds(path, root)))


def _directories_of(path: str, root: str, names: set[str]) -> Iterator[str]:
    if not _holds(path, root) and os.path.isdir(path):
        yield path
        names = {name for name in names if name.startswith(("..", "/"))}
    for name in names:
        below = os.path.normpath(os.path.join(path, name))
        if os.path.isdir(below):
            yield below


def _holds(path: str, root: str) -> bool:
    return f"{root}{os.sep}".startswith(f"{path.rstrip(os.sep)}{os.sep}")
