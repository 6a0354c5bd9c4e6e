"""The matrix layout: named models x named datasets; a path may be a glob."""

# ruff: noqa: PTH110, PTH112, PTH118, PTH119, PTH120, PTH207
# Paths are text here: a suite has tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

import glob
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_evalrun.suite.entries import Entry, Item, run_config_in, skip_in
from pytest_evalrun.suite.layers import DATASET_CONFIG, TASK_CONFIG
from pytest_evalrun.suite.pairs import Dataset, Task
from pytest_evalrun.suite.problems import found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.suite.entries import Row
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.suitefile import Mapped, SuiteFile

# A dataset that is on no disk of ours until its reader has fetched it.
ELSEWHERE = "hf://"


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


def matrix_rows(suite: SuiteFile, words: frozenset[str], problems: Problems) -> list[Row]:
    """Pair every model with the one list of all datasets, in written order.

    ``words`` are settings in a ``.run_config`` besides those of all kinds of models.
    """
    models = list(_found(suite, "models", "model entry", problems))
    datasets = list(_found(suite, "datasets", "dataset entry", problems))
    directories = _own_directories(models, datasets, suite.root)
    columns = [_dataset(one, words, problems) for one in datasets]
    rows: list[Row] = []
    for one in models:
        directory = directories.get(one.path)
        task = Task(one.name, one.path, directory or suite.root)
        rows.append((_entry(task, one, directory, TASK_CONFIG, words, problems), columns))
    return rows


def _found(suite: SuiteFile, key: str, kind: str, problems: Problems) -> Iterator[_Found]:
    for part in suite.entries(key):
        layer = part.layer(kind)
        layers = () if layer is None else (layer,)
        paths = _paths(part, suite.root, problems)
        if paths is None and "name" not in part.values:
            problems.add(f"{part.place()}: found neither name nor path; accepted: one of them, or both")
        elif paths is None:
            yield _Found(part, part.values["name"], None, layers)
        elif len(paths) > 1 and "name" in part.values:
            problems.add(f"{part.place('name')}: one name for {len(paths)} matches of the path; accepted: no name")
        else:
            yield from (_Found(part, part.values.get("name") or _stem(path), path, layers) for path in paths)


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
    assert one.path is not None, "the schema asks for a dataset's path"
    directory = one.path if os.path.isdir(one.path) else None
    return _entry(Dataset(one.name, one.path), one, directory, DATASET_CONFIG, words, problems)


def _entry(
    item: Item, one: _Found, directory: str | None, kind: str, words: frozenset[str], problems: Problems
) -> Entry[Item]:
    if directory is None:
        return Entry(item, one.layers, (), one.tags, one.skip)
    config = run_config_in(directory, kind, problems, words)
    return Entry(item, one.layers, config, one.tags, one.skip or skip_in(directory), directory)
