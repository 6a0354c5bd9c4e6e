"""Python's formats as AgentBench's configs write them, in which nothing but one value and what lies in it is named."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

from pytest_evalrun.errors import ConfigError, SampleError

_STEPS = re.compile(r"(?:\[[^\[\]]+\])*")
_STEP = re.compile(r"\[([^\[\]]+)\]")
_PLACE = re.compile(r"-?\d{1,9}")
# Names of fields that are shown where one is missing.
_SHOWN = 8


class ValueFormat:
    """A text with ``{name[key][0]}`` in it, made of one value: keys and places are followed, attributes never.

    ``key`` is where the suite says it. Raises ConfigError for anything else between braces.
    """

    def __init__(self, text: str, name: str, key: str) -> None:
        self._name = name
        self._key = key
        self._parts = [*self._parsed(text)]

    def _parsed(self, text: str) -> Any:
        try:
            parts = [*Formatter().parse(text)]
        except ValueError as error:
            raise ConfigError(f"{self._key}: found {text!r}: {error}; {self._accepted}") from None
        for literal, field, spec, conversion in parts:
            yield literal, None if field is None else self._steps(field, spec, conversion)

    def _steps(self, field: str, spec: str | None, conversion: str | None) -> list[str]:
        path = field.removeprefix(self._name)
        if spec or conversion or not field.startswith(self._name) or not _STEPS.fullmatch(path):
            what = "".join([field, f"!{conversion}" if conversion else "", f":{spec}" if spec else ""])
            raise ConfigError(f"{self._key}: found {{{what}}}; {self._accepted}")
        return _STEP.findall(path)

    @property
    def _accepted(self) -> str:
        return f"accepted: text with {{{self._name}}}, {{{self._name}[KEY][0]}}; {{{{ and }}}} for braces"

    def fill(self, value: Any) -> str:
        """Raises SampleError for a key or a place that is not there, with the way to it."""
        texts = []
        for literal, steps in self._parts:
            texts.append(literal)
            if steps is not None:
                texts.append(_text(self._at(value, steps)))
        return "".join(texts)

    def _at(self, value: Any, steps: list[str]) -> Any:
        for count, step in enumerate(steps):
            try:
                value = value[int(step)] if isinstance(value, list) and _PLACE.fullmatch(step) else _of(value, step)
            except (LookupError, TypeError):
                way = "".join(f"[{each}]" for each in steps)
                at = f"{self._name}{''.join(f'[{each}]' for each in steps[:count])}"
                raise SampleError(
                    f"{self._key}: {{{self._name}{way}}}: no {step} in {at}, which is {_told(value)}"
                ) from None
        return value


def _of(value: Any, key: str) -> Any:
    """What a mapping has at a key; nothing else has keys."""
    if not isinstance(value, dict):
        raise TypeError(type(value).__name__)
    return value[key]


def _text(value: Any) -> str:
    """As Python's own formats write it, but null, which is no word of an agent's."""
    return value if isinstance(value, str) else "" if value is None else str(value)


def _told(value: Any) -> str:
    if isinstance(value, dict):
        names = ", ".join(map(repr, [*value][:_SHOWN])) or "none"
        return f"an object with the keys {names}{' …' if len(value) > _SHOWN else ''}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "null" if value is None else f"{value!r:.80}"
