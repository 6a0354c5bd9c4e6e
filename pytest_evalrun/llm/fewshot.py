"""Examples before a question: chosen once from a file, the same for every sample, but never the sample itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.tables import CsvReader, JsonlReader
from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.columns import columns_of, text_of
from pytest_evalrun.suite.pairs import Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_evalrun.datasets.tables import TableReader
    from pytest_evalrun.suite.settings import Settings

    Messages = list[dict[str, Any]]

# A sample may be two of the examples: by its id, and by what it asks.
SPARE = 2


@dataclass(frozen=True)
class Row:
    """A row of the file: the columns of its input as templates see them, and all of its columns."""

    id: str | None
    columns: Mapping[str, Any]
    everything: Mapping[str, Any]
    reference: Any


@dataclass(frozen=True)
class Example:
    """What is shown: the messages that ask, and the answer."""

    id: str | None
    question: Messages
    answer: str


class Examples:
    """The examples of a prompt; ``ask`` and ``answer`` make messages and the answer of a row.

    Rows that ask the same count once. Without a seed they are the first of the file, with one a choice that depends
    on nothing but the seed and the file.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        path: Path,
        settings: Settings,
        ask: Callable[[Mapping[str, Any]], Messages],
        answer: Callable[[Row], str],
    ) -> None:
        self.path = path
        self._settings = settings
        self._wanted: int | None = spec.get("n")
        self._seed: int | None = spec.get("seed")
        self._ask = ask
        self._answer = answer
        self._pool: list[Example] | None = None

    def shown_to(self, name: str, question: Messages) -> list[Example]:
        """The examples of one sample: where it is one of them itself, another takes its place."""
        pool = self._pool if self._pool is not None else self._choose()
        self._pool = pool
        wanted = len(pool) if self._wanted is None else self._wanted
        chosen, spare = pool[:wanted], pool[wanted:]
        if not any(_is_itself(example, name, question) for example in chosen):
            return chosen
        others = (example for example in spare if not _is_itself(example, name, question))
        filled = (next(others, None) if _is_itself(example, name, question) else example for example in chosen)
        return [example for example in filled if example is not None]

    def _choose(self) -> list[Example]:
        """As many as are wanted and those in reserve, in their order; read once."""
        count = sum(1 for _ in self._rows())
        wanted = count if self._wanted is None else self._wanted
        order = list(range(count)) if self._seed is None else _shuffled(count, self._seed)
        size = wanted + SPARE
        while True:
            pool = self._distinct(order[:size])
            if len(pool) >= wanted + SPARE or size >= count:
                break
            size *= 2
        if self._wanted is not None and len(pool) < wanted:
            raise PairError(f"{self.path}: prompt.fewshot.n is {wanted}, but it has {len(pool)} examples that differ")
        return pool[: wanted + SPARE]

    def _distinct(self, positions: list[int]) -> list[Example]:
        places = {position: place for place, position in enumerate(positions)}
        found = {places[position]: row for position, row in enumerate(self._rows()) if position in places}
        pool: list[Example] = []
        asked: set[str] = set()
        for place in sorted(found):
            row = found[place]
            if (key := repr(question := self._ask(row.columns))) not in asked:
                asked.add(key)
                pool.append(Example(row.id, question, self._answer(row)))
        return pool

    def _rows(self) -> Iterator[Row]:
        """The file is read as the dataset is, but need not have its ids, nor its references where others are shown."""
        settings, dataset = self._settings, Dataset(self.path.name, str(self.path))
        made = _reader_of(self.path)
        options = {key: settings.reader[key] for key in settings.reader.keys() & made.accepted}
        settings = replace(settings, reader=options)
        whole = made(dataset, replace(settings, id_column=None, reference=None, inputs=()))
        _, first = next(whole.rows(), (0, None))
        if first is None:
            raise PairError(f"{self.path}: prompt.fewshot.from has no example")
        absent = {name: None for name in ("id_column", "reference") if getattr(settings, name) not in first}
        reader = made(dataset, replace(settings, **absent))  # type: ignore[arg-type]
        for (_, everything), sample in zip(whole.rows(), reader, strict=True):
            name = sample.id if reader.id_column is not None else None
            yield Row(name, columns_of(sample.input, reader.inputs), everything, sample.reference)


def _reader_of(path: Path) -> type[TableReader]:
    ending = path.suffix.lower()
    if ending == ".parquet":
        from pytest_evalrun.datasets.parquet import ParquetReader

        return ParquetReader
    return CsvReader if ending in (".csv", ".tsv") else JsonlReader


def _shuffled(count: int, seed: int) -> list[int]:
    return random.Random(seed).sample(range(count), count)  # noqa: S311 - it must be the same each time


def _is_itself(example: Example, name: str, question: Messages) -> bool:
    return (example.id is not None and example.id == name) or example.question == question


def reference_of(row: Row, path: Path) -> str:
    """The reference as an answer; of several that would do the first. Raises PairError where it is no text."""
    value = row.reference
    text = text_of(value[0] if isinstance(value, list | tuple) and value else value)
    if text is None:
        raise PairError(
            f"{path}: an example's reference is {value!r:.80}, which is no answer; accepted: text or a number in the "
            "column that `reference:` names, or `prompt.fewshot.answer: TEMPLATE`"
        )
    return text
