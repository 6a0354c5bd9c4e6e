"""Boards as sites: programs that run there on a range, and local scripts that talk to one themselves."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunError, TimedOut
from pytest_evalrun.predicting.boardbatches import work_of
from pytest_evalrun.predicting.boardmodel import BoardModel
from pytest_evalrun.predicting.sites import Here
from pytest_evalrun.programs.board import BoardWork, run_there
from pytest_evalrun.programs.boardbatch import moved, name_below
from pytest_evalrun.programs.command_template import environment, here, placeholders, portable_command, there
from pytest_evalrun.programs.results import FileResults, TableResults
from pytest_evalrun.programs.running import ProgramIO
from pytest_evalrun.remote.faults import LOST
from pytest_evalrun.remote.hosts import host_of, route
from pytest_evalrun.remote.tarstream import TarEntry
from pytest_evalrun.remote.transfer import download, upload
from pytest_evalrun.rundir.state import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.predicting.models import LoadedModel
    from pytest_evalrun.predicting.ranges import RangePredictor
    from pytest_evalrun.predicting.sites import ProgramWatch, Site
    from pytest_evalrun.predicting.work import WorkContext
    from pytest_evalrun.programs.command_template import Where
    from pytest_evalrun.programs.running import ProgramExit
    from pytest_evalrun.programs.sink import OutputSink
    from pytest_evalrun.rundir.shards import WorkerArgs
    from pytest_evalrun.rundir.state import RunningState
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings

DATA, OUT = "data", "out"
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


@contextmanager
def board_site(predictor: RangePredictor, model: LoadedModel) -> Iterator[Site]:
    """The board of the loaded model; the pair's work directory there goes when the programs are done."""
    assert isinstance(model, BoardModel), "loaded for a pair that uses a board"
    with _working(predictor.pair, predictor.context, model) as work:
        on_board = predictor.pair.settings.kind.runs_on_board
        yield There(predictor, model, work) if on_board else _Beside(predictor, model, work)


@contextmanager
def nearby(pair: Pair, context: WorkContext, model: LoadedModel, where: Where) -> Iterator[Where]:
    """The places of a local script, with those on the board of the loaded model."""
    assert isinstance(model, BoardModel), "loaded for a pair that uses a board"
    with _working(pair, context, model) as work:
        model.steadily(work.ready)
        yield beside(model, work, where)


@contextmanager
def _working(pair: Pair, context: WorkContext, model: BoardModel) -> Iterator[BoardWork]:
    """A work directory that goes when the block is left, by Ctrl-C too: what is under way is not waited for then."""
    work = BoardWork(model, pair, work_of(pair))
    try:
        yield work
    except (KeyboardInterrupt, TimedOut):
        model.interrupt()
        raise
    finally:
        with context.services.paused():
            work.close()


def beside(model: BoardModel, work: BoardWork, where: Where) -> Where:
    """What a local script is told that does its own ssh: places on the board, and how to get there."""
    hop = route(host_of(model.board.spec))[-1]
    extra = {
        "EVALRUN_DEVICE": model.board.name,
        "EVALRUN_HOST": hop.address,
        "EVALRUN_PORT": str(hop.port),
        "EVALRUN_USER": hop.user,
    }
    return replace(where, work=work.path, shared_model=model.path, extra=extra)


class _Beside(Here):
    """This machine, with a board that the program talks to itself."""

    def __init__(self, predictor: RangePredictor, model: BoardModel, work: BoardWork) -> None:
        super().__init__(predictor, here(predictor.pair, predictor.output), {}, (), [])
        self._model = model
        self._work = work

    def bring(self, first: int, last: int) -> None:  # noqa: ARG002 - the script does that
        self._work.ready()
        self._where = beside(self._model, self._work, self._where)

    def recover(self, error: Exception, losses: int) -> None:
        self._model.recover(error, losses)


class There:
    """A board: the samples of a range go over, the program runs, what it wrote comes back whatever became of it."""

    def __init__(self, predictor: RangePredictor, model: BoardModel, work: BoardWork) -> None:
        self.gpus: Mapping[str, str] = {}
        self.settings: Settings = portable_command(predictor.pair)
        self._predictor = predictor
        self._model = model
        self._work = work
        self._generation = 0

    @property
    def values(self) -> Mapping[str, str]:
        return placeholders(self._predictor.pair, self._where(), "")

    def environment(self, prefix: PurePath) -> dict[str, str]:
        return environment(self._predictor.pair, self._where(), PurePath(self._work.path, prefix.name))

    def bring(self, first: int, last: int) -> None:
        self._generation = self._work.ready()
        dataset = Path(self._predictor.pair.dataset.path)
        root = dataset if dataset.is_dir() else dataset.parent
        files = {} if dataset.is_dir() else {dataset.name: dataset}

        def found(path: PurePath) -> PurePath:
            files[name_below(root, Path(path), len(files))] = Path(path)
            return path

        for sample in self._predictor.span(*self._span(first, last)):
            moved(sample.input, found)
        entries = [TarEntry(path, name) for name, path in files.items()]
        upload(self._work.connection, entries, f"{self._work.path}/{DATA}", f"{self._work.path}/{OUT}")

    def _span(self, first: int, last: int) -> tuple[int, int]:
        """Who counts positions counts in the whole dataset; all others do whatever is there."""
        if not self._predictor.ranged:
            return first, last
        return 0, self._predictor.end

    def run(
        self,
        argv: Sequence[str],
        added: Mapping[str, str],
        sink: OutputSink,
        look: Callable[[], None],
        started: Callable[[int], None],  # noqa: ARG002 - its processes are not of this machine
    ) -> ProgramExit:
        """Of a lost link, what the program had written by then is fetched once the board is back."""
        context = self._predictor.context
        around = ProgramIO(sink, _nobody, (), sink.finish, context.services.paused, context.secrets.words)
        with self._work.only(self._generation):
            ending = run_there(self._work, argv, added, around, look)
            self._fetch(whole=not ending.returncode)
        return ending

    def watch(self, record: WorkerArgs, prefix: Path) -> ProgramWatch:  # noqa: ARG002 - other files there
        return _Watch(self._predictor, self._work, prefix.name)

    def recover(self, error: Exception, losses: int) -> None:
        self._model.recover(error, losses)
        with suppress(*LOST, EvalrunError):
            self._fetch(whole=False)

    def _fetch(self, *, whole: bool) -> None:
        """Of a program that was interrupted only rows can be told from what is torn; a file may be a half."""
        results = self._predictor.results
        if not (whole or results.keeps):
            return
        if isinstance(results, FileResults):
            results.began = time.time()
        download(self._work.connection, f"{self._work.path}/{OUT}", self._predictor.output)

    def _where(self) -> Where:
        data = f"{self._work.path}/{DATA}"
        dataset = Path(self._predictor.pair.dataset.path)
        return there(
            self._model.path,
            self._work.path,
            data,
            data if dataset.is_dir() else f"{data}/{dataset.name}",
            f"{self._work.path}/{OUT}",
        )


class _Watch:
    """Asks the board now and then; between two looks it stands where it was."""

    def __init__(self, predictor: RangePredictor, work: BoardWork, state: str) -> None:
        results: Any = predictor.results
        files = isinstance(results, FileResults)
        table = isinstance(results, TableResults)
        template = getattr(results, "template", "")
        self._args = (template.rpartition("}")[2] or template, "files" if files else "lines" if table else "", state)
        self._header = getattr(results, "kind", "") == "csv"
        self._work = work
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
        suffix, kind, state = self._args
        path = self._work.path
        said = self._work.connection.run(_LOOK, f"{path}/{OUT}", suffix, kind, f"{path}/{state}.state").text
        number, _, own = said.partition("\n")
        self._count = max(0, int(number) - self._header) if number.strip().isdecimal() else 0
        self._own = parse(own) if own else None
        self._next = time.monotonic() + LOOK_SECONDS


def _nobody(_: int) -> None:
    return None
