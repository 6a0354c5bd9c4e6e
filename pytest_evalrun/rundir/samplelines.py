"""Predictions and scores as they lie on disk, read without touching them: a live session may be appending."""

from __future__ import annotations

import io
import sys
from array import array
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import open_file, read_file
from pytest_evalrun.suite.jsontext import parse_line, parse_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# How many indexes a list of missing or doubled samples names; the count is exact.
MOST_NAMED = 20
# A file of fewer bytes is read at once, and each of its lines once.
SMALL_FILE = 1 << 22
FEW_BYTES = 1 << 16
# A larger index in a file of fewer bytes is damage, and must not size our bitmap.
SANE_INDEX = 2**22
# How every line of ours begins.
_INDEX = b'{"index":'


def answer_of(line: Mapping[str, Any]) -> tuple[int, int]:
    """Which answer a line is of: the place of its sample, and which of several answers to that."""
    return line["index"], line.get("generation") or 0


def sample_lines(path: Path) -> Iterable[dict[str, Any]]:
    """Exactly one line an answer, in dataset order, of a file that nobody needs to know more of."""
    if path.stat().st_size > SMALL_FILE:
        return SampleLines(path).ordered()
    data = read_file(path)
    most = max(len(data), SANE_INDEX)
    if (lines := _few(data)) is None or not all(is_sound(line, most) for line in lines):
        lines = [line for raw in io.BytesIO(data) if (line := parsed(raw, most)) is not None]
    places = [answer_of(line) for line in lines]
    if all(map(lt, places, islice(places, 1, None))):
        return lines
    last = dict(zip(places, lines, strict=True))
    return [last[place] for place in sorted(last)]


class NotInOrder(ValueError):  # noqa: N818 - a state of a file, and no error of anybody's
    """A file does not have exactly one sound line an answer, in dataset order: it was not rewritten since it grew."""


def ascending(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, each read once, as they stand. Raises NotInOrder where that is not how they should."""
    last = (-1, 0)
    with open_file(path) as file:
        for raw in file:
            line = parsed(raw, sys.maxsize)
            if line is None or (place := (line["index"], line.get("generation") or 0)) <= last:
                raise NotInOrder(path)
            last = place
            yield line


def is_in_order(path: Path) -> bool:
    """Tell by the places alone whether each sample has one line, in dataset order, as we write them.

    False where it is not to be seen at a glance: then :class:`SampleLines` finds out.
    """
    last = -1
    with open_file(path) as file:
        for raw in file:
            place = raw[len(_INDEX) : raw.find(b",")]
            if not raw.startswith(_INDEX) or not place.isdigit() or int(place) <= last:
                return False
            last = int(place)
    return True


def lines_at(path: Path, places: Iterable[tuple[int, int]], generations: int) -> dict[tuple[int, int], dict[str, Any]]:
    """A few lines of a file that has one of each answer, the others unread. Raises NotInOrder where it has not."""
    wanted = {index * generations + generation: (index, generation) for index, generation in places}
    found: dict[tuple[int, int], dict[str, Any]] = {}
    with open_file(path) as file:
        for number, raw in enumerate(islice(file, 1 + max(wanted, default=-1))):
            if number in wanted:
                line = parsed(raw, sys.maxsize)
                if line is None or answer_of(line) != wanted[number]:
                    raise NotInOrder(path)
                found[wanted[number]] = line
    return found


def _few(data: bytes) -> list[Any] | None:
    """The content of all lines, read at once where they are few and sound; else None."""
    return parse_lines(io.BytesIO(data).readlines()) if 0 < len(data) < FEW_BYTES else None


def parsed(raw: bytes, most: int) -> dict[str, Any] | None:
    """The content of a line; None where it is torn or damaged, or its place is none below ``most``."""
    try:
        line = parse_line(raw) if raw.endswith(b"\n") else None
    except ValueError:
        return None
    return line if is_sound(line, most) else None


def is_sound(line: Any, most: int) -> bool:
    """Tell whether this is a line of an answer whose place is below ``most``."""
    if not isinstance(line, dict):
        return False
    index, generation = line.get("index"), line.get("generation", 0)
    return type(index) is int and 0 <= index < most and type(generation) is int and 0 <= generation < most


class SampleLines:
    """One JSON line an answer, the last line of one wins; most samples have one, numbered by their place.

    Of several each, ``generations``, the numbers are ``index * generations + generation``. Opening the file reads it
    once. Memory is one bit an answer; eight bytes more where the lines are not in dataset order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.doubled = 0
        self.first_doubled: list[int] = []
        self.broken: list[str] = []
        self._seen = bytearray()
        self._highest = -1
        self._in_order = True
        self._size = path.stat().st_size
        self.generations = self._most_answers()
        for _, number, line in self._parsed():
            self._note(number, line)

    @property
    def expected(self) -> int:
        """Count the answers that the file speaks of, for when nothing else says how many there are."""
        return self._highest + 1

    def _most_answers(self) -> int:
        """One, unless the first line is one of several."""
        lines = (line for _, _, line in self._parsed() if line is not None)
        first = next(lines, None)
        if first is None or "generation" not in first:
            return 1
        return 1 + max(answer_of(first)[1], *(answer_of(line)[1] for line in lines), 0)

    def _number(self, line: Mapping[str, Any]) -> int:
        index, generation = answer_of(line)
        return index * self.generations + generation

    def missing(self, total: int) -> Iterator[int]:
        """The numbers below ``total`` that have no line."""
        return (index for index in range(total) if not self._has(index))

    def first_missing(self, total: int) -> list[int]:
        """The first few of :meth:`missing`."""
        return list(islice(self.missing(total), MOST_NAMED)) if total > self.rows else []

    def ordered(self) -> Iterator[dict[str, Any]]:
        """Exactly one line an answer, in dataset order."""
        if self._in_order:
            yield from (line for _, _, line in self._parsed() if line is not None)
            return
        with open_file(self.path) as file:
            for offset in self.offsets():
                if offset >= 0:
                    file.seek(offset)
                    yield parse_line(file.readline())

    def offsets(self) -> array[int]:
        """Where the line of each answer begins, by its number; -1 where it has none."""
        offsets = array("q", [-1]) * self.expected
        for offset, _, line in self._parsed():
            if line is not None:
                offsets[self._number(line)] = offset
        return offsets

    def _parsed(self) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
        """Offset, line number and content of each line; None where it cannot be read."""
        offset = 0
        with open_file(self.path) as file:
            for number, raw in enumerate(file, 1):
                if offset >= self._size:  # appended since the file was opened
                    return
                yield offset, number, self._parse(raw)
                offset += len(raw)

    def _parse(self, raw: bytes) -> dict[str, Any] | None:
        return parsed(raw, max(self._size, SANE_INDEX))

    def _note(self, number: int, line: dict[str, Any] | None) -> None:
        if line is None:
            self.broken.append(f"line {number} cannot be read")
            return
        place = self._number(line)
        if self._has(place):
            self.doubled += 1
            self.first_doubled += [place] if len(self.first_doubled) < MOST_NAMED else []
        else:
            self.rows += 1
        self._in_order = self._in_order and place > self._highest
        self._highest = max(self._highest, place)
        self._mark(place)

    def _has(self, place: int) -> bool:
        byte = place >> 3
        return byte < len(self._seen) and bool(self._seen[byte] >> (place & 7) & 1)

    def _mark(self, place: int) -> None:
        byte = place >> 3
        if byte >= len(self._seen):
            self._seen.extend(bytes(byte + 1 - len(self._seen)))
        self._seen[byte] |= 1 << (place & 7)
