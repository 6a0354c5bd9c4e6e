"""Batches asked on a board: while one runs, the next goes over and the last one comes back."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.errors import ConfigError, PairError, TimedOut
from pytest_evalrun.predicting.boardmodel import BoardModel, BoardServerModel
from pytest_evalrun.predicting.oldloop import Predictor, without_references
from pytest_evalrun.predicting.outputs import batch_directory
from pytest_evalrun.predicting.places import announce, sink_of, work_of
from pytest_evalrun.programs.board import BoardWork
from pytest_evalrun.programs.boardbatch import BatchStages, Ran, Sent, Uploader
from pytest_evalrun.programs.boardserver import ServerStages
from pytest_evalrun.programs.command_template import environment, placeholders, there
from pytest_evalrun.programs.results import results_of
from pytest_evalrun.programs.running import ProgramIO
from pytest_evalrun.remote.faults import LOST
from pytest_evalrun.remote.overlap import overlapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.models import LoadedModel
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.programs.boardbatch import Stages
    from pytest_evalrun.programs.command_template import Where
    from pytest_evalrun.rundir.predictions import Line


class _Under(NamedTuple):
    """A batch on its way, as far as it came: what the last stage gave, or why it failed."""

    batch: list[Sample]
    came: Any


class BoardPredictor:
    """A :class:`Predictor` of a pair on a board."""

    def __init__(self, work: PairWork, model: LoadedModel) -> None:
        assert isinstance(model, BoardModel), "loaded for a pair that uses a board"
        self.work = work
        self.pair = work.pair
        self.context = work.context
        self.paths = work.paths
        self.model = model

    def run(self, samples: Iterable[Sample]) -> None:
        work = BoardWork(self.model, self.pair, work_of(self.pair))
        dataset = Path(self.pair.dataset.path)
        aside = self.paths.program_files / (self.pair.label or "board")
        root, served = dataset if dataset.is_dir() else dataset.parent, isinstance(self.model, BoardServerModel)
        uploader = Uploader(work, root, aside, outputs=not served)
        stages = self._stages(work, uploader)
        try:
            _Pipeline(self, stages).run(samples)
        finally:
            with self.context.services.paused():
                uploader.close()
                work.close()

    def _stages(self, work: BoardWork, uploader: Uploader) -> Stages:
        if isinstance(self.model, BoardServerModel):
            return ServerStages(self.model.predict, work, uploader)
        output = batch_directory(self.pair, self.paths)
        output.mkdir(parents=True, exist_ok=True)
        sink = sink_of(self.pair, self.context)

        def where(place: str) -> Where:
            data = f"{work.path}/in{place[-1:]}"
            return there(self.model.path, work.path, data, data, place)

        def told(argv: Sequence[str]) -> None:
            announce(self.context, sink, argv, {}, f"$ [{self.model.board.name}]")

        return BatchStages(
            self.pair,
            work,
            uploader,
            where,
            self._environment,
            results_of(self.pair.settings, placeholders(self.pair, where(str(output)), "")),
            output,
            ProgramIO(sink, _nobody, (), sink.finish, self.context.services.paused, self.context.secrets.words),
            self.context.check_launcher,
            told,
            self.paths.fingerprint.stat().st_mtime,
        )

    def _environment(self, where: Where) -> Mapping[str, str]:
        return environment(self.pair, where)


class _Pipeline(Predictor):
    """Asks in stages what can be asked so; a batch for which that failed is asked by itself, as everywhere."""

    def __init__(self, of: BoardPredictor, stages: Stages) -> None:
        super().__init__(of.work, stages)  # type: ignore[arg-type]
        self._stages = stages
        self._model = of.model

    def run(self, samples: Iterable[Sample]) -> None:
        stages = (self._upload, self._run, self._fetch, self._model.interrupt)
        with closing(overlapped(self._batches(samples), *stages)) as coming:  # type: ignore[type-var]
            try:
                for batch, came in coming:
                    self._keep(batch, self._again(batch, came) if isinstance(came, Exception) else came)
            except (KeyboardInterrupt, TimedOut):
                self._model.interrupt()
                raise
        self.state.finish()

    def _upload(self, batch: list[Sample]) -> _Under:
        return _Under(batch, _attempt(lambda: self._stages.upload(without_references(batch))))

    def _run(self, under: _Under) -> _Under:
        self._report(0, len(under.batch))
        if not isinstance(under.came, Sent):
            return under
        sent = under.came
        return _Under(under.batch, _attempt(lambda: self._stages.run(sent)))

    def _fetch(self, under: _Under) -> _Under:
        if not isinstance(under.came, Ran):
            return under
        ran = under.came
        seconds = round(ran.seconds, 6)
        return _Under(under.batch, _attempt(lambda: self._lines(under.batch, self._stages.fetch(ran), seconds)))

    def _again(self, batch: list[Sample], failed: Exception) -> list[Line]:
        if isinstance(failed, LOST) or (isinstance(failed, ConfigError) and self._model.connection.lost):
            self._redo(batch, failed, 1)
            return self._ask(batch)
        if isinstance(failed, PairError | ConfigError):
            raise failed
        return self._ask(batch, failed)

    def _predict(self, batch: list[Sample]) -> list[Line]:
        """Once more where the link was lost: that is not the fault of the batch."""
        for losses in count(1):
            try:
                return super()._predict(batch)
            except LOST as error:
                self._redo(batch, error, losses)
            except ConfigError as error:
                raise PairError(str(error)) from error
        raise AssertionError("unreachable")

    def _redo(self, batch: list[Sample], error: Exception, losses: int) -> None:
        """Raises BoardGone where the board does not come back."""
        self.counts.retries += 1
        self._report(0, len(batch))
        told = {"attempt": losses, "error": self.context.shown(str(error))}
        self.context.events.write("batch_retried", self.pair.full_id, batch=self.counts.batch + 1, **told)
        self._model.recover(error, losses)


def _attempt(work: Callable[[], Any]) -> Any:
    """What it gives, or the exception that it raised: one batch must not end the others."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - whoever takes the batch over looks at it
        return error


def _nobody(_: int) -> None:
    """Processes on a board are not of this machine."""
