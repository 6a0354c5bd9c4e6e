"""evalrun.yaml with what it imports: validated, every value with its line."""

# ruff: noqa: PTH110, PTH113, PTH118, PTH120
# Paths are text here: a suite has tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.loading import Document, read_yaml
from pytest_evalrun.suite.objects import is_path_ref
from pytest_evalrun.suite.problems import found
from pytest_evalrun.suite.schema import STRUCTURE, SuiteModel
from pytest_evalrun.suite.validation import validated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_evalrun.suite.loading import Where

DEEPEST_LINES = 3  # gates.top1.min; what is deeper has the line of what holds it
# What names code, or examples to show.
_PATHS = ("adapter", "format", "metrics", "fewshot.from")
# What is in these means something to the user's code alone.
_OPAQUE = ("params", "reader", "env")
# Also asked for by people who write no `discover`, and then by the environment or a script.
_SHARED = ("in_subdir", "model_file_ext")


@dataclass(frozen=True)
class Mapped:
    """A mapping in a suite's files: an entry of ``models``, ``datasets`` or ``overrides``, or a whole file."""

    document: Document
    where: Where
    values: Mapping[str, Any]

    def place(self, key: str = "") -> str:
        return self.document.place((*self.where, key) if key else self.where)

    def layer(self, kind: str) -> Layer | None:
        """The settings among the values."""
        settings = {key: value for key, value in self.values.items() if key not in STRUCTURE}
        lines = dict(self._lines(settings, (), DEEPEST_LINES))
        for key in _SHARED:
            if key in self.values.get("discover", ()) and key not in settings:
                settings[key] = self.values["discover"][key]
                lines[key] = self.document.lines[("discover", key)]
        return Layer(kind, self.document.file, settings, lines) if settings else None

    def lines(self, inside: str) -> Iterator[tuple[str, int]]:
        """The lines of the mapping and of its values, by dotted keys that begin with ``inside``."""
        yield inside, self.document.lines[self.where]
        yield from ((f"{inside}.{key}", line) for key, line in self._lines(self.values, (), DEEPEST_LINES))

    def _lines(self, values: Mapping[str, Any], inside: tuple[str, ...], depth: int) -> Iterator[tuple[str, int]]:
        for key, value in values.items():
            where = (*inside, key)
            if line := self.document.lines.get((*self.where, *where)):
                yield ".".join(where), line
            if depth > 1 and isinstance(value, dict):
                yield from self._lines(value, where, depth - 1)


class SuiteFile:
    """The files of one suite, lowest first: what is imported, then evalrun.yaml itself."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root = os.path.dirname(file)
        self.parts: list[Mapped] = []
        self._seen: set[str] = set()
        self._read(file, ())

    def _read(self, file: str, importers: tuple[str, ...]) -> None:
        real = os.path.realpath(file)
        if real in self._seen:
            return
        self._seen.add(real)
        document = read_yaml(file)
        values = validated(SuiteModel, document.values, document.place)
        part = Mapped(document, (), _beside(values, os.path.dirname(file), self.root) if importers else values)
        for index, path in enumerate(part.values.get("import", ())):
            self._import(part, document.place(("import", index)), path, (*importers, real))
        self.parts.append(part)

    def _import(self, part: Mapped, place: str, path: str, importers: tuple[str, ...]) -> None:
        target = os.path.realpath(os.path.join(os.path.dirname(part.document.file), path))
        if target in importers:
            raise ConfigError(f"{place}: {found(path)}, which imports this file; accepted: imports without a circle")
        if not path.endswith((".yaml", ".yml")) or not os.path.isfile(target):
            raise ConfigError(f"{place}: {found(path)}; accepted: an existing .yaml or .yml file (looked for {target})")
        self._read(target, importers)

    def get(self, key: str) -> Any:
        """A value that is no setting: that of the highest file that has it."""
        part = self._part(key)
        return None if part is None else part.values[key]

    def place(self, key: str) -> str:
        return (self._part(key) or self.parts[-1]).place(key)

    def entries(self, key: str) -> list[Mapped]:
        """The entries of a list, each with its place."""
        part = self._part(key)
        return [] if part is None else _entries(part, key)

    def named(self, key: str) -> dict[str, Mapped]:
        """The entries of a mapping from the user's own names, each with its place."""
        part = self._part(key)
        if part is None:
            return {}
        return {name: Mapped(part.document, (key, name), values) for name, values in part.values[key].items()}

    def part(self, key: str) -> Mapped | None:
        """A mapping that is no setting, with its place: that of the highest file that has it."""
        part = self._part(key)
        return None if part is None else Mapped(part.document, (key,), part.values[key])

    def overrides(self) -> list[Mapped]:
        """Those of all files, imported ones first."""
        return [entry for part in self.parts for entry in _entries(part, "overrides")]

    def layers(self) -> list[Layer]:
        return [layer for part in self.parts if (layer := part.layer("suite"))]

    def _part(self, key: str) -> Mapped | None:
        return next((part for part in reversed(self.parts) if key in part.values), None)


def _entries(part: Mapped, key: str) -> list[Mapped]:
    return [Mapped(part.document, (key, index), values) for index, values in enumerate(part.values.get(key, ()))]


def _beside(value: Any, here: str, root: str, key: str = "") -> Any:
    """The values of an imported file, where code or examples that it names lie beside it, and not in the suite.

    Paths are relative to the suite, for that is where most of what is named lies; but what is part of an imported file
    comes with it.
    """
    if key in _OPAQUE:
        return value
    if isinstance(value, dict):
        # A metric with parameters is a mapping, whose key names it.
        return {
            _beside(name, here, root, key) if key == "metrics" else name: _beside(entry, here, root, _key(key, name))
            for name, entry in value.items()
        }
    if isinstance(value, list):
        return [_beside(entry, here, root, key) for entry in value]
    if not isinstance(value, str) or key not in _PATHS:
        return value
    file, colon, name = value.rpartition(":") if is_path_ref(value) else (value, "", "")
    if os.path.exists(os.path.join(root, file)) or not os.path.isfile(os.path.join(here, file)):
        return value
    return os.path.relpath(os.path.join(here, file), root) + colon + name


def _key(above: str, name: str) -> str:
    return f"{above}.{name}" if above in ("fewshot", "metrics") else name
