"""Where each answer of a pair lies in its files, so that any page of 100,000 is read without the others."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pytest_evalrun.rundir.lines import open_file
from pytest_evalrun.rundir.samplelines import SampleLines, answer_of
from pytest_evalrun.suite.jsontext import parse_line

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    Line = Mapping[str, Any]

NO_LINE: Line = {}


class LineIndex:
    """The lines of one file of predictions or scores by their numbers, eight bytes each; a missing file has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generations = 1
        self.offsets: array[int] | tuple[int, ...] = ()
        if path.is_file():
            lines = SampleLines(path)
            self.generations, self.offsets = lines.generations, lines.offsets()

    @property
    def size(self) -> int:
        """The bytes of memory that it takes."""
        return 8 * len(self.offsets)

    def numbers(self) -> Iterator[int]:
        """The numbers that have a line, ascending: in dataset order."""
        return (number for number, offset in enumerate(self.offsets) if offset >= 0)

    def number_of(self, answer: tuple[int, int]) -> int:
        """The number of an answer, by the place of its sample and which of several answers to it this is."""
        index, generation = answer
        return index * self.generations + generation if generation < self.generations else -1

    def has(self, number: int) -> bool:
        """Tell whether there is a line of this number."""
        return 0 <= number < len(self.offsets) and self.offsets[number] >= 0

    def opened(self, stack: ExitStack) -> BinaryIO | None:
        """The file, for ``line``; None where there is no line in it anyway."""
        return stack.enter_context(open_file(self.path)) if self.offsets else None

    def line(self, file: BinaryIO | None, number: int) -> Line:
        """The line of a number; empty where it has none. Raises ValueError where the file is another by now."""
        if file is None or not self.has(number):
            return NO_LINE
        file.seek(self.offsets[number])
        line = parse_line(file.readline())
        if not isinstance(line, dict) or self.number_of(answer_of(line)) != number:
            raise ValueError(f"{self.path}: written anew while it was read")
        return line

    def lines(self) -> Iterator[tuple[int, Line]]:
        """All lines with their numbers, in dataset order."""
        with ExitStack() as stack:
            file = self.opened(stack)
            for number in self.numbers():
                yield number, self.line(file, number)


class AnswerIndex:
    """The predictions of a pair and their scores, side by side."""

    def __init__(self, predictions: LineIndex, scores: LineIndex) -> None:
        self.predictions = predictions
        self.scores = scores

    @property
    def size(self) -> int:
        """The bytes of memory that it takes."""
        return self.predictions.size + self.scores.size

    def pairs(self, numbers: Iterable[int]) -> Iterator[tuple[Line, Line]]:
        """Each prediction of these numbers with its line of scores, which is empty where it has none.

        Raises ValueError or OSError where a file is another by now.
        """
        with ExitStack() as stack:
            predictions, scores = self.predictions.opened(stack), self.scores.opened(stack)
            for number in numbers:
                line = self.predictions.line(predictions, number)
                if line:
                    yield line, self.scores.line(scores, self.scores.number_of(answer_of(line)))

    def scored(self) -> Iterator[tuple[int, Line]]:
        """The lines of scores of what was predicted, each with the number of its prediction.

        A pair that is evaluated anew has more scores, of before, than predictions.
        """
        for _, line in self.scores.lines():
            number = self.predictions.number_of(answer_of(line))
            if self.predictions.has(number):
                yield number, line
