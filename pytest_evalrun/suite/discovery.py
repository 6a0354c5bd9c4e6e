"""The pairs of an evalrun.yaml: tasks x datasets, each with its layers in order, its tags, and why it is skipped.

No data is read, and no directory of samples is listed.
"""

# ruff: noqa: PTH100, PTH113, PTH118, PTH119
# Paths are text here: a suite has tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.assigned import assigned_in
from pytest_evalrun.suite.batchsystem import batch_system_of
from pytest_evalrun.suite.checks import check_layer, check_scoring
from pytest_evalrun.suite.entries import topmost
from pytest_evalrun.suite.matrix import matrix_rows
from pytest_evalrun.suite.names import clashes, refusal
from pytest_evalrun.suite.ownwords import check_words, run_config_words
from pytest_evalrun.suite.pairs import Pair, Suite
from pytest_evalrun.suite.problems import MOST_SHOWN, Problems, found, shown, some
from pytest_evalrun.suite.promptaxis import PromptAxis
from pytest_evalrun.suite.runconfig import environment_layers, script_layer
from pytest_evalrun.suite.suitefile import SuiteFile
from pytest_evalrun.suite.tree import DEPTH, TaskTree

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.suite.assigned import Assigned
    from pytest_evalrun.suite.entries import Entry, Row
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Dataset, Task
    from pytest_evalrun.suite.suitefile import Mapped

__all__ = ["Stack", "Suite", "discover"]

# Settings that name directories, in a dataset or elsewhere.
_DIRECTORIES = ("in_subdir", "references", "out_subdir")


@dataclass(frozen=True)
class Stack:
    """The layers that all pairs share, cut where those of entries and directories come between."""

    suite: tuple[Layer, ...]
    launch: tuple[Layer, ...]
    last: tuple[Layer, ...]


def discover(
    file: Path,
    command_line: Sequence[Layer] = (),
    eval_set: Sequence[Layer] = (),
    environ: Mapping[str, str] = os.environ,
) -> Suite:
    """Find the suite of an evalrun.yaml. Raises ConfigError with everything that is wrong, one problem a line."""
    suite = SuiteFile(os.path.abspath(file))
    problems = Problems()
    name = suite.get("name") or os.path.basename(suite.root)
    if problem := refusal(name, "suite"):
        problems.add(f"{shown(suite.file)}: {problem}")
    nothing: tuple[Layer, ...] = ()
    environment = problems.attempt(lambda: environment_layers(environ), nothing)
    assigned = assigned_in(suite, problems)
    own = (*(assigned.below() if assigned else ()), *_script(suite, problems), *suite.layers())
    stack = Stack(own, (*environment, *command_line), tuple(eval_set))
    matrix = any(suite.get(key) is not None for key in ("models", "datasets", "assignment"))
    rows = _rows(suite, stack, assigned, problems)
    no_batch_system: dict[str, Any] = {}
    batch_system = problems.attempt(lambda: batch_system_of(suite), no_batch_system)
    pairs, unused = assemble(name, suite, rows, stack, problems)
    # Pairs share their layers: each is looked at once.
    shared = {id(layer): layer for layer in (*stack.suite, *stack.launch, *stack.last)}
    layers = list((shared | {id(layer): layer for pair in pairs for layer in pair.layers}).values())
    for layer in layers:
        check_layer(layer, suite.root, matrix, problems)
    problems.raise_any()
    # These would only repeat what is already told of missing models and datasets.
    check_overrides(unused, pairs, problems)
    check_scoring(pairs, problems)
    check_words(pairs, suite.file, problems)
    problems.raise_any()
    protected = protected_directories(rows, layers, suite.root)
    has_adapter = any(layer.values.get("adapter") for layer in layers)
    more = (assigned.run_name, assigned.notes) if assigned else (None, ())
    return Suite(name, suite.file, suite.root, pairs, protected, has_adapter, *more, batch_system)


def _rows(suite: SuiteFile, stack: Stack, assigned: Assigned | None, problems: Problems) -> list[Row]:
    if suite.get("assignment") is not None:
        return assigned.rows(suite.root, problems) if assigned else []
    words = _run_config_words(suite, stack)
    if suite.get("models") is not None or suite.get("datasets") is not None:
        return _matrix(suite, stack, words, problems)
    return _tree(suite, stack, words, problems)


def _run_config_words(suite: SuiteFile, stack: Stack) -> frozenset[str]:
    """Collect the words of the kinds of models that the suite names: scripts have no other use for these words."""
    entries = [entry for key in ("models", "datasets") for entry in suite.entries(key)] + suite.overrides()
    layers = [layer.values for layer in (*stack.suite, *stack.launch, *stack.last)]
    return run_config_words(values.get("adapter") for values in (*layers, *(entry.values for entry in entries)))


def _script(suite: SuiteFile, problems: Problems) -> tuple[Layer, ...]:
    script = suite.get("script")
    if script is None:
        return ()
    path = os.path.join(suite.root, script)
    if not os.path.isfile(path):
        problems.add(f"{suite.place('script')}: found {script!r}, which does not exist; looked for {path}")
        return ()
    layer = problems.attempt(lambda: script_layer(path), None)
    return () if layer is None else (layer,)


def _matrix(suite: SuiteFile, stack: Stack, words: frozenset[str], problems: Problems) -> list[Row]:
    models, datasets = suite.get("models"), suite.get("datasets")
    if bool(models) != bool(datasets):
        key, other = ("models", "datasets") if models else ("datasets", "models")
        problems.add(f"{suite.place(key)}: found {key} without {other}; accepted: both, or `discover` alone")
    if not models and not datasets:
        problems.add(f"{suite.place('models')}: models and datasets are empty; accepted: at least one of each")
    if suite.get("discover") is not None:
        problems.add(f"{suite.place('discover')}: found next to models and datasets; accepted: one of the two layouts")
    return matrix_rows(suite, stack.suite, words, problems)


def _tree(suite: SuiteFile, stack: Stack, words: frozenset[str], problems: Problems) -> list[Row]:
    extension = topmost("model_file_ext", stack.suite, stack.launch)
    if extension is None:
        accepted = "`models` and `datasets`, or `discover: {model_file_ext: .onnx, in_subdir: images}`"
        problems.add(f"{suite.place('discover')}: nothing says where the models are; accepted: {accepted}")
        return []
    depth = (suite.get("discover") or {}).get("max_depth", DEPTH)
    return TaskTree(suite.root, extension, depth, stack.suite + stack.launch, stack.last, words).rows(problems)


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
    """Make all pairs, those of one task in a row; returns them, and the overrides that match none of them."""
    prompts = PromptAxis(suite)
    rows = prompts.rows(rows, stack.suite, stack.launch + stack.last, problems)
    _check_names(rows, shown(suite.file), problems)
    assembler = _Assembler(name, suite, stack, prompts)
    pairs = tuple([assembler.pair(task, dataset) for task, datasets in rows for dataset in datasets])
    # An imported override is shared by suites that do not all have what it speaks of.
    return pairs, [part for part in assembler.unused() if part.document.file == suite.file]


def check_overrides(unused: Sequence[Mapped], pairs: Sequence[Pair], problems: Problems) -> None:
    for part in unused:
        ids = some([pair.id for pair in pairs], MOST_SHOWN)
        what = f"{found(part.values['match'])}, which matches no pair"
        problems.add(f"{part.place('match')}: {what}; accepted: a pattern that fits one of {ids}")


class _Assembler:
    def __init__(self, name: str, suite: SuiteFile, stack: Stack, prompts: PromptAxis) -> None:
        self.name = name
        self.prompts = prompts
        self.root = suite.root
        self.stack = stack
        self.tags = tuple(suite.get("tags") or ())
        self.overrides = [_Override.of(part) for part in suite.overrides()]
        self._used: set[int] = set()

    def pair(self, task: Entry[Task], dataset: Entry[Dataset]) -> Pair:
        overrides = self._matching(f"{task.item.name}/{dataset.item.name}") if self.overrides else []
        layers = self.stack.suite + task.layers + dataset.layers
        if task.item.prompt is not None:
            layers += (self.prompts.layer(task.item.prompt, layers),)
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
    """List directories of data and outputs. One that holds the suite stays open; what is named in it does not."""
    named = {value for layer in layers for key in _DIRECTORIES if (value := layer.values.get(key))}
    outside = {name for name in named if name.startswith((".", "/"))}
    outputs = outside & {layer.values.get("out_subdir") for layer in layers}
    paths = {os.path.normpath(os.path.join(root, out)) for out in outputs}
    for path in {dataset.directory for _, datasets in rows for dataset in datasets if dataset.directory}:
        if not _holds(path, root):
            paths.add(path)
        paths.update(os.path.normpath(os.path.join(path, name)) for name in (named if _holds(path, root) else outside))
    return tuple(sorted(path for path in paths if not _holds(path, root)))


def _holds(path: str, root: str) -> bool:
    return f"{root}{os.sep}".startswith(f"{path.rstrip(os.sep)}{os.sep}")
