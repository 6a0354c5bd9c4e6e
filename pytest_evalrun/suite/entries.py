"""Tasks and datasets on their way to pairs, and the two files that may lie in their directories."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_evalrun.suite.pairs import Dataset, Task
from pytest_evalrun.suite.problems import shown
from pytest_evalrun.suite.runconfig import run_config_layer

if TYPE_CHECKING:
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.problems import Problems

RUN_CONFIG = ".run_config"
SKIP = ".skip"
SUITE_FILE = "evalrun.yaml"

Item = TypeVar("Item", Task, Dataset)


@dataclass(frozen=True)
class Entry(Generic[Item]):
    """A task or dataset with what its entry in the YAML and the directory that is its own say about it."""

    item: Item
    layers: tuple[Layer, ...] = ()
    run_config: tuple[Layer, ...] = ()
    tags: tuple[str, ...] = ()
    skip: str | None = None
    directory: str | None = None


# A task with its datasets; in the matrix layout all tasks share one list.
Row = tuple[Entry[Task], "list[Entry[Dataset]]"]


def run_config_in(directory: str, kind: str, problems: Problems, words: frozenset[str]) -> tuple[Layer, ...]:
    path = f"{directory}/{RUN_CONFIG}"
    if not os.access(path, os.F_OK):
        return ()
    layer = problems.attempt(lambda: run_config_layer(path, kind, words), None)
    return () if layer is None else (layer,)


def skip_in(directory: str) -> str | None:
    """Say why a directory is skipped, in the words of the first line of its ``.skip``; None where it is not."""
    path = f"{directory}/{SKIP}"
    if not os.access(path, os.F_OK):
        return None
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.readline(1000).strip() or f"`{SKIP}` in {shown(directory)}"
    except OSError:
        return f"`{SKIP}` in {shown(directory)}"


def topmost(key: str, *stacks: tuple[Layer, ...]) -> str | None:
    """Return what the highest layer says that names the key; stacks are given lowest first."""
    for layers in reversed(stacks):
        for layer in reversed(layers):
            if key in layer.values:
                return layer.values[key]  # type: ignore[no-any-return]
    return None
