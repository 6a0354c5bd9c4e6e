"""One module a kind of model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.settings import BOARD, PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.adapters.protocol import Adapter
    from pytest_evalrun.datasets.protocol import Hashes
    from pytest_evalrun.suite.pairs import Task
    from pytest_evalrun.suite.settings import Settings

NAMES = frozenset({"onnx", PROGRAM, BOARD})


def create_adapter(task: Task, settings: Settings, root: str) -> Adapter:
    """The adapter of a task, not loaded yet; ``${SECRETS}`` in its parameters are read from the environment here."""
    from pytest_evalrun.suite.secrets import expand

    if settings.adapter is None:
        raise PairError(f"task {task.name}: no adapter; accepted: {', '.join(sorted(NAMES))}, ./file.py:Name")
    if settings.is_program:
        raise PairError(f"task {task.name}: a program is no Python object; it is started where its pair is evaluated")
    params = expand(dict(settings.params))
    if settings.adapter == "onnx":
        from pytest_evalrun.adapters.onnx import OnnxAdapter

        return OnnxAdapter(task.path, params, settings.preprocess, settings.output)
    from pytest_evalrun.adapters.python import PythonAdapter

    return PythonAdapter(settings.adapter, root, task.path, params)


def model_files(settings: Settings, model: Path, hashes: Hashes) -> list[str]:
    """Files beside a model's own that belong to it, relative to its directory."""
    if settings.adapter != "onnx" or not model.is_file():
        return []
    from pytest_evalrun.adapters.onnx_data import external_data

    return external_data(model, hashes)


def adapter_source(settings: Settings, root: str) -> Path | None:
    """The user's Python file behind the adapter, because what it says is part of a prediction's identity."""
    if settings.adapter is None or settings.adapter in NAMES:
        return None
    from pytest_evalrun.suite.objects import source_file

    return source_file(settings.adapter, root)
