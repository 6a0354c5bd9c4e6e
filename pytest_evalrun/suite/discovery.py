"""From an evalrun.yaml to its pairs. No data is read, and no directory of samples is listed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.suite.assembly import assemble, protected_directories
from pytest_evalrun.suite.checks import check_layer, check_scoring
from pytest_evalrun.suite.entries import topmost
from pytest_evalrun.suite.matrix import matrix_rows
from pytest_evalrun.suite.names import check_name
from pytest_evalrun.suite.pairs import Suite
from pytest_evalrun.suite.problems import Problems
from pytest_evalrun.suite.runconfig import environment_layers, script_layer
from pytest_evalrun.suite.suitefile import SuiteFile
from pytest_evalrun.suite.tree import DEPTH, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_evalrun.suite.entries import Row
    from pytest_evalrun.suite.pairs import Layer


__all__ = ["Stack", "Suite", "discover"]


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
    """The suite of an evalrun.yaml. Raises ConfigError with everything that is wrong, one problem a line."""
    suite = SuiteFile(os.path.abspath(file))
    problems = Problems()
    name = suite.get("name") or os.path.basename(suite.root)
    problems.attempt(lambda: check_name(name, "suite"), None)
    nothing: tuple[Layer, ...] = ()
    environment = problems.attempt(lambda: environment_layers(environ), nothing)
    stack = Stack((*_script(suite, problems), *suite.layers()), (*environment, *command_line), tuple(eval_set))
    matrix = suite.get("models") is not None or suite.get("datasets") is not None
    rows = _matrix(suite, problems) if matrix else _tree(suite, stack, problems)
    problems.raise_any()
    pairs = assemble(name, suite, rows, stack, problems)
    layers = {id(layer): layer for pair in pairs for layer in pair.layers}.values()
    for layer in layers:
        check_layer(layer, suite.root, matrix, problems)
    problems.raise_any()
    check_scoring(pairs, problems)
    problems.raise_any()
    return Suite(
        name, suite.file, suite.root, pairs, protected_directories(rows, layers, suite.root), _any_adapter(layers)
    )


def _any_adapter(layers: Iterable[Layer]) -> bool:
    return any(layer.values.get("adapter") for layer in layers)


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


def _matrix(suite: SuiteFile, problems: Problems) -> list[Row]:
    for key, other in (("models", "datasets"), ("datasets", "models")):
        if suite.get(key) and not suite.get(other):
            problems.add(f"{suite.place(key)}: found {key} without {other}; accepted: both, or `discover` alone")
    if not suite.get("models") and not suite.get("datasets"):
        problems.add(f"{suite.place('models')}: models and datasets are empty; accepted: at least one of each")
    if suite.get("discover") is not None:
        problems.add(f"{suite.place('discover')}: found next to models and datasets; accepted: one of the two layouts")
    return matrix_rows(suite, problems)


def _tree(suite: SuiteFile, stack: Stack, problems: Problems) -> list[Row]:
    extension = topmost("model_file_ext", stack.suite, stack.launch)
    if extension is None:
        accepted = "`models` and `datasets`, or `discover: {model_file_ext: .onnx, in_subdir: images}`"
        problems.add(f"{suite.place('discover')}: nothing says where the models are; accepted: {accepted}")
        return []
    depth = (suite.get("discover") or {}).get("max_depth", DEPTH)
    return Tree(suite.root, extension, depth, stack.suite + stack.launch, stack.last).rows(problems)
