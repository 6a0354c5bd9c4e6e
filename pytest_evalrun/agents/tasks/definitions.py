"""Tasks as a configuration defines them: AgentBench's files, or a mapping in a suite."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.problems import found

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# What a start_task.yaml, or the file of an assignment, has besides definitions.
BESIDES = frozenset({"start", "controller", "controller_address", "concurrency", "assignments", "output"})
MOST_WORKERS = 1000


@dataclass(frozen=True)
class TaskDefinition:
    """A task by name, and what its configuration says of it: ``module``, ``parameters``, ``docker``, ``command``."""

    name: str
    entry: Mapping[str, Any]
    source: str

    @property
    def place(self) -> str:
        """``FILE: NAME``, for messages."""
        return f"{self.source}: {self.name}"

    @property
    def image(self) -> str | None:
        """The image in which docker runs its workers; None where they run here."""
        docker = self.entry.get("docker") or {}
        if not isinstance(docker, Mapping):
            raise ConfigError(f"{self.place}.docker: {found(docker)}; accepted: image and command")
        image = docker.get("image")
        if image is not None and (not isinstance(image, str) or not image or image.startswith("-")):
            raise ConfigError(f"{self.place}.docker.image: {found(image)}; accepted: the name of an image")
        return image

    @property
    def workers(self) -> int:
        """How many workers a suite wants of it."""
        return _count(self.entry.get("workers", 1), f"{self.place}.workers")


def definitions_in(values: Mapping[str, Any], source: str) -> dict[str, TaskDefinition]:
    """The tasks of a configuration, below its ``definition`` or at its top. Raises ConfigError."""
    entries = values.get("definition", {key: value for key, value in values.items() if key not in BESIDES})
    if isinstance(entries, Mapping) and isinstance(entries.get("task"), Mapping) and "module" not in entries["task"]:
        entries = entries["task"]
    if not isinstance(entries, Mapping):
        raise ConfigError(f"{source}: definition: {found(entries)}; accepted: tasks by name")
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{source}: {name}: {found(entry)}; accepted: module and parameters")
    return {str(name): TaskDefinition(str(name), entry, source) for name, entry in entries.items()}


def definition_of(definitions: Mapping[str, TaskDefinition], name: str, source: str) -> TaskDefinition:
    """One of them by its name. Raises ConfigError with those that are there."""
    if name not in definitions:
        there = ", ".join(sorted(definitions)) or "none is defined"
        raise ConfigError(f"{source}: found no task {name!r}; accepted: {there}")
    return definitions[name]


def counts_in(values: Mapping[str, Any], source: str) -> dict[str, int]:
    """How many workers of each task its ``start`` wants; empty where it does not say."""
    start = values.get("start") or {}
    if not isinstance(start, Mapping):
        raise ConfigError(f"{source}: start: {found(start)}; accepted: numbers of workers by the names of tasks")
    return {str(name): _count(count, f"{source}: start.{name}") for name, count in start.items()}


def counts_of(words: Iterable[str]) -> dict[str, int]:
    """The same of ``NAME NUM NAME NUM …``. Raises ConfigError for a name without its number."""
    words = list(words)
    counts: dict[str, int] = {}
    for name, number in zip(words[::2], [*words[1::2], ""], strict=False):
        if not number.isdecimal():
            what = repr(number) if number else "nothing"
            raise ConfigError(f"-s: found {what} behind {name!r}; accepted: NAME NUM NAME NUM …, as in `-s os-std 2`")
        counts[name] = counts.get(name, 0) + _count(int(number), f"-s {name}")
    return counts


def write_definitions(path: Path, tasks: Iterable[TaskDefinition]) -> Path:
    """The file from which workers take their tasks, with all imports and defaults in it; others cannot read it."""
    import yaml

    text = yaml.safe_dump({task.name: dict(task.entry) for task in tasks}, allow_unicode=True, sort_keys=False)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    return path


def read_definitions(path: Path, source: str) -> dict[str, TaskDefinition]:
    """What :func:`write_definitions` wrote."""
    import yaml

    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: TaskDefinition(name, entry, source) for name, entry in entries.items()}


def _count(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_WORKERS:
        raise ConfigError(f"{where}: {found(value)}; accepted: a number of workers, 0 to {MOST_WORKERS}")
    return value
