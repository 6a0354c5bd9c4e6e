"""From an evalrun.yaml to its pairs. No data is read, and no directory of samples is listed."""

# ruff: noqa: PTH100, PTH113, PTH118, PTH119
# Paths are text here: a suite has tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_evalrun.suite.assembly import Stack, assemble, check_overrides, protected_directories
from pytest_evalrun.suite.checks import check_layer, check_scoring
from pytest_evalrun.suite.entries import topmost
from pytest_evalrun.suite.matrix import matrix_rows
from pytest_evalrun.suite.names import refusal
from pytest_evalrun.suite.ownwords import check_words, run_config_words
from pytest_evalrun.suite.pairs import Suite
from pytest_evalrun.suite.problems import Problems, shown
from pytest_evalrun.suite.runconfig import environment_layers, script_layer
from pytest_evalrun.suite.suitefile import SuiteFile
from pytest_evalrun.suite.tree import DEPTH, TaskTree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.suite.entries import Row
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Pair


__all__ = ["Stack", "Suite", "discover"]


def discover(
    file: Path,
    command_line: Sequence[Layer] = (),
    eval_set: Sequence[Layer] = (),
    environ: Mapping[str, str] = os.environ,
) -> Suite:
    """The suite of an evalrun.yaml. Raises ConfigError with everything that is wrong, one problem a line."""
    suite = SuiteFile(os.path.abspath(file))
    problems = Problems()
    name = suite.get("name") or os.path.basename(suite.root)
    if problem := refusal(name, "suite"):
        problems.add(f"{shown(suite.file)}: {problem}")
    nothing: tuple[Layer, ...] = ()
    environment = problems.attempt(lambda: environment_layers(environ), nothing)
    stack = Stack((*_script(suite, problems), *suite.layers()), (*environment, *command_line), tuple(eval_set))
    matrix = suite.get("models") is not None or suite.get("datasets") is not None
    words = _run_config_words(suite, stack)
    rows = _matrix(suite, words, problems) if matrix else _tree(suite, stack, words, problems)
    pairs, unused = assemble(name, suite, rows, stack, problems)
    layers = _all_layers(stack, pairs)
    for layer in layers:
        check_layer(layer, suite.root, matrix, problems)
    problems.raise_any()
    # These would only repeat what is already told of missing models and datasets.
    check_overrides(unused, pairs, problems)
    check_scoring(pairs, problems)
    check_words(pairs, suite.file, problems)
    problems.raise_any()
    protected = protected_directories(rows, layers, suite.root)
    return Suite(name, suite.file, suite.root, pairs, protected, any(layer.values.get("adapter") for layer in layers))


def _all_layers(stack: Stack, pairs: Sequence[Pair]) -> list[Layer]:
    shared = {id(layer): layer for layer in (*stack.suite, *stack.launch, *stack.last)}
    return list((shared | {id(layer): layer for pair in pairs for layer in pair.layers}).values())


def _run_config_words(suite: SuiteFile, stack: Stack) -> frozenset[str]:
    """Of the kinds of models that the suite names: scripts have no other use for these words."""
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


def _matrix(suite: SuiteFile, words: frozenset[str], problems: Problems) -> list[Row]:
    for key, other in (("models", "datasets"), ("datasets", "models")):
        if suite.get(key) and not suite.get(other):
            problems.add(f"{suite.place(key)}: found {key} without {other}; accepted: both, or `discover` alone")
    if not suite.get("models") and not suite.get("datasets"):
        problems.add(f"{suite.place('models')}: models and datasets are empty; accepted: at least one of each")
    if suite.get("discover") is not None:
        problems.add(f"{suite.place('discover')}: found next to models and datasets; accepted: one of the two layouts")
    return matrix_rows(suite, words, problems)


def _tree(suite: SuiteFile, stack: Stack, words: frozenset[str], problems: Problems) -> list[Row]:
    extension = topmost("model_file_ext", stack.suite, stack.launch)
    if extension is None:
        accepted = "`models` and `datasets`, or `discover: {model_file_ext: .onnx, in_subdir: images}`"
        problems.add(f"{suite.place('discover')}: nothing says where the models are; accepted: {accepted}")
        return []
    depth = (suite.get("discover") or {}).get("max_depth", DEPTH)
    return TaskTree(suite.root, extension, depth, stack.suite + stack.launch, stack.last, words).rows(problems)
