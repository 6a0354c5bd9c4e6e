"""The places where the programs of a pair run, with what they need of the worker: GPUs, a board, a log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_evalrun.errors import TimedOut
from pytest_evalrun.predicting.services import leased
from pytest_evalrun.programs.command_template import command_line, here
from pytest_evalrun.programs.place import LocalPlace
from pytest_evalrun.programs.running import ProgramIO
from pytest_evalrun.programs.sink import OutputSink
from pytest_evalrun.slots.need import need_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.predicting.boardmodel import BoardModel
    from pytest_evalrun.predicting.session import LoadedModel
    from pytest_evalrun.predicting.work import PairWork, WorkContext
    from pytest_evalrun.programs.board import BoardWork
    from pytest_evalrun.programs.place import BoardBeside, Place
    from pytest_evalrun.suite.pairs import Pair


@contextmanager
def place_of(work: PairWork, model: LoadedModel, output: Path) -> Iterator[Place]:
    """Open the place for programs that do ranges of the pair."""
    pair = work.pair
    if not need_of(pair.settings).devices:
        with local_place(work, output) as place:
            yield place
        return
    with board_work(work, model) as on_board:
        if model_on_board(model).runs_there:
            from pytest_evalrun.programs.boardplace import BoardPlace

            services, words = work.context.services, work.context.secrets.words
            yield BoardPlace(on_board, pair, ProgramIO(paused=services.paused, words=words), output)
            return
        from pytest_evalrun.programs.boardplace import Beside

        with local_place(work, output, beside=Beside(on_board)) as place:
            yield place


@contextmanager
def local_place(
    work: PairWork, output: Path, list_file: Path | None = None, beside: BoardBeside | None = None
) -> Iterator[Place]:
    """Open this machine, with GPUs that are the place's own until every program on them has ended."""
    pair, context = work.pair, work.context
    with leased(need_of(pair.settings), pair, context.slots, context.services) as (lease, pids):

        def started(pid: int) -> None:
            pids.append(pid)
            context.services.started(pid, pair.full_id)

        gpus, hold = (lease.environment(), tuple(lease.fds)) if lease is not None else ({}, ())
        io = ProgramIO(started=started, hold=hold, words=context.secrets.words)
        yield LocalPlace(pair, here(pair, output), io, gpus, list_file=list_file, beside=beside)


@contextmanager
def board_work(work: PairWork, model: LoadedModel) -> Iterator[BoardWork]:
    """Open the work directory of the pair on the board of the loaded model; it goes when the block is left.

    So it does by Ctrl-C and a limit: what is under way is not waited for then.
    """
    from pytest_evalrun.programs.board import BoardWork

    loaded = model_on_board(model)
    on_board = BoardWork(loaded, work.pair, work_of(work.pair))
    try:
        yield on_board
    except (KeyboardInterrupt, TimedOut):
        loaded.interrupt()
        raise
    finally:
        with work.context.services.paused():
            on_board.close()


def model_on_board(model: LoadedModel) -> BoardModel:
    from pytest_evalrun.predicting.boardmodel import BoardModel

    assert isinstance(model, BoardModel), "loaded for a pair that uses a board"
    return model


def work_of(pair: Pair) -> str:
    """Name the work directory of a pair, or of a shard."""
    from pytest_evalrun.remote.places import work_name

    return work_name(pair.key.task, pair.key.dataset + (f"_{pair.label}" if pair.is_shard else ""))


def sink_of(pair: Pair, context: WorkContext, part: str = "") -> OutputSink:
    """Make the sink of a program's output; ``part`` is the range that it does."""
    name = f"{pair.whole.full_id} {part or pair.label}".rstrip()
    around = context.services
    return OutputSink(around.blanked_output, around.tell, name, context.secrets, around.command)


def announce(
    context: WorkContext, sink: OutputSink, argv: Sequence[str], gpus: Mapping[str, str], prompt: str = "$"
) -> None:
    """Show the full command, before it starts, without the secrets in its words."""
    line = f"{prompt} {command_line(context.secrets.words(argv), gpus)}"
    context.say(line)
    sink.tell(context.shown(line))
