"""A program that is started once a batch: the samples in a file or as arguments, the answers as it leaves them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.faults import ModelError
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.programs.command_template import arguments
from pytest_evalrun.programs.place import listed, write_list
from pytest_evalrun.programs.results import matching
from pytest_evalrun.programs.running import name_of, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.programs.results import Results
    from pytest_evalrun.programs.running import ProgramIO
    from pytest_evalrun.suite.settings import Settings


class BatchProgram:
    """An adapter. ``file`` is where a batch is listed; ``announce`` is told the words before each start.

    ``begin`` is told the pattern of its results before each start: what an earlier one left is in the way.
    """

    def __init__(
        self,
        settings: Settings,
        values: Mapping[str, str],
        env: Mapping[str, str],
        root: str,
        file: Path,
        results: Results,
        around: ProgramIO,
        look: Callable[[], None],
        announce: Callable[[Sequence[str]], None],
        begin: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._values = {**values, "batch": str(file)}
        self._env = env
        self._root = root
        self._file = file
        self._results = results
        self._around = around
        self._look = look
        self._announce = announce
        self._begin = begin

    def load(self) -> None:
        """The place of the list."""
        self._file.parent.mkdir(parents=True, exist_ok=True)

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        """Raises ModelError where the program failed, SampleError for a sample without an answer."""
        inputs = [listed(sample) for sample in batch]
        write_list(self._file, batch)
        pattern = self._results.pattern(self._values)
        self._begin(pattern)
        argv = arguments(self._settings, self._values, inputs)
        self._announce(argv)
        self._results.began = time.time()
        name = name_of(self._around.words(argv))
        ending = run(argv, self._env, self._root, self._around, self._look)
        if ending.returncode:
            raise ModelError(ending.told(name), may_pass=ending.may_pass)
        return predictions(self._results, batch, pattern, name)

    def close(self) -> None:
        self._file.unlink(missing_ok=True)


def predictions(results: Results, batch: Sequence[Sample], pattern: str, name: str) -> list[Any]:
    """What a program that ended well left for a batch. Raises SampleError for a sample without an answer, PairError."""
    files = matching(pattern)
    if pattern and not files:
        raise PairError(f"{name} ended with exit code 0 and left no results: there is no {pattern}")
    found = []
    for answer in results.answers(files, lambda: batch, whole=True, strict=True):
        if answer.error is not None:
            raise SampleError(answer.error)
        found.append(answer.prediction)
    for file in files:  # its rows are predictions now: nobody will know whose it was
        file.unlink(missing_ok=True)
    return found
