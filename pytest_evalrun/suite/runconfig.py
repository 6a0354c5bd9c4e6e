"""Layers from everything that is not YAML: .run_config, script, environment, command line. All read, none executed."""

from __future__ import annotations

import io
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.loading import parse_value
from pytest_evalrun.suite.ownwords import owner, words_of_kind
from pytest_evalrun.suite.problems import Problems, accepted, found, place
from pytest_evalrun.suite.schema import SETTINGS, LayerModel, SettingsModel
from pytest_evalrun.suite.settings import MAPPINGS, OF_DISCOVERY
from pytest_evalrun.suite.template import escaped
from pytest_evalrun.suite.validation import validated
from pytest_evalrun.suite.words import FLAT, OTHERS_WORDS, PREFIX, SEED_ENV, SEED_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_ASSIGNMENT = re.compile(r"(?:export\s+|readonly\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_DEFAULT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?-([^$`{}]*)\}")
_NO_COMMAND = re.compile(r"\s*(#|$|set\s|shopt\s)")


def run_config_layer(path: str, kind: str, words: frozenset[str] = frozenset()) -> Layer | None:
    """A ``.run_config``: KEY=VALUE lines; keys that are no settings go to the program's environment.

    ``words`` are settings, too: those of the kinds of models that the suite names.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place(path, None)}: cannot be read: {error}") from None
    return _layer(kind, path, _bindings(text, path), FLAT - OTHERS_WORDS | words, keep_others=True)


def script_layer(path: str) -> Layer:
    """The leading ``NAME=value`` and ``NAME=${NAME:-value}`` lines of a script that are settings; it is run by bash."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigError(f"{place(path, None)}: the script cannot be read: {error.strerror}") from None
    layer = _layer("script", path, _assignments(lines), FLAT - OTHERS_WORDS | {"model_file_ext"}, keep_others=False)
    command = ["bash", escaped(path), "{dataset_dir}"]
    return Layer(layer.kind, path, {"command": command} | dict(layer.values), layer.lines)


def environment_layers(environ: Mapping[str, str] = os.environ) -> tuple[Layer, ...]:
    """``EVALRUN_<KEY>`` above the seed's own names; a layer a variable, so that its origin can be shown."""
    problems, layers = Problems(), []
    for variable, values in _variables(environ):
        layer = problems.attempt(lambda v=variable, new=values: _checked("environment", v, new), None)  # type: ignore[misc]
        if layer is not None:
            layers.append(layer)
    problems.raise_any()
    return tuple(layers)


def variables_in(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of those variables that are settings."""
    return (name for name, _ in _variables(environ))


def command_line_layer(option: str, key: str, value: Any) -> Layer:
    """An option of the command line that is a setting."""
    return _checked("command line", option, {key: value})


def eval_set_layer(items: Sequence[str]) -> Layer:
    """``KEY=VALUE`` items, values in YAML, dots in the key for what lies inside a mapping: ``gates.top1.min=0.9``."""
    problems, values = Problems(), dict[str, Any]()
    for item in items:
        _merge(values, problems.attempt(lambda item=item: _eval_set(item), {}))  # type: ignore[misc]
    problems.raise_any()
    return Layer("--eval-set", "--eval-set", values)


def _eval_set(item: str) -> dict[str, Any]:
    source = f"--eval-set {item}"
    key, equals, text = item.partition("=")
    first, *rest = key.strip().split(".")
    if not equals or not all((first, *rest)):
        raise ConfigError(
            f"{source}: found {item!r}; accepted: KEY=VALUE, as in max_batch_size=8 or gates.top1.min=0.9"
        )
    if first not in SETTINGS and owner(first) is None:
        raise ConfigError(f"{source}: unknown key {first!r}; {accepted(first, SETTINGS | words_of_kind(None))}")
    if rest and first not in MAPPINGS:
        raise ConfigError(f"{source}: {first} has no keys; accepted: {first}=VALUE")
    value = parse_value(text, source)
    for word in reversed(rest):
        value = {word: value}
    return validated(SettingsModel, {first: value}, lambda _: source)


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in SEED_ENV:
        if environ.get(name):
            yield name, {"env": {name: environ[name]}}
    for variable in (*SEED_SETTINGS, *sorted(name for name in environ if name.startswith(PREFIX))):
        key = variable.removeprefix(PREFIX).lower()
        if environ.get(variable) and (variable in SEED_SETTINGS or _is_flat(key)):
            yield variable, {key: environ[variable]}


def _is_flat(key: str) -> bool:
    """Tell whether a text can be the value of a setting, or of a word that only some kinds of models have."""
    if key in FLAT or key in OF_DISCOVERY:
        return True
    kind = None if key in SETTINGS else owner(key)
    return kind is not None and key not in kind.in_yaml


def _checked(kind: str, source: str, values: Mapping[str, Any]) -> Layer:
    return Layer(kind, source, validated(LayerModel, values, lambda _: source))


def _layer(
    kind: str, path: str, bindings: Iterable[tuple[int, str, str]], keys: frozenset[str], keep_others: bool
) -> Layer:
    values: dict[str, Any] = {}
    env: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, name, value in bindings:
        key = name.lower()
        if key not in keys and (keep_others or name in SEED_ENV):
            env[name] = value
            lines[f"env.{name}"] = line
        elif key in keys and value:
            values[key] = value
            lines[key] = line
    checked = validated(LayerModel, values, lambda where: place(path, lines.get(str(where[0])), str(where[0]).upper()))
    return Layer(kind, path, checked | ({"env": env} if env else {}), lines)


def _bindings(text: str, path: str) -> Iterator[tuple[int, str, str]]:
    from dotenv.parser import parse_stream

    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        # It begins with the blank lines above it.
        line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        if binding.error or (binding.key and binding.value is None):
            raise ConfigError(
                f"{place(path, line)}: {found(written.strip())}; accepted: KEY=VALUE lines and # comments"
            )
        if binding.key and binding.value is not None:
            yield line, binding.key, binding.value


def _assignments(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Read the assignments up to the first command. Values that only a shell could know are passed over."""
    for number, line in enumerate(lines, 1):
        if _NO_COMMAND.match(line):
            continue
        match = _ASSIGNMENT.match(line.strip())
        if match is None:
            return
        if (value := _script_value(match[1], match[2])) is not None:
            yield number, match[1], value


def _script_value(name: str, text: str) -> str | None:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return None
    value = words[0] if words else ""
    if (match := _DEFAULT.fullmatch(value)) and match[1] == name:
        return match[2]
    # Arrays, substitutions and `NAME=value command` mean something only to a shell.
    return None if len(words) > 1 or value.startswith("(") or "$" in value or "`" in value else value
