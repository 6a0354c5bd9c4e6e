"""Programs that are asked batch by batch: where a batch goes, how it is answered there, and how it comes back."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pytest_evalrun.children.faults import ModelError
from pytest_evalrun.errors import ConfigError, PairError, SampleError
from pytest_evalrun.predicting.outputs import batch_directory, own_places
from pytest_evalrun.predicting.places import announce, board_work, local_place, model_on_board, sink_of
from pytest_evalrun.predicting.session import Again, Answers
from pytest_evalrun.programs.command_template import arguments
from pytest_evalrun.programs.place import listed
from pytest_evalrun.programs.results import make_room, matching, results_of
from pytest_evalrun.programs.running import ProgramIO, name_of
from pytest_evalrun.programs.watching import let_begin
from pytest_evalrun.slots.need import need_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.boardmodel import BoardModel
    from pytest_evalrun.predicting.session import LoadedModel
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.programs.boardplace import BoardPlace
    from pytest_evalrun.programs.place import Place
    from pytest_evalrun.programs.sink import OutputSink
    from pytest_evalrun.remote.overlap import Overlap

# On a board one batch goes over, one is at work, and one comes back.
AT_ONCE = 3


class Bay(Protocol):
    """Room for one batch, which is asked in three steps. ``seconds`` are those that its program took."""

    seconds: float

    def put(self, batch: Sequence[Sample]) -> None:
        """Take it to where it is answered. Raises LinkLost, ArrivedWrong, SampleError."""

    def run(self) -> None:
        """Have it answered. Raises ModelError, LinkLost too where it is not there any more."""

    def fetch(self) -> Sequence[Any]:
        """Give one prediction a sample. Raises SampleError, PairError, LinkLost."""


class StagedSession:
    """A program that is asked in bays: of one in the calling thread, of several in a thread for each of the steps.

    A link that was lost is made again by the first batch that meets the loss; for all of them it is a reason to be
    asked again, and no failure. ``exit`` gives back what belongs to the session.
    """

    def __init__(self, bays: Sequence[Bay], board: BoardModel | None, exit_: ExitStack) -> None:
        self.in_flight, self.batch_size = len(bays), None
        self._free = deque(bays)
        self._board = board
        self._exit = exit_
        self._overlap: Overlap[Answers | Again] | None = None
        if len(bays) > 1:
            from pytest_evalrun.remote.overlap import Overlap

            self._overlap = Overlap("upload", "run", "fetch")
        self._lock = threading.Lock()
        self._closing = False
        # How often the link was made again, and how often in a row without one batch that was answered.
        self._recoveries = 0
        self._losses = 0

    def submit(self, batch: Sequence[Sample]) -> Future[Answers | Again]:
        """Ask for a batch in a bay of its own; of several bays its seconds are those of its program alone."""
        bay, recoveries = self._free.popleft(), self._recoveries
        steps: list[Callable[[], Answers | None]] = [
            lambda: bay.put(batch),
            lambda: bay.run(),
            lambda: Answers(bay.fetch(), bay.seconds),
        ]
        guarded = [partial(self._do, step, bay, recoveries) for step in steps]
        return self._overlap.submit(*guarded) if self._overlap is not None else _here(guarded)

    def close(self, *, at_once: bool = False) -> None:
        """Give back work directories, lists and GPUs; ``at_once``: who waits for a board hears that it is gone."""
        self._closing = True
        if at_once and self._board is not None:
            self._board.interrupt()
        # The threads first: what they use must not be given back under them.
        with self._exit:
            if self._overlap is not None:
                self._overlap.close()

    def _do(self, step: Callable[[], Answers | None], bay: Bay, recoveries: int) -> Answers | Again | None:
        """Do a step of a batch; when it was the last one, the bay is free before anybody hears of that."""
        try:
            answers = step()
        except Exception as error:  # noqa: BLE001 - a program's failure is that of its batch
            self._free.append(bay)
            return self._failed(error, recoveries)
        if answers is not None:
            self._losses = 0
            self._free.append(bay)
        return answers

    def _failed(self, error: Exception, recoveries: int) -> Again:
        """Have a batch asked again that lost its link; raises what is the fault of batch, pair or board."""
        if self._board is not None:
            from pytest_evalrun.remote.faults import LOST

            if isinstance(error, LOST) or (isinstance(error, ConfigError) and self._board.connection.lost):
                self._recover(self._board, error, recoveries)
                return Again(0.0, str(error), counts=False)
        if isinstance(error, ConfigError):
            raise PairError(str(error)) from error
        raise error

    def _recover(self, board: BoardModel, error: Exception, recoveries: int) -> None:
        """Make the link again, once for all batches that were submitted since the last time."""
        with self._lock:
            if self._closing:  # the link was closed by who ends us
                raise error
            # Who was submitted before the last time has met a loss that is made good by now.
            if recoveries == self._recoveries:
                self._losses += 1
                board.recover(error, self._losses)
                self._recoveries += 1


def _here(steps: Sequence[Callable[[], Answers | Again | None]]) -> Future[Answers | Again]:
    """Do all steps in the calling thread, so that a limit of time and Ctrl-C reach the program."""
    future: Future[Answers | Again] = Future()
    started = time.perf_counter()
    try:
        result = next(result for step in steps if (result := step()) is not None)
    except Exception as error:  # noqa: BLE001 - as in the threads
        future.set_exception(error)
    else:
        whole = time.perf_counter() - started
        future.set_result(replace(result, seconds=whole) if isinstance(result, Answers) else result)
    return future


class ProgramBay:
    """A place where a program is started for a batch.

    What it leaves lies in ``output`` afterwards. ``state`` is the prefix of its state file, where it has one.
    """

    def __init__(
        self,
        work: PairWork,
        place: Place,
        output: Path,
        sink: OutputSink,
        heartbeat: Callable[[], None],
        state: Path | None = None,
    ) -> None:
        self.seconds = 0.0
        self._work = work
        self._place = place
        self._sink = sink
        self._heartbeat = heartbeat
        self._state = state
        values = {**place.values(), "output": str(output)}
        self._results = results_of(work.settings, values)
        self._pattern = self._results.pattern(values)
        self._since = work.paths.fingerprint.stat().st_mtime
        self._batch: Sequence[Sample] = ()
        self._there: Sequence[Sample] = ()
        self._began = 0.0
        self._name = ""

    def put(self, batch: Sequence[Sample]) -> None:
        self._batch, self._there = batch, self._place.put(batch)

    def run(self) -> None:
        started = time.perf_counter()
        place, context = self._place, self._work.context
        argv = arguments(place.settings, place.values(), [listed(sample) for sample in self._there])
        if self._state is not None:
            own, places = self._work.settings.own_state, own_places(self._work.pair, self._work.paths)
            make_room(self._pattern, self._since)
            let_begin(self._state, own, places, self._since)
        announce(context, self._sink, argv, place.gpus, f"$ [{place.name}]" if place.name else "$")
        self._name = name_of(context.secrets.words(argv))
        self._began = time.time()
        ending = place.run(argv, place.environment(self._state), self._sink, self._heartbeat)
        if ending.returncode:
            raise ModelError(ending.in_words(self._name), may_pass=ending.may_pass)
        self.seconds = time.perf_counter() - started

    def fetch(self) -> Sequence[Any]:
        """Fetch while no other bay does: the files of all batches have the same names."""
        # On a board not before the run: what the batch before wrote may just be arriving.
        if self._place.name:
            make_room(self._pattern, self._since)
        self._results.began = max(self._began, self._place.fetch())
        files = matching(self._pattern)
        if self._pattern and not files:
            raise PairError(f"{self._name} ended with exit code 0 and left no results: there is no {self._pattern}")
        found = []
        for answer in self._results.answers(files, lambda: self._batch, whole=True, strict=True):
            if answer.error is not None:
                raise SampleError(answer.error)
            found.append(answer.prediction)
        for file in files:  # its rows are predictions now: nobody will know whose it was
            file.unlink(missing_ok=True)
        return found


class ServerBay:
    """A place to which the files of a batch go before the server on that board is asked."""

    def __init__(self, place: BoardPlace, predict: Callable[[Sequence[Sample]], Sequence[Any]]) -> None:
        self.seconds = 0.0
        self._place = place
        self._predict = predict
        self._there: Sequence[Sample] = ()
        self._answers: Sequence[Any] = ()

    def put(self, batch: Sequence[Sample]) -> None:
        self._there = self._place.put(batch)

    def run(self) -> None:
        started = time.perf_counter()
        with self._place.only():
            self._answers = self._predict(self._there)
        self.seconds = time.perf_counter() - started

    def fetch(self) -> Sequence[Any]:
        return self._answers


def open_batches(work: PairWork, model: LoadedModel) -> StagedSession:
    """Open a program that is started once a batch: here, or on the board of the loaded model."""
    output = batch_directory(work.pair, work.paths)
    output.mkdir(parents=True, exist_ok=True)
    sink = sink_of(work.pair, work.context)
    uses_board = bool(need_of(work.settings).devices)
    if uses_board and model_on_board(model).runs_there:
        return _open_on_board(work, model, output, lambda place: ProgramBay(work, place, output, sink, lambda: None))
    with ExitStack() as stack:
        board, beside = None, None
        if uses_board:
            from pytest_evalrun.programs.boardplace import Beside

            board = model_on_board(model)
            beside = Beside(stack.enter_context(board_work(work, board)))
        label = f"_{work.pair.label}" if work.pair.is_shard else ""
        list_file = work.paths.program_files / f"batch{label}.txt"
        place = stack.enter_context(local_place(work, output, list_file, beside))
        stack.callback(list_file.unlink, missing_ok=True)
        state = work.paths.program_files / f"state{label}"
        bay = ProgramBay(work, place, output, sink, work.context.check_launcher, state)
        return StagedSession([bay], board, stack.pop_all())


def open_board_server(work: PairWork, model: LoadedModel) -> StagedSession:
    """Open a server on the board of the loaded model: files go over while it answers the batch before."""
    from pytest_evalrun.predicting.boardmodel import BoardServerModel

    assert isinstance(model, BoardServerModel), "loaded for a pair that is asked so"
    return _open_on_board(work, model, None, lambda place: ServerBay(place, model.predict))


def _open_on_board(
    work: PairWork, model: LoadedModel, output: Path | None, bay: Callable[[BoardPlace], Bay]
) -> StagedSession:
    from pytest_evalrun.programs.boardplace import BoardPlace

    with ExitStack() as stack:
        board = model_on_board(model)
        on_board = stack.enter_context(board_work(work, board))
        # No clock is stopped for the end of a program: its thread may not set the signal handlers that this takes.
        io = ProgramIO(words=work.context.secrets.words)
        aside = work.paths.program_files / (work.pair.label or "board")
        bays = []
        for number in range(AT_ONCE):
            list_file = None if output is None else aside / f"list{number}.txt"
            if list_file is not None:
                stack.callback(list_file.unlink, missing_ok=True)
            bays.append(bay(BoardPlace(on_board, work.pair, io, output, number=number, list_file=list_file)))
        return StagedSession(bays, board, stack.pop_all())
