"""The command of a program and its environment: placeholders and their values, words, files that travel along."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.commands import ProgramSettings, program_of
from pytest_evalrun.suite.layers import RUN_CONFIGS
from pytest_evalrun.suite.secrets import expand
from pytest_evalrun.suite.template import as_text, escaped, files_in, fill, names_in, portable, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings

GPUS = "CUDA_VISIBLE_DEVICES"
# Of the one who starts programs, not of the programs.
NOT_HANDED_OVER = frozenset({"REMOTE_TASK_HOME", "CLEANUP_REMOTE_WORKDIR", "CLEANUP_SHARED_MODELS"})


@dataclass(frozen=True)
class Where:
    """Places as the machine that runs the program knows them; a server, which serves many datasets, has no ``output``.

    ``work`` is REMOTE_WORK_DIR, ``shared_model`` SHARED_MODEL_PATH; ``extra`` is what only some programs are told.
    """

    model: str
    model_dir: str
    dataset: str
    dataset_dir: str
    work: str
    shared_model: str
    output: str | None = None
    out_subdir: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


def here(pair: Pair, output: Path | None = None) -> Where:
    """Name the places of this machine; those on a board below its home, as far as anybody said where that is."""
    home = pair.settings.env.get("REMOTE_TASK_HOME") or ""
    dataset = Path(pair.dataset.path)
    return Where(
        model=pair.task.path or "",
        model_dir=str(model_directory(pair)),
        dataset=pair.dataset.path,
        dataset_dir=str(dataset if dataset.is_dir() else dataset.parent),
        work=_below(home, f"task_{pair.key.task}_{pair.key.dataset}"),
        shared_model=_below(home, f".model_cache/{pair.key.task}_model{PurePath(pair.task.path or '').suffix}"),
        output=None if output is None else str(output),
        out_subdir="" if output is None else _out_subdir(pair.settings, output),
    )


def there(model: str, work: str, data: str, dataset: str, output: str | None) -> Where:
    """Name the places of a board: the dataset's files are in ``data``, where ``dataset`` is its directory or file."""
    return Where(
        model=model,
        model_dir=str(PurePosixPath(model).parent) if model else work,
        dataset=dataset,
        dataset_dir=data,
        work=work,
        shared_model=model,
        output=output,
        out_subdir=output or "",
    )


def placeholders(pair: Pair, where: Where, gpus: str) -> dict[str, str]:
    """Give the values that do not change from one call to the next; ``${SECRETS}`` in parameters are read here."""
    settings = pair.settings
    values = {name: as_text(value) for name, value in expand(dict(settings.params)).items()}
    values |= {
        "model": where.model,
        "model_dir": where.model_dir,
        "dataset": where.dataset,
        "dataset_dir": where.dataset_dir,
        "gpus": gpus,
        "batch_size": str(settings.max_batch_size),
    }
    return values if where.output is None else values | {"output": where.output}


def model_directory(pair: Pair) -> Path:
    if pair.task.path is None:
        return Path(pair.task.directory)
    path = Path(pair.task.path)
    return path if path.is_dir() else path.parent


def arguments(settings: Settings, values: Mapping[str, str], inputs: Sequence[str] = ()) -> list[str]:
    """Fill the words of the command. Values stand in them as they are; a shell is given them quoted."""
    own = program_of(settings)
    command = own.command
    assert command is not None, "checked when the suite was read"
    if own.shell:
        quoted = {name: shlex.quote(value) for name, value in values.items()}
        quoted["inputs"] = " ".join(map(shlex.quote, inputs))
        return ["sh", "-c", fill(str(command), quoted)]
    words = words_of(command)
    return [filled for word in words for filled in (inputs if word == "{inputs}" else [fill(word, values)])]


def planned_command(pair: Pair) -> str | None:
    """Fill the command as far as its pair is known: other placeholders stay, and so do ``${SECRETS}``.

    None where there is no program to be started: a pair that is cut only takes over what its shards did.
    """
    if pair.peek("command") is None or pair.is_cut or not isinstance(pair.settings.own, ProgramSettings):
        return None
    settings, own = pair.settings, program_of(pair.settings)
    known = {name: as_text(value) for name, value in settings.params.items()}
    known |= {"model": pair.task.path or "", "model_dir": str(model_directory(pair)), "dataset": pair.dataset.path}
    known["batch_size"] = str(settings.max_batch_size)
    if pair.positions is not None and settings.range == "position":
        known |= {"low": str(pair.positions.start), "high": str(pair.positions.stop)}
    command = own.command or ""
    texts = [str(command)] if own.shell else words_of(command)
    unknown = {name: f"{{{name}}}" for text in texts for name in names_in(text) if name not in known}
    if own.shell:
        return fill(texts[0], {name: shlex.quote(value) for name, value in known.items()} | unknown)
    return " ".join(_readable(fill(word, known | unknown)) for word in texts)


def _readable(word: str) -> str:
    """Quote a word where it must be, but not for the braces of a placeholder."""
    plain = word.replace("{", "").replace("}", "")
    return word if plain and shlex.quote(plain) == plain else shlex.quote(word)


def command_line(argv: Sequence[str], gpus: Mapping[str, str]) -> str:
    """Write a command as it could be typed."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in gpus.items()), shlex.join(argv)])


def environment(pair: Pair, where: Where, state: PurePath | None = None) -> dict[str, str]:
    """Give what is added to the environment, by the names that task_run.sh gave its scripts.

    ``state`` is the absolute prefix of the program's own state file. A server is told only what holds for all of its
    datasets.
    """
    settings = pair.settings
    added = {name: value for name, value in settings.env.items() if name not in NOT_HANDED_OVER}
    added |= _of_run_configs(pair) | {
        "MODEL_DIR": where.model_dir,
        "SHARED_MODEL_PATH": where.shared_model,
        "IN_SUBDIR": settings.in_subdir or "",
        "POST_PROCESS_PLUGIN": settings.post_process_plugin or "",
        "MAX_BATCH_SIZE": str(settings.max_batch_size),
        **where.extra,
    }
    if where.output is not None:
        added["REMOTE_WORK_DIR"] = where.work
        added["OUT_SUBDIR"] = where.out_subdir
    if state is not None:
        added["RUN_STATE_NAME"] = str(state)
    return expand(added)  # type: ignore[no-any-return]


def _of_run_configs(pair: Pair) -> dict[str, str]:
    """Hand over the settings that stand in a .run_config by the names that they have there."""
    layers = [layer for layer in pair.layers if layer.kind in RUN_CONFIGS]
    settings = {name: value for layer in layers for name, value in layer.values.items() if name != "env"}
    return {name.upper(): _flat(value) for name, value in settings.items()}


def _flat(value: Any) -> str:
    return ",".join(map(_flat, value)) if isinstance(value, list | tuple) else as_text(value)


def _below(home: str, name: str) -> str:
    """Name a place below the remote home; a relative one where nobody said where that is."""
    return f"{home.rstrip('/')}/{name}" if home else name


def _out_subdir(settings: Settings, output: Path) -> str:
    """Give it as it was where it is a directory of each dataset; else absolute, which scripts take as it is."""
    given = settings.out_subdir
    return given if given and not given.startswith((".", "/")) else str(output)


def whole_environment(added: Mapping[str, str], gpus: Mapping[str, str]) -> dict[str, str]:
    """Join our own environment, what programs are given, and the GPUs that are theirs."""
    return {**os.environ, **added, **gpus}


def portable_command(pair: Pair) -> Settings:
    """Give the settings with a command that names files of the suite by their relative names."""
    settings, own = pair.settings, program_of(pair.settings)
    if own.shell or own.command is None:
        return settings
    words = [_relative(word, pair.root) for word in words_of(own.command)]
    return replace(settings, words={**settings.words, "command": words})


def _relative(word: str, root: str) -> str:
    name = portable(word, root)
    return word if name == word else escaped(name)


def named_files(settings: Settings, root: str) -> Iterator[tuple[str, Path]]:
    """List the user's files that the command names, by the words for them."""
    own = program_of(settings)
    command = own.command or ""
    return files_in(str(command).split() if own.shell else words_of(command), root)


def sent_files(settings: Settings, root: str) -> list[tuple[Path, str]]:
    """List the files that travel to a board: those that the command names, and `upload`.

    Each comes with its name below the suite's directory, which it has on the board too. Raises PairError.
    """
    named = [path for _, path in named_files(settings, root)]
    chosen = [path for pattern in program_of(settings).upload for path in _chosen(pattern, root)]
    inside = {str(path.relative_to(root)): path for path in (*named, *chosen) if path.is_relative_to(root)}
    return [(path, name) for name, path in sorted(inside.items()) if ".." not in Path(name).parts]


def _chosen(pattern: str, root: str) -> Iterator[Path]:
    """List a file, everything below a directory, or what a glob finds. Raises PairError where that is nothing."""
    path = Path(root, pattern)
    try:
        if path.is_dir():
            found = [one for one in sorted(path.rglob("*")) if one.is_file()]
        else:
            found = [path] if path.is_file() else sorted(one for one in Path(root).glob(pattern) if one.is_file())
    except OSError as error:
        raise PairError(f"upload: found {pattern!r}: {error.strerror}") from None
    if not found:
        raise PairError(f"upload: found {pattern!r}, which matches no file below {root}")
    yield from found
