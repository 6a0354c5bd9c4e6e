"""The matrix layout: named models x named datasets; a path may be a glob."""

# ruff: noqa: PTH110, PTH112, PTH118, PTH119, PTH120, PTH207
# Paths are text here: a suite has tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

import glob
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_evalrun.suite.entries import Entry, Item, run_config_in, skip_in, topmost
from pytest_evalrun.suite.layers import DATASET_CONFIG, TASK_CONFIG, Layer
from pytest_evalrun.suite.pairs import TASK, Dataset, Task
from pytest_evalrun.suite.problems import found
from pytest_evalrun.suite.settings import OF_TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_evalrun.suite.entries import Row
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.suitefile import Mapped, SuiteFile

# A dataset that is on no disk of ours until its reader has fetched it.
ELSEWHERE = "hf://"
# By what an entry without a path may be called.
MODEL_NAMES, DATASET_NAMES = ("name",), ("name", "task")


@dataclass(frozen=True)
class _Found:
    """A model or dataset that an entry stands for: a glob makes several of one."""

    part: Mapped
    name: str
    path: str | None
    layers: tuple[Layer, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.part.values.get("tags", ()))

    @property
    def skip(self) -> str | None:
        return self.part.values.get("skip")


def matrix_rows(suite: SuiteFile, below: tuple[Layer, ...], words: frozenset[str], problems: Problems) -> list[Row]:
    """Pair every model with the one list of all datasets, in written order.

    ``below`` are the layers under those of entries; ``words`` are settings in a ``.run_config`` besides those of all
    kinds of models.
    """
    models = list(_found(suite, "models", "model entry", MODEL_NAMES, problems))
    entries = _found(suite, "datasets", "dataset entry", DATASET_NAMES, problems)
    datasets = list(_with_data(entries, below, problems))
    directories = _own_directories(models, datasets, suite.root)
    columns = [_dataset(one, words, problems) for one in datasets]
    rows: list[Row] = []
    for one in models:
        directory = directories.get(one.path)
        task = Task(one.name, one.path, directory or suite.root)
        rows.append((_entry(task, one, directory, TASK_CONFIG, words, problems), columns))
    return rows


def _found(suite: SuiteFile, key: str, kind: str, names: tuple[str, ...], problems: Problems) -> Iterator[_Found]:
    for part in suite.entries(key):
        layer = part.layer(kind)
        layers = () if layer is None else (layer,)
        paths = _paths(part, suite.root, problems)
        name = next((part.values[word] for word in names if part.values.get(word)), None)
        if paths is None and name is not None:
            yield _Found(part, name, None, layers)
        elif paths is None:
            problems.add(f"{part.place()}: found neither name nor path; accepted: one of them, or both")
        elif len(paths) > 1 and "name" in part.values:
            problems.add(f"{part.place('name')}: one name for {len(paths)} matches of the path; accepted: no name")
        else:
            yield from (_Found(part, part.values.get("name") or _stem(path), path, layers) for path in paths)


def _with_data(datasets: Iterable[_Found], below: tuple[Layer, ...], problems: Problems) -> Iterator[_Found]:
    """Leave out data that are nowhere, and name the task of those that a task server has.

    Their format must be said before any override is: those are chosen for pairs that there are.
    """
    for one in datasets:
        if topmost("format", below, one.layers) != OF_TASKS:
            if one.path is not None:
                yield one
            else:
                wanted = f"accepted: the file or directory that has the samples; none for format {OF_TASKS}"
                problems.add(f"{one.part.place('path')}: is missing; {wanted}")
        elif one.path is not None:
            where = one.part.place("path")
            problems.add(f"{where}: found next to format {OF_TASKS}, whose samples a task server has; accepted: `task`")
        elif task := topmost("task", below, one.layers):
            yield replace(one, path=f"{TASK}{task}")
        else:
            yield replace(one, path=f"{TASK}{one.name}", layers=(*one.layers, _named_so(one)))


def _named_so(one: _Found) -> Layer:
    """Say that the task is called as the dataset is."""
    line = one.part.document.lines[(*one.part.where, "name")]
    return Layer("dataset entry", one.part.document.file, {"task": one.name}, {"task": line})


def _paths(part: Mapped, root: str, problems: Problems) -> list[str] | None:
    """List the absolute paths that the entry's path stands for; None where it has none."""
    if "path" not in part.values:
        return None
    written = part.values["path"]
    if written.startswith(ELSEWHERE):
        return [written]
    whole = os.path.normpath(os.path.join(root, written))
    if os.path.exists(whole):
        return [whole]
    if not glob.has_magic(written):
        problems.add(f"{part.place('path')}: {found(written)}, which does not exist; looked for {whole}")
        return []
    matches = sorted(glob.glob(written, root_dir=root, recursive=True))
    if not matches:
        problems.add(f"{part.place('path')}: {found(written)}, which matches nothing below {root}")
    return [os.path.normpath(os.path.join(root, match)) for match in matches]


def _stem(path: str) -> str:
    """Name a path: a directory's dots are part of its name; a file's last one is not."""
    return os.path.basename(path) if os.path.isdir(path) else PurePath(path).stem


def _own_directories(models: list[_Found], datasets: list[_Found], root: str) -> dict[str | None, str]:
    """Map model paths to the directory of that model alone, where a .run_config and a .skip speak of nothing else."""
    used = Counter(os.path.dirname(one.path) for one in (*models, *datasets) if one.path)
    data = {one.path for one in datasets}
    own: dict[str | None, str] = {}
    for path in filter(None, (one.path for one in models)):
        directory = path if os.path.isdir(path) else os.path.dirname(path)
        inside = root == directory or root.startswith(f"{directory}{os.sep}")
        if not inside and directory not in data and used[directory] == (0 if directory == path else 1):
            own[path] = directory
    return own


def _dataset(one: _Found, words: frozenset[str], problems: Problems) -> Entry[Dataset]:
    assert one.path is not None, "left out otherwise"
    directory = one.path if os.path.isdir(one.path) else None
    return _entry(Dataset(one.name, one.path), one, directory, DATASET_CONFIG, words, problems)


def _entry(
    item: Item, one: _Found, directory: str | None, kind: str, words: frozenset[str], problems: Problems
) -> Entry[Item]:
    if directory is None:
        return Entry(item, one.layers, (), one.tags, one.skip)
    config = run_config_in(directory, kind, problems, words)
    return Entry(item, one.layers, config, one.tags, one.skip or skip_in(directory), directory)
