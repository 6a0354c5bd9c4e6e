"""Where the programs of a pair run that do a range of it: on this machine, beside a board, or on one."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.predicting.services import leased
from pytest_evalrun.programs.command_template import GPUS, environment, here, placeholders, whole_environment
from pytest_evalrun.programs.results import FileResults, TableResults
from pytest_evalrun.programs.running import ProgramIO, run
from pytest_evalrun.programs.watching import Files, Lines, Nothing, OwnState
from pytest_evalrun.slots.need import need_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.predicting.models import LoadedModel
    from pytest_evalrun.predicting.ranges import RangePredictor
    from pytest_evalrun.programs.command_template import Where
    from pytest_evalrun.programs.running import ProgramExit
    from pytest_evalrun.programs.sink import OutputSink
    from pytest_evalrun.rundir.shards import WorkerArgs
    from pytest_evalrun.rundir.state import RunningState
    from pytest_evalrun.suite.settings import Settings


class ProgramWatch(Protocol):
    """How far a running program is."""

    def count(self) -> int:
        """Samples of which results have appeared."""

    def read(self) -> RunningState | None:
        """What it says itself."""

    def last(self) -> RunningState | None:
        """What it said last, now that it has ended."""


class Site(Protocol):
    """``gpus`` is the environment of a lease; ``settings`` hold the command as it is called there."""

    gpus: Mapping[str, str]
    settings: Settings

    def bring(self, first: int, last: int) -> None:
        """What these positions need is there. Raises LinkLost."""

    @property
    def values(self) -> Mapping[str, str]:
        """The placeholders, as they are known there."""

    def environment(self, prefix: PurePath) -> dict[str, str]:
        """What is added to the program's own; ``prefix`` is that of its state file here."""

    def run(
        self,
        argv: Sequence[str],
        added: Mapping[str, str],
        sink: OutputSink,
        look: Callable[[], None],
        started: Callable[[int], None],
    ) -> ProgramExit:
        """From its start to its end; what it left is here afterwards. Raises LinkLost, ChildError."""

    def watch(self, record: WorkerArgs, prefix: Path) -> ProgramWatch:
        """For the time that the program runs."""

    def recover(self, error: Exception, losses: int) -> None:
        """After a lost link, so many times in a row. Raises BoardGone."""


class Here:
    """This machine; ``where`` may name places on a board for a script that does its own ssh."""

    def __init__(
        self, predictor: RangePredictor, where: Where, gpus: Mapping[str, str], hold: Sequence[int], pids: list[int]
    ) -> None:
        self.gpus = gpus
        self.settings = predictor.pair.settings
        self._predictor = predictor
        self._where = where
        self._hold = hold
        self._pids = pids

    def bring(self, first: int, last: int) -> None:
        """It is here."""

    @property
    def values(self) -> Mapping[str, str]:
        return placeholders(self._predictor.pair, self._where, self.gpus.get(GPUS, ""))

    def environment(self, prefix: PurePath) -> dict[str, str]:
        return environment(self._predictor.pair, self._where, prefix)

    def run(
        self,
        argv: Sequence[str],
        added: Mapping[str, str],
        sink: OutputSink,
        look: Callable[[], None],
        started: Callable[[int], None],
    ) -> ProgramExit:
        words = self._predictor.context.secrets.words
        around = ProgramIO(sink, self._noted, self._hold, sink.finish, words=words)
        return run(argv, whole_environment(added, self.gpus), self._predictor.pair.root, around, look, started)

    def watch(self, record: WorkerArgs, prefix: Path) -> ProgramWatch:
        predictor = self._predictor
        own = OwnState(prefix, predictor.own_places, self.settings.own_state)
        return _Local(_counter(predictor, record), own)

    def recover(self, error: Exception, losses: int) -> None:  # noqa: ARG002 - there is no link to lose
        raise error

    def _noted(self, pid: int) -> None:
        self._pids.append(pid)
        self._predictor.context.services.started(pid, self._predictor.pair.full_id)


class _Local:
    def __init__(self, counter: Lines | Files | Nothing, own: OwnState) -> None:
        self._counter = counter
        self._own = own

    def count(self) -> int:
        return self._counter.count()

    def read(self) -> RunningState | None:
        return self._own.read()

    last = read


def _counter(predictor: RangePredictor, record: WorkerArgs) -> Lines | Files | Nothing:
    results = predictor.results
    if isinstance(results, TableResults):
        return Lines(record.pattern, header=results.kind == "csv")
    if isinstance(results, FileResults):
        example = results.template.rpartition("}")[2]
        return Files(Path(predictor.output, results.template).parent, example)
    return Nothing()


@contextmanager
def site_of(predictor: RangePredictor, adapter: LoadedModel) -> Iterator[Site]:
    """For as long as programs of the predictor are started."""
    pair, context = predictor.pair, predictor.context
    need = need_of(pair.settings)
    if need.devices:
        from pytest_evalrun.predicting.boardsites import board_site

        with board_site(predictor, adapter) as site:
            yield site
        return
    with leased(need, pair, context.slots, context.services) as (lease, pids):
        gpus = lease.environment() if lease is not None else {}
        hold = tuple(lease.fds) if lease is not None else ()
        yield Here(predictor, here(pair, predictor.output), gpus, hold, pids)
