"""A board as the place where programs run: what they need goes over, and what they write comes back."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import ConfigError, EvalrunError, SampleError
from pytest_evalrun.programs.board import run_there
from pytest_evalrun.programs.command_template import environment, placeholders, portable_command, there
from pytest_evalrun.programs.place import write_list
from pytest_evalrun.remote.faults import LOST
from pytest_evalrun.remote.hosts import route
from pytest_evalrun.remote.tarstream import TarEntry, check_name
from pytest_evalrun.remote.transfer import download, upload
from pytest_evalrun.rundir.state import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.programs.board import BoardWork
    from pytest_evalrun.programs.command_template import Where
    from pytest_evalrun.programs.results import Counted
    from pytest_evalrun.programs.running import ProgramExit, ProgramIO
    from pytest_evalrun.programs.sink import OutputSink
    from pytest_evalrun.programs.watching import ProgramWatch
    from pytest_evalrun.rundir.state import RunningState
    from pytest_evalrun.suite.pairs import Pair

LIST = ".evalrun-batch"
# How often a board is asked how far its program is.
LOOK_SECONDS = 1.0

# $1: its output directory, $2: how the files end that are counted, $3: lines or files, $4: its own state file.
_LOOK = """
case $3 in
    '') echo 0 ;;
    lines) find "$1" -type f -name "*$2" -exec cat {} + 2>/dev/null | wc -l ;;
    *) find "$1" -type f -name "*$2" 2>/dev/null | wc -l ;;
esac
cat "$4" 2>/dev/null
exit 0
"""


class BoardPlace:
    """Two directories in a pair's work directory on a board: for what goes in, and for what comes out.

    Several places share the work directory by a ``number``; none of them holds more than one batch. What comes out is
    put into ``output``, which is None for a server, that writes nothing; ``list_file`` is where the list of a batch is
    made here.
    """

    gpus: Mapping[str, str] = {}

    def __init__(
        self,
        work: BoardWork,
        pair: Pair,
        io: ProgramIO,
        output: Path | None,
        *,
        number: int | None = None,
        list_file: Path | None = None,
    ) -> None:
        self.settings = portable_command(pair)
        self._work = work
        self._pair = pair
        self._io = io
        self._output = output
        self._list_file = list_file
        self._in, self._out = ("data", "out") if number is None else (f"in{number}", f"out{number}")
        dataset = Path(pair.dataset.path)
        self._root = dataset if dataset.is_dir() else dataset.parent
        # The dataset's own file among those that went over, where it is one and went with them.
        self._file = ""
        self._generation = 0

    @property
    def name(self) -> str:
        return self._work.board.device

    def put(self, batch: Sequence[Sample]) -> Sequence[Sample]:
        """Upload the batch into a directory that is emptied before."""
        self._generation = self._work.ready()
        files: dict[str, Path] = {}
        placed = [self._placed(sample, files) for sample in batch]
        if self._list_file is not None:
            write_list(self._list_file, placed)
            files[LIST] = self._list_file
        self._upload(files)
        return placed

    def put_dataset(self, samples: Iterable[Sample]) -> None:
        self._generation = self._work.ready()
        # A program is told the dataset's own file, which no sample names where the samples are its rows.
        dataset = Path(self._pair.dataset.path)
        self._file = "" if self._root == dataset else dataset.name
        files = {self._file: dataset} if self._file else {}

        def found(path: PurePath) -> PurePath:
            files[self._name(Path(path), len(files))] = Path(path)
            return path

        for sample in samples:
            moved(sample.input, found)
        self._upload(files)

    def values(self) -> Mapping[str, str]:
        values = placeholders(self._pair, self._where(), "")
        return values if self._list_file is None else {**values, "batch": f"{self._path(self._in)}/{LIST}"}

    def environment(self, state: Path | None) -> dict[str, str]:
        prefix = None if state is None else PurePath(self._work.path, state.name)
        return environment(self._pair, self._where(), prefix)

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        sink: OutputSink,
        heartbeat: Callable[[], None],
        started: Callable[[int], None] | None = None,  # noqa: ARG002 - its processes are not of this machine
    ) -> ProgramExit:
        io = replace(self._io, output=sink, ended=sink.finish)
        with self.only():
            return run_there(self._work, argv, env, io, heartbeat)

    def only(self) -> AbstractContextManager[None]:
        """Make a lost link of what fails in the block because what was put there is gone."""
        return self._work.only(self._generation)

    def fetch(self, *, lost: bool = False) -> float:
        """Download the output directory; after a lost link it is there until the work directory is claimed anew."""
        began = time.time()
        if self._output is not None:
            with nullcontext() if lost else self.only():
                download(self._work.connection, self._path(self._out), self._output)
        return began

    def watch(self, counted: Counted, pattern: str, state: Path) -> ProgramWatch:  # noqa: ARG002 - other files there
        return _Watch(self._work, self._out, counted, state.name)

    def recover(self, error: Exception, losses: int) -> None:
        self._work.board.recover(error, losses)

    def _path(self, name: str) -> str:
        return f"{self._work.path}/{name}"

    def _where(self) -> Where:
        data = self._path(self._in)
        dataset = f"{data}/{self._file}" if self._file else data
        return there(self._work.board.path, self._work.path, data, dataset, self._path(self._out))

    def _upload(self, files: Mapping[str, Path]) -> None:
        entries = [TarEntry(path, name) for name, path in files.items()]
        upload(
            self._work.connection, entries, self._path(self._in), "" if self._output is None else self._path(self._out)
        )

    def _placed(self, sample: Sample, files: dict[str, Path]) -> Sample:
        def put(path: PurePath) -> PurePosixPath:
            name = self._name(Path(path), len(files))
            try:
                check_name(name)
            except ConfigError as error:
                raise SampleError(f"sample {sample.id!r}: {error}") from None
            files[name] = Path(path)
            return PurePosixPath(self._path(self._in), name)

        return replace(sample, input=moved(sample.input, put))

    def _name(self, path: Path, number: int) -> str:
        """Name a file as in its dataset; one from elsewhere by a number of its own."""
        root = self._root
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else f".outside/{number}/{path.name}"


def moved(value: Any, put: Callable[[PurePath], PurePath]) -> Any:
    """Copy an input with every path in it put elsewhere."""
    if isinstance(value, PurePath):
        return put(value)
    if isinstance(value, dict):
        return {key: moved(entry, put) for key, entry in value.items()}
    return [moved(entry, put) for entry in value] if isinstance(value, list | tuple) else value


class Beside:
    """A board to which a script of this machine talks itself: it is told the places there, and how to get there."""

    def __init__(self, work: BoardWork) -> None:
        self._work = work

    def add_to(self, where: Where) -> Where:
        self._work.ready()
        hop = route(self._work.connection.host)[-1]
        extra = {
            "EVALRUN_DEVICE": self._work.board.device,
            "EVALRUN_HOST": hop.address,
            "EVALRUN_PORT": str(hop.port),
            "EVALRUN_USER": hop.user,
        }
        return replace(where, work=self._work.path, shared_model=self._work.board.path, extra=extra)

    def recover(self, error: Exception, losses: int) -> None:
        self._work.board.recover(error, losses)


class _Watch:
    """A watch that asks the board now and then; between two looks it stands where it was."""

    def __init__(self, work: BoardWork, out: str, counted: Counted, state: str) -> None:
        self._work = work
        self._out = out
        self._counted = counted
        self._state = state
        self._next = 0.0
        self._count = 0
        self._own: RunningState | None = None

    def count(self) -> int:
        self._look()
        return self._count

    def read(self) -> RunningState | None:
        return self._own

    def last(self) -> RunningState | None:
        self._next = 0.0
        with suppress(*LOST, EvalrunError):  # what it came to is here already
            self._look()
        return self._own

    def _look(self) -> None:
        if time.monotonic() < self._next:
            return
        path, counted = self._work.path, self._counted
        args = f"{path}/{self._out}", counted.ending, counted.by, f"{path}/{self._state}.state"
        number, _, own = self._work.connection.run(_LOOK, *args).text.partition("\n")
        self._count = max(0, int(number) - counted.header) if number.strip().isdecimal() else 0
        self._own = parse(own) if own else None
        self._next = time.monotonic() + LOOK_SECONDS
