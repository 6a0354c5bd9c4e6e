"""What a program is told: the values of its placeholders, its words, its environment."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.secrets import expand
from pytest_evalrun.suite.template import fill, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings

GPUS = "CUDA_VISIBLE_DEVICES"
# Of the one who starts programs, not of the programs.
NOT_HANDED_OVER = frozenset({"REMOTE_TASK_HOME", "CLEANUP_REMOTE_WORKDIR", "CLEANUP_SHARED_MODELS"})
_RUN_CONFIGS = ("task .run_config", "dataset .run_config")


def placeholders(pair: Pair, output: Path | None, gpus: str) -> dict[str, str]:
    """The values that do not change from one call to the next; ``${SECRETS}`` in parameters are read here."""
    settings, dataset = pair.settings, Path(pair.dataset.path)
    values = {name: as_text(value) for name, value in expand(dict(settings.params)).items()}
    values |= {
        "model": pair.task.path or "",
        "model_dir": str(model_directory(pair)),
        "dataset": pair.dataset.path,
        "dataset_dir": str(dataset if dataset.is_dir() else dataset.parent),
        "gpus": gpus,
        "batch_size": str(settings.max_batch_size),
    }
    return values if output is None else values | {"output": str(output)}


def model_directory(pair: Pair) -> Path:
    if pair.task.path is None:
        return Path(pair.task.directory)
    path = Path(pair.task.path)
    return path if path.is_dir() else path.parent


def as_text(value: Any) -> str:
    """A parameter as an argument: text as it is, everything else as JSON writes it."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def arguments(settings: Settings, values: Mapping[str, str], inputs: Sequence[str] = ()) -> list[str]:
    """The words of the command. Values stand in them as they are; a shell is given them quoted."""
    command = settings.command
    assert command is not None, "checked when the suite was read"
    if settings.shell:
        quoted = {name: shlex.quote(value) for name, value in values.items()}
        quoted["inputs"] = " ".join(map(shlex.quote, inputs))
        return ["sh", "-c", fill(str(command), quoted)]
    words = words_of(command)
    return [told for word in words for told in (inputs if word == "{inputs}" else [fill(word, values)])]


def command_line(argv: Sequence[str], gpus: Mapping[str, str]) -> str:
    """As it could be typed."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in gpus.items()), shlex.join(argv)])


def environment(pair: Pair, output: Path | None = None, state: PurePath | None = None) -> dict[str, str]:
    """What is added to the environment, by the names that task_run.sh gave its scripts.

    ``state`` is the absolute prefix of the program's own state file. A server, which serves many datasets, is told
    only what holds for all of them: it has no ``output``.
    """
    settings = pair.settings
    home = settings.env.get("REMOTE_TASK_HOME") or ""
    told = {name: value for name, value in settings.env.items() if name not in NOT_HANDED_OVER}
    told |= _of_run_configs(pair) | {
        "MODEL_DIR": str(model_directory(pair)),
        "SHARED_MODEL_PATH": _below(home, f".model_cache/{pair.key.task}_model{PurePath(pair.task.path or '').suffix}"),
        "IN_SUBDIR": settings.in_subdir or "",
        "POST_PROCESS_PLUGIN": settings.post_process_plugin or "",
        "MAX_BATCH_SIZE": str(settings.max_batch_size),
    }
    if output is not None:
        told["REMOTE_WORK_DIR"] = _below(home, f"task_{pair.key.task}_{pair.key.dataset}")
        told["OUT_SUBDIR"] = _out_subdir(settings, output)
    if state is not None:
        told["RUN_STATE_NAME"] = str(state)
    return expand(told)  # type: ignore[no-any-return]


def _of_run_configs(pair: Pair) -> dict[str, str]:
    """Settings that stand in a .run_config are handed over by the names that they have there."""
    layers = [layer for layer in pair.layers if layer.kind in _RUN_CONFIGS]
    settings = {name: value for layer in layers for name, value in layer.values.items() if name != "env"}
    return {name.upper(): _flat(value) for name, value in settings.items()}


def _flat(value: Any) -> str:
    return ",".join(map(_flat, value)) if isinstance(value, list | tuple) else as_text(value)


def _below(home: str, name: str) -> str:
    """Relative to the remote home, where nobody said where that is."""
    return f"{home.rstrip('/')}/{name}" if home else name


def _out_subdir(settings: Settings, output: Path) -> str:
    """As it was given where it is a directory of each dataset; else absolute, which scripts take as it is."""
    given = settings.out_subdir
    return given if given and not given.startswith((".", "/")) else str(output)


def whole_environment(added: Mapping[str, str], gpus: Mapping[str, str]) -> dict[str, str]:
    """Our own environment, what programs are told, and the GPUs that are theirs."""
    return {**os.environ, **added, **gpus}
