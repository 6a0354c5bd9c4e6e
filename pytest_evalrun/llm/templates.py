"""Templates of prompts: Jinja2 over a sample's columns, sandboxed, strict, repeatable, and never endless in size."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, PairError, SampleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import Environment
    from jinja2 import Template as Compiled

# Bytes that a template may make of one sample.
MOST_BYTES = 10_000_000
# What would make another text of the same columns each time: nothing could be taken over or compared.
_RANDOM = ("lipsum", "random")
# Whoever asks so has thought of the column being absent.
_GUARDS = frozenset({"defined", "undefined", "default", "d"})

# What of a message is no template: whose it is, what kind of part, and which column has a picture.
AS_THEY_ARE = (".role", ".type", ".image")
# All columns by one name, for those whose names are no words: {{ row["Correct Answer"] }}.
ROW = "row"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """A sandbox without files, chance or the environment; what a sample holds cannot be changed in it."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _refuse_size(operator, left, right)
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(undefined=StrictUndefined)
    for name in _RANDOM:
        environment.globals.pop(name, None)
        environment.filters.pop(name, None)
    return environment


def _refuse_size(operator: str, left: Any, right: Any) -> None:
    """Two short words may make a text, or a number, that fills the memory: ``"x" * 10**12``."""
    numbers = isinstance(left, int) and isinstance(right, int)
    if operator == "**" and numbers:
        size = left.bit_length() * abs(right) // 8
    else:
        size = _length(left, right) or _length(right, left)
    if size > MOST_BYTES:
        raise OverflowError(f"a value of more than {MOST_BYTES} bytes")


def _length(text: Any, count: Any) -> int:
    """The length of a text that is repeated; 0 where it is not."""
    return len(text) * count if isinstance(text, str | bytes | list | tuple) and isinstance(count, int) else 0


@lru_cache(maxsize=256)
def _compiled(text: str) -> Compiled:
    return _environment().from_string(text)


@lru_cache(maxsize=256)
def mistake_in(text: str) -> str | None:
    """Say why a text is no template, with the line in it; None where it is one."""
    from jinja2 import TemplateSyntaxError, meta

    try:
        others = list(meta.find_referenced_templates(_environment().parse(text)))
        _compiled(text)
    except TemplateSyntaxError as error:
        return f"not a Jinja2 template: {error.message} (its line {error.lineno})"
    except (SyntaxError, ValueError, RecursionError) as error:  # Jinja2 compiles to Python, which has limits
        return f"not a Jinja2 template: {type(error).__name__}: {error}"
    return "found `include`, `import` or `extends`; accepted: a template that stands alone" if others else None


@lru_cache(maxsize=256)
def names_in(text: str) -> frozenset[str]:
    """The columns without which a template cannot be: those that it asks for without asking whether they are there."""
    from jinja2 import meta, nodes

    environment = _environment()
    tree = environment.parse(text)
    guarded = {
        node.node.name
        for node in tree.find_all((nodes.Test, nodes.Filter))
        if node.name in _GUARDS and isinstance(node.node, nodes.Name)
    }
    return frozenset(meta.find_undeclared_variables(tree)) - environment.globals.keys() - guarded


class Template:
    """One text of a prompt; ``key`` is where it stands in the suite. Raises ConfigError where it is no template."""

    def __init__(self, text: str, key: str) -> None:
        if mistake := mistake_in(text):
            raise ConfigError(f"{key}: {mistake}")
        self.text = text
        self.key = key
        self._compiled = _compiled(text)

    def render(self, columns: Mapping[str, Any]) -> str:
        """The text of a sample, whose columns are there by their names, and all of them as ``row``.

        Raises PairError for a column that is missing and for what a sandbox refuses, SampleError for what else a
        sample's values lead to.
        """
        from jinja2.exceptions import SecurityError, UndefinedError

        try:
            return self._joined(lambda: self._compiled.generate({ROW: dict(columns), **columns}))
        except UndefinedError as error:
            raise PairError(f"{self.key}: {self._missing(columns, error)}; columns: {listed(columns)}") from None
        except SecurityError as error:
            raise PairError(f"{self.key}: refused: {error}") from None
        except SampleError:
            raise
        except Exception as error:  # of an expression over the sample's values
            raise SampleError(f"{self.key}: {type(error).__name__}: {error}") from error

    def _joined(self, pieces: Callable[[], Any]) -> str:
        made, size = [], 0
        for piece in pieces():
            size += len(piece)
            if size > MOST_BYTES:
                break
            made.append(piece)
        text = "".join(made)
        try:
            size = max(size, len(text.encode()))
        except UnicodeEncodeError:
            raise SampleError(f"{self.key}: the text holds half a character, which cannot be sent") from None
        if size > MOST_BYTES:
            raise SampleError(f"{self.key}: the text is larger than {MOST_BYTES} bytes; accepted: less of it")
        return text

    def _missing(self, columns: Mapping[str, Any], error: Exception) -> str:
        missing = sorted(names_in(self.text) - columns.keys() - {ROW})
        return f"no column {missing[0]!r}" if missing else str(error)


def texts_in(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """The templates in a part of a prompt, each with the key of where it stands."""
    if isinstance(value, str) and not key.endswith(AS_THEY_ARE):
        yield key, value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from texts_in(entry, f"{key}.{name}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from texts_in(entry, f"{key}[{index}]")


def listed(columns: Mapping[str, Any]) -> str:
    """The columns that there are, for whoever misses one."""
    return ", ".join(map(str, columns)) or "none"
