"""One module a kind of model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.settings import ModelKind, kind_names

if TYPE_CHECKING:
    from pytest_evalrun.adapters.protocol import Adapter
    from pytest_evalrun.suite.pairs import Task
    from pytest_evalrun.suite.settings import Settings

__all__ = ["ModelKind", "create_adapter"]


def create_adapter(task: Task, settings: Settings, root: str) -> Adapter:
    """The adapter of a task, not loaded yet; ``${SECRETS}`` in its parameters are read from the environment here."""
    from pytest_evalrun.suite.secrets import expand

    if settings.adapter is None:
        raise PairError(f"task {task.name}: no adapter; accepted: {', '.join(sorted(kind_names()))}, ./file.py:Name")
    own = {name: value for name, value in settings.words.items() if name in settings.kind.words()}
    settings = replace(settings, params=expand(dict(settings.params)), words=expand(own))
    return settings.kind.create(settings, task.path, root)  # type: ignore[no-any-return]
