"""Predictions or scores of a pair as columns, for a table in memory: one pass over the file, a few lines at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from operator import itemgetter, lt
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.samplelines import SANE_INDEX, parsed
from pytest_evalrun.suite.jsontext import parse_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# So many lines are made into values while they are warm: of all at once it takes twice as long.
CHUNK = 512


@dataclass
class SampleColumns:
    """The last line of each answer in dataset order, by the names that stand in lines: what ``SampleLines`` yields.

    ``broken`` says which lines cannot be read, ``torn`` that the end of the file cannot, which a session that lives
    may be writing.
    """

    values: dict[str, list[Any]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    torn: bool = False

    def __len__(self) -> int:
        return len(self.values.get("index", ()))

    def of(self, name: str) -> list[Any]:
        """The values of a name; None where a line does not have it."""
        found = self.values.get(name)
        return [None] * len(self) if found is None else found

    def places(self) -> Iterator[tuple[int, int]]:
        """Which answers they are of, as ``answer_of`` says it of a line."""
        generations = self.values.get("generation")
        return zip(
            self.of("index"), repeat(0) if generations is None else (each or 0 for each in generations), strict=False
        )

    def beside(self, other: SampleColumns) -> SampleColumns:
        """The same for the places of others: None where there is no line of one."""
        same = all(self.of(name) == other.of(name) for name in ("index", "generation"))
        return self if same else self._at(other.places())

    def in_order(self) -> SampleColumns:
        """One line an answer, the last that there is, in dataset order."""
        indexes = self.of("index")
        if "generation" not in self.values and all(map(lt, indexes, islice(indexes, 1, None))):
            return self
        places = list(self.places())
        return self if all(map(lt, places, islice(places, 1, None))) else self._at(sorted({*places}))

    def _at(self, places: Iterable[tuple[int, int]]) -> SampleColumns:
        rows = {place: row for row, place in enumerate(self.places())}
        wanted = [rows.get(place, -1) for place in places]
        values = {name: [None if row < 0 else found[row] for row in wanted] for name, found in self.values.items()}
        return SampleColumns(values, self.broken, self.torn)


def read_columns(path: Path) -> SampleColumns:
    """Read a file of predictions or scores. Raises OSError where there is none, or something else in its place."""
    found, number = SampleColumns(), 0
    with open_file(path) as file:
        most = max(os.fstat(file.fileno()).st_size, SANE_INDEX)
        while raws := list(islice(file, CHUNK)):
            lines = parse_lines(raws)
            if lines is None or not _are_sound(lines, most):
                lines = _one_by_one(raws, most, number, found)
            if lines:
                _add(found.values, lines, len(found))
            number += len(raws)
    return found.in_order()


def _are_sound(lines: list[Any], most: int) -> bool:
    """Whether ``parsed`` would take each of them."""
    if {*map(type, lines)} != {dict}:
        return False
    numbers = [line.get("index") for line in lines]
    numbers += [line["generation"] for line in lines if "generation" in line]
    return {*map(type, numbers)} == {int} and min(numbers) >= 0 and max(numbers) < most


def _one_by_one(raws: Sequence[bytes], most: int, before: int, found: SampleColumns) -> list[dict[str, Any]]:
    """The lines that can be read; of the others it is noted which they are."""
    lines = []
    for number, raw in enumerate(raws, before + 1):
        if (line := parsed(raw, most)) is not None:
            lines.append(line)
        elif raw.endswith(b"\n"):
            found.broken.append(f"line {number} cannot be read")
        else:
            found.torn = True
    return lines


def _add(values: dict[str, list[Any]], lines: list[dict[str, Any]], before: int) -> None:
    """Put the values of lines behind those of the lines ``before``."""
    for name, column in _by_name(lines).items():
        if name not in values:
            values[name] = [None] * before
        values[name] += column
    for column in values.values():
        column.extend(repeat(None, before + len(lines) - len(column)))


def _by_name(lines: list[dict[str, Any]]) -> dict[str, list[Any]]:
    if {*map(len, lines)} == {len(lines[0])}:
        try:
            return {name: list(map(itemgetter(name), lines)) for name in lines[0]}
        except KeyError:
            pass  # as many names, and others
    return {name: [line.get(name) for line in lines] for name in dict.fromkeys(chain.from_iterable(lines))}
