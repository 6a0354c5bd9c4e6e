"""The tree layout: a directory that holds a model is a task, its directories that hold inputs are its datasets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.suite.entries import SUITE_FILE, Entry, run_config_in, skip_in, topmost
from pytest_evalrun.suite.layers import DATASET_CONFIG, TASK_CONFIG
from pytest_evalrun.suite.pairs import Dataset, Task
from pytest_evalrun.suite.problems import place, shown, some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.suite.entries import Row
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.problems import Problems

DEPTH = 2


@dataclass(frozen=True)
class TaskTree:
    """A search for tasks. ``below`` and ``above`` are the layers under and over those of the directories.

    ``words`` are settings in a ``.run_config`` besides those of all kinds of models.
    """

    root: str
    model_file_ext: str
    depth: int
    below: tuple[Layer, ...]
    above: tuple[Layer, ...]
    words: frozenset[str] = frozenset()

    def rows(self, problems: Problems) -> list[Row]:
        found = [self._row(directory, models, problems) for directory, models in self._tasks(self.root, self.depth)]
        rows = sorted((row for row in found if row[1]), key=lambda row: row[0].item.name)
        if not rows:
            what = (
                f"no directory at most {self.depth} levels below {shown(self.root)} holds a *{self.model_file_ext} file"
            )
            name = topmost("in_subdir", self.below, self.above)
            inputs = f"and directories with the input sub-directory {name!r}" if name else "and in_subdir is not set"
            problems.add(f"{place(f'{self.root}/{SUITE_FILE}', None)}: no pair was found: {what} {inputs}")
        return rows

    def _tasks(self, directory: str, depth: int) -> Iterator[tuple[str, list[str]]]:
        """Find directories that hold models; nothing is looked for below them."""
        for path in _directories(directory):
            models = _files(path, self.model_file_ext)
            if models:
                yield path, models
            elif depth > 1:
                yield from self._tasks(path, depth - 1)

    def _row(self, directory: str, models: list[str], problems: Problems) -> Row:
        name = os.path.relpath(directory, self.root).replace(os.sep, "/")
        if len(models) > 1:
            where = place(directory, None)
            problems.add(
                f"{where}: found {len(models)} models ({some(models, 5)}); accepted: one *{self.model_file_ext}"
            )
        config = run_config_in(directory, TASK_CONFIG, problems, self.words)
        task = Task(name, f"{directory}/{models[0]}", directory)
        entry = Entry(task, run_config=config, skip=skip_in(directory), directory=directory)
        return entry, self._datasets(directory, config, problems)

    def _datasets(self, task: str, config: tuple[Layer, ...], problems: Problems) -> list[Entry[Dataset]]:
        """List the directories with inputs, and those that a ``.run_config`` alone keeps from being one.

        The latter are pairs whose inputs are missing, for a slip of the pen in that file must not hide them.
        """
        found: list[Entry[Dataset]] = []
        for path in _directories(task):
            own = run_config_in(path, DATASET_CONFIG, problems, self.words)
            dataset = Dataset(path[len(task) + 1 :], path)
            found.append(Entry(dataset, run_config=own, skip=skip_in(path), directory=path))
        there = [one for one in found if self._has_inputs(one, config, one.run_config) or self._is_hidden(one, config)]
        if not there and topmost("in_subdir", config) and not topmost("in_subdir", self.above):
            return found  # the task says where its inputs are, and they are nowhere
        return there

    def _has_inputs(self, dataset: Entry[Dataset], *run_configs: tuple[Layer, ...]) -> bool:
        in_subdir = topmost("in_subdir", self.below, *run_configs, self.above)
        # With the dot only a directory is found, in one call.
        return bool(in_subdir) and os.access(f"{dataset.directory}/{in_subdir}/.", os.F_OK)

    def _is_hidden(self, dataset: Entry[Dataset], config: tuple[Layer, ...]) -> bool:
        """Tell whether it says itself where its inputs are, or would have them but for its task's ``.run_config``."""
        if topmost("in_subdir", self.above):
            return False
        own = topmost("in_subdir", dataset.run_config) is not None
        return own or (topmost("in_subdir", config) is not None and self._has_inputs(dataset))


def _directories(directory: str) -> list[str]:
    """List directories that may hold tasks or datasets: not hidden, no outputs, no suite of their own."""
    with os.scandir(directory) as entries:
        names = sorted(e.name for e in entries if not e.name.startswith((".", "out")) and e.is_dir())
    paths = (f"{directory}/{name}" for name in names)
    return [path for path in paths if not os.access(f"{path}/{SUITE_FILE}", os.F_OK)]


def _files(directory: str, ending: str) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(e.name for e in entries if e.name.endswith(ending) and e.name[0] != "." and e.is_file())
