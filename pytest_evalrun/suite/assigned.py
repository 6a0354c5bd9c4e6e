"""Pairs that an assignment of AgentBench's names: rows of its agents, each with the tasks that it is assigned."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun import registry
from pytest_evalrun.suite.entries import Entry
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.loading import dotted
from pytest_evalrun.suite.pairs import TASK, Dataset, Task
from pytest_evalrun.suite.problems import place
from pytest_evalrun.suite.schema import DatasetEntry, ModelEntry
from pytest_evalrun.suite.settings import OF_TASKS
from pytest_evalrun.suite.validation import validated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from pytest_evalrun.suite.entries import Row
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.suitefile import SuiteFile

WORD = "assignment"
# What stands beside no assignment, which has models and datasets of its own.
INSTEAD = ("models", "datasets", "discover", "script")
# Words of a suite that say who serves its tasks, whatever an assignment says.
SERVING = ("controller", "tasks")


@dataclass(frozen=True)
class Assigned:
    """An assignment in the words of a suite: settings of agents and of tasks by their names, and which pairs there are.

    ``run_name`` is what a new run is called, with ``{TIMESTAMP}`` and the like in it; ``takeover`` is where results of
    an assigner lie; ``notes`` are lines for people.
    """

    file: str
    agents: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, Mapping[str, Any]]
    pairs: Sequence[tuple[str, str]]
    notes: tuple[str, ...] = ()
    run_name: str | None = None
    takeover: str | None = None

    def below(self) -> tuple[Layer, ...]:
        """What it says of the whole suite, under all that the suite itself says."""
        return () if self.takeover is None else (Layer("suite", self.file, {"takeover": self.takeover}),)

    def rows(self, root: str, problems: Problems) -> list[Row]:
        """Each agent with its own list of tasks, in the order of the assignment."""
        # One layer for all of them: what only depends on it is checked once.
        shared = Layer("dataset entry", self.file, {"format": OF_TASKS})
        data = {
            name: Entry(
                Dataset(name, f"{TASK}{name}"), (shared, self._layer("dataset entry", DatasetEntry, name, problems))
            )
            for name in self.tasks
        }
        columns: dict[str, list[Entry[Dataset]]] = {name: [] for name in self.agents}
        for agent, task in self.pairs:
            columns[agent].append(data[task])
        return [
            (Entry(Task(name, None, root), (self._layer("model entry", ModelEntry, name, problems),)), column)
            for name, column in columns.items()
        ]

    def _layer(self, kind: str, model: type[BaseModel], name: str, problems: Problems) -> Layer:
        """The settings of an entry, checked as those of a suite are."""
        what, values = ("agent", self.agents[name]) if model is ModelEntry else ("task", self.tasks[name])
        source = f"{self.file}: {what} {name}"

        def checked() -> dict[str, Any]:
            return validated(model, values, lambda where: place(source, None, dotted(where)))

        return Layer(kind, source, problems.attempt(checked, {}))


def assigned_in(suite: SuiteFile, problems: Problems) -> Assigned | None:
    """The assignment that a suite names; None where it names none, or one that cannot be read, which is told."""
    name = suite.get(WORD)
    if name is None:
        return None
    for other in INSTEAD:
        if suite.get(other) is not None:
            problems.add(f"{suite.place(other)}: found next to {WORD}, which says what there is; accepted: one of them")
    offer = registry.find(registry.READERS, OF_TASKS)
    assert offer is not None, "it is ours"
    says = [key for layer in suite.layers() for key in SERVING if layer.values.get(key) is not None]
    path = os.path.normpath(os.path.join(suite.root, name))  # noqa: PTH118 - paths of suites are text
    where = suite.place(WORD)
    nothing: Assigned | None = None
    return problems.attempt(lambda: offer.load().assigned(path, suite.root, where, is_served=bool(says)), nothing)
