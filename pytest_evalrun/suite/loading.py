"""YAML with line numbers, read safely: no tags, no bombs, no key twice.

Plain scalars are read as in YAML 1.2, so that ``no``, ``on``, ``12:30`` and dates stay text, and ``1e-3`` is a number.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.problems import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class NotPlainError(ConfigError):
    """Good YAML perhaps, but with more in it than a suite may hold."""


Key = str | int
Where = tuple[Key, ...]

LARGEST_FILE = 1 << 20
DEEPEST = 50
MOST_REPEATED = 10_000  # values that aliases may add to what is written

_CONSTANTS = {"": None, "~": None} | {
    spelled: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelled in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

# The C parser where PyYAML has it. Its events are safe; its composer is not: it dies of deep nesting.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """The content of a file, and the line of every key and item by its way from the top."""

    file: str
    values: Any
    lines: Mapping[Where, int]

    def place(self, where: Where) -> str:
        """``path:line: key`` of a value, or of what is nearest above it."""
        known = where
        while known and known not in self.lines:
            known = known[:-1]
        return place(self.file, self.lines.get(known), dotted(where))


@dataclass(slots=True)
class _Node:
    line: int
    scalar: Any = None
    items: list[_Node] | None = None
    pairs: list[tuple[str, _Node]] | None = None


def dotted(where: Where) -> str:
    """Write a way as people do: ``models[0].path``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where)
    return text.removeprefix(".")


def read_yaml(path: str) -> Document:
    """Read the mapping in a file. Raises ConfigError with file and line for everything that is not plain data."""
    text = _read(path)
    document = _parse(text, path)
    if not isinstance(document.values, dict):
        what = "nothing" if document.values is None else f"a {type(document.values).__name__}"
        raise NotPlainError(f"{place(path, 1)}: found {what}; accepted: a mapping, `key: value` lines")
    return document


def parse_value(text: str, source: str) -> Any:
    """Read one value in YAML, as given on a command line."""
    return _parse(text, source).values


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{place(path, None)}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise NotPlainError(f"{place(path, None)}: larger than {LARGEST_FILE} bytes; accepted: a smaller file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotPlainError(f"{place(path, line)}: found a byte that is not UTF-8; accepted: UTF-8 text") from None


def _parse(text: str, file: str) -> Document:
    builder = _Builder(file)
    try:
        root = builder.build(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        _refuse_depth(text, file)
        raise _not_yaml(file, error) from None
    unfolder = _Unfolder(file, builder.count + MOST_REPEATED)
    values = unfolder.unfold(root, ()) if root else None
    return Document(file, values, unfolder.lines)


def _refuse_depth(text: str, file: str) -> None:
    """Raise what is said of nesting too deep where the C parser's own limit came first.

    It reads ahead of what it hands over, and since PyYAML 6.0.4 it gives up at 1,000 levels; the other parser does not.
    """
    with suppress(yaml.YAMLError):
        _Builder(file).build(yaml.parse(text, Loader=yaml.SafeLoader))


def _not_yaml(file: str, error: yaml.YAMLError) -> ConfigError:
    if not isinstance(error, yaml.MarkedYAMLError):
        kind = NotPlainError if isinstance(error, yaml.reader.ReaderError) else ConfigError
        return kind(f"{place(file, None)}: not YAML: {' '.join(str(error).split())}")
    mark = error.problem_mark or error.context_mark
    what = ", ".join(filter(None, (error.context, error.problem)))
    return ConfigError(f"{place(file, mark.line + 1 if mark else None)}: not YAML: {what}")


class _Builder:
    """Parser events → nodes, shared where the file says so with an alias."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self._anchors: dict[str, _Node] = {}

    def build(self, events: Iterator[yaml.Event]) -> _Node | None:
        root = None
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, 0)
            elif isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._error(event, "found a second document", "one document a file")
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self.count += 1
        if depth > DEEPEST:
            raise self._error(event, f"nested deeper than {DEEPEST} levels", "plain settings")
        self._refuse_tag(event)
        node = _Node(_line(event))
        if isinstance(event, yaml.ScalarEvent):
            node.scalar = plain(event.value) if event.implicit[0] and event.tag is None else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            node.items = [self._node(e, events, depth + 1) for e in _until(events, yaml.SequenceEndEvent)]
        else:
            node.pairs = list(self._pairs(events, depth + 1))
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = node
        return node

    def _pairs(self, events: Iterator[yaml.Event], depth: int) -> Iterator[tuple[str, _Node]]:
        lines: dict[str, int] = {}
        for event in _until(events, yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error(event, "found a key that is not text", "`key: value`")
            self._refuse_tag(event)
            key, line = event.value, _line(event)
            if key in lines:
                raise self._error(event, f"found the key {key!r} twice, first in line {lines[key]}", "each key once")
            lines[key] = line
            node = self._node(next(events), events, depth)
            # The line of a value is that of its key: this is where people look.
            yield key, _Node(line, node.scalar, node.items, node.pairs)

    def _alias(self, event: yaml.AliasEvent) -> _Node:
        name = event.anchor
        if name not in self._anchors:
            raise self._error(event, f"the alias *{name} points to itself or to nothing", "an anchor above it")
        return self._anchors[name]

    def _refuse_tag(self, event: yaml.Event) -> None:
        tag = getattr(event, "tag", None)
        if tag not in {None, "!", "tag:yaml.org,2002:str"}:
            error = self._error(event, f"found the tag {tag!r}", "plain values without tags")
            raise ConfigError(str(error)) if _runs_code(tag) else error

    def _error(self, event: yaml.Event, what: str, accepted: str) -> NotPlainError:
        return NotPlainError(f"{place(self.file, _line(event))}: {what}; accepted: {accepted}")


def _runs_code(tag: str) -> bool:
    """Tell whether a tag runs code: such a file is passed over by nobody, whoever put it there must hear of it."""
    return tag.startswith("tag:yaml.org,2002:python/")


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None, "both parsers mark what they read"
    return event.start_mark.line + 1


def _until(events: Iterator[yaml.Event], end: type[yaml.Event]) -> Iterator[yaml.Event]:
    for event in events:
        if isinstance(event, end):
            return
        yield event


def plain(text: str) -> Any:
    """Read a scalar without quotes as YAML 1.2 does."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _SPECIAL.fullmatch(text) else text


@dataclass
class _Unfolder:
    """Nodes → values; counts, because a few lines of aliases can stand for billions of values."""

    file: str
    left: int
    lines: dict[Where, int] = field(default_factory=dict)

    def unfold(self, node: _Node, where: Where) -> Any:
        self.left -= 1
        if self.left < 0 or len(where) > DEEPEST:
            what = f"aliases repeat more than {MOST_REPEATED} values"
            raise ConfigError(f"{place(self.file, node.line)}: {what}; accepted: fewer of them")
        self.lines[where] = node.line
        if node.items is not None:
            return [self.unfold(item, (*where, index)) for index, item in enumerate(node.items)]
        if node.pairs is not None:
            return self._mapping(node.pairs, where)
        return node.scalar

    def _mapping(self, pairs: list[tuple[str, _Node]], where: Where) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, node in pairs:
            if key == "<<":
                values |= self._merged(node, where)
        for key, node in pairs:
            if key != "<<":
                values[key] = self.unfold(node, (*where, key))
        return values

    def _merged(self, node: _Node, where: Where) -> dict[str, Any]:
        """Merge ``<<: *base`` or a list of them, the first of which wins."""
        values: dict[str, Any] = {}
        for base in reversed(node.items if node.items is not None else [node]):
            if base.pairs is None:
                raise ConfigError(f"{place(self.file, node.line, '<<')}: {base.scalar!r}; accepted: mappings")
            values |= self._mapping(base.pairs, where)
        return values
