"""``${NAME}`` in settings: read from the environment only where it is used, never shown."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_evalrun.suite.discovery import Suite

BLANK = "***"
# A secret of three letters would blank half of every log.
SHORTEST = 4

_SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand(value: Any, environ: Mapping[str, str] = os.environ) -> Any:
    """The same structure with every ``${NAME}`` read from the environment. Raises ConfigError where it is not set."""
    if isinstance(value, str):
        return _SECRET.sub(lambda match: _value(match[1], environ), value) if "${" in value else value
    if isinstance(value, dict):
        return {key: expand(entry, environ) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [expand(entry, environ) for entry in value]
    return value


def _value(name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise ConfigError(f"${{{name}}}: the environment variable {name} is not set; set it before the run")
    return environ[name]


def secret_names(value: Any) -> set[str]:
    """The names of all secrets that a structure asks for."""
    if isinstance(value, str):
        return set(_SECRET.findall(value))
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple | set):
        return set()
    return set().union(*map(secret_names, value))


def secret_values(suites: Iterable[Suite], environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The values of every secret that the suites ask for and that is long enough to be blanked."""
    layers = {id(layer): layer for suite in suites for pair in suite.pairs for layer in pair.layers}
    names = secret_names([dict(layer.values) for layer in layers.values()])
    return tuple(environ[name] for name in sorted(names) if len(environ.get(name, "")) >= SHORTEST)


def blank(text: str, secrets: Iterable[str]) -> str:
    """The text with the values of secrets replaced; longer ones first, because one may hold another."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, BLANK)
    return text
