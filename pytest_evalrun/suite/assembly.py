"""Tasks x datasets → pairs: each with its layers in order, its tags, and why it is skipped."""

# ruff: noqa: PTH118
# Paths are text here: a suite has tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.suite.names import clashes, refusal
from pytest_evalrun.suite.pairs import Pair
from pytest_evalrun.suite.problems import MOST_SHOWN, found, shown, some

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_evalrun.suite.entries import Entry, Row
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Dataset, Task
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.suitefile import Mapped, SuiteFile


# Settings that name directories, in a dataset or elsewhere.
_DIRECTORIES = ("in_subdir", "references", "out_subdir")


@dataclass(frozen=True)
class Stack:
    """The layers that all pairs share, cut where those of entries and directories come between."""

    suite: tuple[Layer, ...]
    launch: tuple[Layer, ...]
    last: tuple[Layer, ...]


@dataclass(frozen=True)
class _Override:
    part: Mapped
    pattern: re.Pattern[str]
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, part: Mapped) -> _Override:
        layer = part.layer("override")
        return cls(part, re.compile(fnmatch.translate(part.values["match"])), () if layer is None else (layer,))


def assemble(
    name: str, suite: SuiteFile, rows: Sequence[Row], stack: Stack, problems: Problems
) -> tuple[tuple[Pair, ...], list[Mapped]]:
    """All pairs, those of one task in a row; and the overrides that match none of them."""
    _check_names(rows, shown(suite.file), problems)
    assembler = _Assembler(name, suite, stack)
    pairs = tuple([assembler.pair(task, dataset) for task, datasets in rows for dataset in datasets])
    # An imported override is shared by suites that do not all have what it speaks of.
    return pairs, [part for part in assembler.unused() if part.document.file == suite.file]


def check_overrides(unused: Sequence[Mapped], pairs: Sequence[Pair], problems: Problems) -> None:
    for part in unused:
        ids = some([pair.id for pair in pairs], MOST_SHOWN)
        what = f"{found(part.values['match'])}, which matches no pair"
        problems.add(f"{part.place('match')}: {what}; accepted: a pattern that fits one of {ids}")


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

    def unused(self) -> list[Mapped]:
        return [override.part for place, override in enumerate(self.overrides) if place not in self._used]


def _check_names(rows: Sequence[Row], file: str, problems: Problems) -> None:
    checked: set[int] = set()
    _check("task", [task.item.name for task, _ in rows], file, problems)
    for _, datasets in rows:
        if id(datasets) not in checked:
            checked.add(id(datasets))
            _check("dataset", [dataset.item.name for dataset in datasets], file, problems)


def _check(what: str, names: list[str], file: str, problems: Problems) -> None:
    for problem in (*filter(None, (refusal(name, what) for name in names)), *clashes(names, what)):
        problems.add(f"{file}: {problem}")


def protected_directories(rows: Sequence[Row], layers: Collection[Layer], root: str) -> tuple[str, ...]:
    """Directories of data and outputs. One that holds the suite itself is left open; what is named in it is not."""
    named = {value for layer in layers for key in _DIRECTORIES if (value := layer.values.get(key))}
    outside = {name for name in named if name.startswith((".", "/"))}
    outputs = outside & {layer.values.get("out_subdir") for layer in layers}
    found = {os.path.normpath(os.path.join(root, out)) for out in outputs}
    for path in {dataset.directory for _, datasets in rows for dataset in datasets if dataset.directory}:
        if not _holds(path, root):
            found.add(path)
        found.update(os.path.normpath(os.path.join(path, name)) for name in (named if _holds(path, root) else outside))
    return tuple(sorted(path for path in found if not _holds(path, root)))


def _holds(path: str, root: str) -> bool:
    return f"{root}{os.sep}".startswith(f"{path.rstrip(os.sep)}{os.sep}")
