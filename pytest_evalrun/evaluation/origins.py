"""Where the samples of a pair come from, as its suite has it today: for the tables and pages of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.rundir.suites import pairs_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.rundir.layout import PairPaths, RunPaths
    from pytest_evalrun.suite.pairs import Pair, PairKey, Suite

# What these read lies on a disk, and is read by us.
OF_FILES = frozenset({"files", "csv", "jsonl"})


class NamedPair(Protocol):
    """A pair by its names, and where its files lie."""

    @property
    def suite(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def key(self) -> PairKey: ...


@dataclass(frozen=True)
class Origin:
    """``names`` of the parts of an input, and ``samples`` that gives id and input of each, anew each time.

    ``written`` is the directory that the model writes to, ``data`` that of the dataset, None of a task server's.
    ``is_whole`` says whether somebody else may know more samples.
    """

    names: Sequence[str]
    samples: Callable[[], Iterator[tuple[str, Any]]]
    written: Path
    data: Path | None
    is_whole: bool = True


def origin_of(pair: Pair, files: PairPaths, samples: Sequence[Sample] | None = None) -> Origin:
    """That of a pair; ``samples`` are all of them, where they are at hand."""
    from pytest_evalrun.datasets.asked import asked_inputs, input_names
    from pytest_evalrun.predicting.outputs import output_directory

    def read() -> Iterator[tuple[str, Any]]:
        if samples is None:
            return asked_inputs(pair)
        return ((sample.id, sample.input) for sample in samples if not sample.generation)

    data = None if pair.dataset.is_task else Path(pair.dataset.path)
    if data is not None and not os.path.isdir(data):  # noqa: PTH112 - of 10,000 pairs
        data = data.parent
    return Origin(input_names(pair.settings), read, output_directory(pair, files), data)


def origins_in(
    paths: RunPaths, found: Iterable[Suite] = (), *, files_alone: bool = False
) -> Callable[[NamedPair], Origin | None]:
    """The same of any pair of a run; None of one that no suite has any more, or has wrongly.

    ``found`` are suites that were discovered already. ``files_alone``: without samples where these come from anything
    but files that we read, for nobody knows how long a user's reader, a server or a library takes.
    """
    named = pairs_in(paths, found)

    def origin(wanted: NamedPair) -> Origin | None:
        try:
            pair = named(wanted.suite, wanted.task, wanted.dataset)
            if pair is None:
                return None
            origin = origin_of(pair, paths.pair(wanted.key))
            told = pair.settings.format in OF_FILES or not files_alone
            return origin if told else replace(origin, samples=lambda: iter(()), is_whole=False)
        except (EvalrunError, OSError):
            return None

    return origin
