"""The place where a program runs: one small protocol for this machine and for a board, and this machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.errors import SampleError
from pytest_evalrun.programs.command_template import GPUS, environment, placeholders, whole_environment
from pytest_evalrun.programs.running import ProgramIO, run
from pytest_evalrun.programs.watching import LocalWatch, OwnState, counter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.programs.command_template import Where
    from pytest_evalrun.programs.results import Counted
    from pytest_evalrun.programs.running import ProgramExit
    from pytest_evalrun.programs.sink import OutputSink
    from pytest_evalrun.programs.watching import ProgramWatch
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings


class Place(Protocol):
    """A machine on which the programs of one pair run, one at a time; it knows nothing of who asks for predictions.

    ``name`` is that of a board, empty on this machine; ``gpus`` the environment of a lease; ``settings`` hold the
    command as it is called there.
    """

    @property
    def name(self) -> str: ...

    @property
    def gpus(self) -> Mapping[str, str]: ...

    @property
    def settings(self) -> Settings: ...

    def put(self, batch: Sequence[Sample]) -> Sequence[Sample]:
        """Take a batch there, with its list where there shall be one.

        The samples come back with their paths as they are known there. Raises LinkLost, ArrivedWrong, SampleError.
        """

    def put_dataset(self, samples: Iterable[Sample]) -> None:
        """Take the dataset there, as far as it is the files of these samples. Raises LinkLost, ArrivedWrong."""

    def values(self) -> Mapping[str, str]:
        """The placeholders of the command, as they are known there."""

    def environment(self, state: Path | None) -> dict[str, str]:
        """The variables that a program is given beside those there; ``state`` is the prefix of its state file here."""

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        sink: OutputSink,
        heartbeat: Callable[[], None],
        started: Callable[[int], None] | None = None,
    ) -> ProgramExit:
        """Start a program and wait for its end; nothing of it is left, however this ends.

        ``heartbeat`` is called every now and then, ``started`` with the PID of a program of this machine. Raises
        LinkLost, ChildError.
        """

    def fetch(self, *, lost: bool = False) -> float:
        """Bring what the program wrote to the output directory here; ``lost``: by another connection than its own.

        What lies in the output directory is the program's if it is younger than the time that comes back. Raises
        LinkLost, ArrivedWrong.
        """

    def watch(self, counted: Counted, pattern: str, state: Path) -> ProgramWatch:
        """A watch of the program that runs next; its results are ``counted`` in the files of the pattern."""

    def recover(self, error: Exception, losses: int) -> None:
        """Make a link anew that was lost so many times in a row. Raises BoardGone."""


class BoardBeside(Protocol):
    """A board to which a program of this machine talks itself."""

    def add_to(self, where: Where) -> Where:
        """The places of this machine with those on the board, which are there by now. Raises LinkLost."""

    def recover(self, error: Exception, losses: int) -> None:
        """Make a lost link anew. Raises BoardGone."""


class LocalPlace:
    """This machine. ``io`` is what a program needs beside its output; ``list_file`` is where a batch is listed."""

    name = ""

    def __init__(
        self,
        pair: Pair,
        where: Where,
        io: ProgramIO,
        gpus: Mapping[str, str],
        *,
        list_file: Path | None = None,
        beside: BoardBeside | None = None,
    ) -> None:
        self.settings = pair.settings
        self.gpus = gpus
        self._pair = pair
        self._where = where
        self._io = io
        self._list_file = list_file
        self._beside = beside

    def put(self, batch: Sequence[Sample]) -> Sequence[Sample]:
        self.put_dataset(batch)
        if self._list_file is not None:
            write_list(self._list_file, batch)
        return batch

    def put_dataset(self, samples: Iterable[Sample]) -> None:  # noqa: ARG002 - they are here
        if self._beside is not None:
            self._where = self._beside.add_to(self._where)

    def values(self) -> Mapping[str, str]:
        values = placeholders(self._pair, self._where, self.gpus.get(GPUS, ""))
        return values if self._list_file is None else {**values, "batch": str(self._list_file)}

    def environment(self, state: Path | None) -> dict[str, str]:
        return environment(self._pair, self._where, state)

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        sink: OutputSink,
        heartbeat: Callable[[], None],
        started: Callable[[int], None] | None = None,
    ) -> ProgramExit:
        io = replace(self._io, output=sink, ended=sink.finish)
        return run(argv, whole_environment(env, self.gpus), self._pair.root, io, heartbeat, started)

    def fetch(self, *, lost: bool = False) -> float:  # noqa: ARG002 - it is here
        return 0.0

    def watch(self, counted: Counted, pattern: str, state: Path) -> ProgramWatch:
        output = Path(self._where.output or "")
        own = OwnState(state, (output, Path(self._where.dataset_dir)), self.settings.own_state)
        return LocalWatch(counter(counted, pattern, output), own)

    def recover(self, error: Exception, losses: int) -> None:
        if self._beside is None:
            raise error
        self._beside.recover(error, losses)


def write_list(file: Path, batch: Sequence[Sample]) -> None:
    """Write the list of a batch, a line a sample."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{listed(sample)}\n" for sample in batch)
    file.write_text(text, encoding="utf-8", errors="surrogateescape")


def listed(sample: Sample) -> str:
    """Give a sample's line: a path as it is, several with tabs between them, everything else as JSON.

    Raises SampleError for a name with a newline.
    """
    given = sample.input
    paths = list(given.values()) if isinstance(given, dict) else [given]
    if not all(isinstance(path, PurePath) for path in paths):
        return json.dumps({"index": sample.index, "id": sample.id, "input": given}, ensure_ascii=False, default=str)
    text = "\t".join(map(str, paths))
    if "\n" in text:
        raise SampleError(f"sample {sample.id!r}: a name with a newline cannot stand in a list of files")
    return text
