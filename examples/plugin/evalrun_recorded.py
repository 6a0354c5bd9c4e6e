"""Answers that were recorded elsewhere, as a kind of model; with a metric and a reader. README.md tells the rest."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from pytest_evalrun.adapters import ModelKind
from pytest_evalrun.errors import PairError, SampleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_evalrun.datasets.protocol import Hashes, Sample


class Recorded(ModelKind):
    """``adapter: recorded`` answers with what a CSV file holds for a sample's id."""

    class Own(BaseModel):
        """Its words in evalrun.yaml; a word without a default must be said."""

        answers: Annotated[str, Field(min_length=1)]
        """The CSV file with the answers, relative to the suite."""
        key: str = "id"
        """Its column of ids."""
        column: str = "answer"
        """Its column of answers."""

    version = 1  # raised where the same files and settings mean other predictions

    def __init__(self, own: Own, path: str | None, root: str) -> None:  # noqa: ARG002 - there is no model file
        self.own = own
        self.file = Path(root, own.answers)
        self._answers: dict[str, str] = {}

    @classmethod
    def identity(cls, settings: Any, root: str, hashes: Hashes) -> dict[str, Any]:
        """Its words, and the content of the file that one of them names."""
        file = Path(root, settings.own.answers)
        if not file.is_file():
            raise PairError(f"answers: there is no file {file}")
        return {**super().identity(settings, root, hashes), "answers": hashes.file(file)}

    def load(self) -> None:
        with self.file.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if lacking := {self.own.key, self.own.column} - {*(rows.fieldnames or ())}:
                raise PairError(f"{self.file}: there is no column {', '.join(sorted(lacking))}")
            self._answers = {row[self.own.key]: row[self.own.column] for row in rows}

    def predict(self, batch: Sequence[Sample]) -> list[str]:
        for sample in batch:
            if sample.id not in self._answers:
                raise SampleError(f"sample {sample.id}: no answer was recorded")
        return [self._answers[sample.id] for sample in batch]

    def close(self) -> None:
        self._answers = {}


def within(prediction: Any, reference: Any, tolerance: float = 0.5) -> bool:
    """``metrics: [{within: {tolerance: 2}}]`` is the share of numbers that are as near as that."""
    return abs(float(prediction) - float(reference)) <= tolerance


def lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """``format: lines`` reads ``input<TAB>reference``, a sample a line, which is its id."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            question, _, reference = line.rstrip("\n").partition("\t")
            yield str(number), question, reference
