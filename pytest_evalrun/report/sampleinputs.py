"""What the samples of a pair were: their inputs, from whoever still knows them, beside what came of them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeVar

    Item = TypeVar("Item")

# The columns that every table of samples has, by itself or of a merge.
OURS = frozenset(
    {"suite", "task", "dataset", "index", "id", "status", "prediction", "reference", "error", "seconds"}
    | {"score", "metric", "file"}
)
# The input of a sample of which nobody knows it.
UNKNOWN = object()


@dataclass(frozen=True)
class Inputs:
    """The inputs of a pair's samples: their parts have ``names``, a single one without a name is called ``input``.

    ``samples`` reads id and input of each, in dataset order, anew each time; None where nobody knows them any more.
    ``problems`` is why that ended early.
    """

    names: Sequence[str] = ()
    samples: Callable[[], Iterator[tuple[str, Any]]] | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of its parts in a table beside columns of ours."""
        if self.samples is None:
            return ()
        return tuple(f"input.{name}" if name in OURS else name for name in self.names or ("input",))

    def beside(self, lines: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
        """Put a cell for each column beside each line, in dataset order; empty where the sample is another by now."""
        nothing = ("",) * len(self.columns)
        for line, value in self.paired(lines, lambda one: one):
            yield line, nothing if value is UNKNOWN else self._cells(value)

    def paired(self, items: Iterable[Item], line_of: Callable[[Item], Mapping[str, Any]]) -> Iterator[tuple[Item, Any]]:
        """Put the input of its sample beside each item, in dataset order; ``UNKNOWN`` where that is another by now."""
        found = self._readable()
        index, sample = -1, ("", None)  # where there is no item nothing is read
        for item in items:
            line = line_of(item)
            while index < line["index"]:
                index, sample = next(found, (sys.maxsize, ("", None)))
            same = index == line["index"] and sample[0] == line["id"]
            yield item, sample[1] if same else UNKNOWN

    def parts(self, value: Any) -> Mapping[str, Any]:
        """The parts of an input by their names, as the dataset has them; nothing of one that is ``UNKNOWN``."""
        if value is UNKNOWN:
            return {}
        if isinstance(value, dict) and len(self.names) != 1:
            return {name: value.get(name) for name in self.names} if self.names else value
        return {self.names[0] if self.names else "input": value}

    def parted(self, values: list[Any]) -> dict[str, list[Any]]:
        """The parts of many inputs by their names; None where one lacks a part, or is ``UNKNOWN``."""
        if len(self.names) == 1:
            return {self.names[0]: [None if value is UNKNOWN else value for value in values]}
        parts = list(map(self.parts, values))
        names = dict.fromkeys(chain.from_iterable(parts))
        return {name: [part.get(name) for part in parts] for name in names}

    def _readable(self) -> Iterator[tuple[int, tuple[str, Any]]]:
        try:
            yield from enumerate(self.samples() if self.samples is not None else ())
        except (EvalrunError, OSError) as error:
            self.problems.append(str(error))

    def _cells(self, value: Any) -> tuple[Any, ...]:
        if len(self.names) > 1 and isinstance(value, dict):
            return tuple(cell(value.get(name)) for name in self.names)
        return (cell(value),)


def cell(value: Any) -> Any:
    """Make a cell of a table: text and numbers as they are, a path as text, the rest as JSON, nothing for null."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value if value is None or isinstance(value, str | int | float) else f"<{type(value).__name__}>"
