"""Programs that are started once a batch, on GPUs that are theirs for the whole pair."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_evalrun.predicting.loop import run_loop
from pytest_evalrun.predicting.outputs import batch_directory, own_places
from pytest_evalrun.predicting.places import announce, board_work, model_on_board, sink_of
from pytest_evalrun.predicting.services import leased
from pytest_evalrun.predicting.session import CallSession
from pytest_evalrun.programs.batch import BatchProgram
from pytest_evalrun.programs.command_template import GPUS, environment, here, placeholders, whole_environment
from pytest_evalrun.programs.results import make_room, results_of
from pytest_evalrun.programs.running import ProgramIO
from pytest_evalrun.programs.watching import let_begin
from pytest_evalrun.slots.need import need_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.models import LoadedModel
    from pytest_evalrun.predicting.work import PairWork
    from pytest_evalrun.programs.command_template import Where
    from pytest_evalrun.slots.leases import Lease


class BatchPredictor:
    """Asks a program that is started once a batch and told the files of the pair at hand."""

    def __init__(self, work: PairWork, adapter: LoadedModel) -> None:
        self.work = work
        self.pair = work.pair
        self.context = work.context
        self.paths = work.paths
        self.adapter = adapter

    def run(self, samples: Iterable[Sample]) -> None:
        context = self.context
        output = batch_directory(self.pair, self.paths)
        output.mkdir(parents=True, exist_ok=True)
        need = need_of(self.pair.settings)
        with (
            self._where(output) as where,
            leased(need, self.pair, context.slots, context.services) as (lease, pids),
        ):
            program = self._program(where, lease, pids)
            program.load()
            try:
                run_loop(self.work, CallSession(program.predict), samples)
            finally:
                program.close()

    @contextmanager
    def _where(self, output: Path) -> Iterator[Where]:
        """This machine; a script that does its own ssh is told of a board, too."""
        if not need_of(self.pair.settings).devices:
            yield here(self.pair, output)
            return
        from pytest_evalrun.programs.boardplace import Beside

        with board_work(self.work, self.adapter) as work:
            where = here(self.pair, output)
            yield model_on_board(self.adapter).steadily(lambda: Beside(work).add_to(where))

    def _program(self, where: Where, lease: Lease | None, pids: list[int]) -> BatchProgram:
        gpus = lease.environment() if lease is not None else {}
        files = self.paths.program_files
        label = f"_{self.pair.label}" if self.pair.is_shard else ""
        state = files / f"state{label}"
        values = placeholders(self.pair, where, gpus.get(GPUS, ""))
        env = whole_environment(environment(self.pair, where, state), gpus)
        sink = sink_of(self.pair, self.context)

        def started(pid: int) -> None:
            pids.append(pid)
            self.context.services.started(pid, self.pair.full_id)

        def told(argv: Sequence[str]) -> None:
            announce(self.context, sink, argv, gpus)

        own, places = self.pair.settings.own_state, own_places(self.pair, self.paths)
        began = self.paths.fingerprint.stat().st_mtime

        def begin(pattern: str) -> None:
            make_room(pattern, began)
            let_begin(state, own, places, began)

        return BatchProgram(
            self.pair.settings,
            values,
            env,
            self.pair.root,
            files / f"batch{label}.txt",
            results_of(self.pair.settings, values),
            ProgramIO(
                sink,
                started,
                tuple(lease.fds) if lease is not None else (),
                sink.finish,
                words=self.context.secrets.words,
            ),
            self.context.check_launcher,
            told,
            begin,
        )
