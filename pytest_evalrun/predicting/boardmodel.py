"""The model on a board: uploaded before it is asked, the board ours for as long as it is loaded."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_evalrun.children.faults import ChildError
from pytest_evalrun.errors import PairError
from pytest_evalrun.predicting.boards import quietly
from pytest_evalrun.programs.board import BoardWork
from pytest_evalrun.programs.command_template import arguments, environment, placeholders, portable_command, there
from pytest_evalrun.programs.running import check_program
from pytest_evalrun.programs.server import BoardServer
from pytest_evalrun.remote.faults import LOST, BoardGone
from pytest_evalrun.remote.models import ModelCache, model_name
from pytest_evalrun.remote.places import work_name
from pytest_evalrun.suite.devices import model_policy
from pytest_evalrun.suite.secrets import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.predicting.boards import Boards, HeldBoard
    from pytest_evalrun.predicting.services import WorkerServices
    from pytest_evalrun.remote.connection import Connection
    from pytest_evalrun.suite.pairs import Pair

T = TypeVar("T")
# A link that is lost so often during one and the same batch will not hold for the next one either.
MOST_LOSSES = 5
# Where a server of a task runs; no dataset is called so.
SERVER = ".server"


class BoardModel:
    """A model on a board, for the programs of its pairs that are started there. ``digest`` gives a file's SHA-256.

    ``broken`` when its board was given up: it must be loaded anew, on another one. Several threads may use it.
    """

    def __init__(
        self,
        pair: Pair,
        boards: Boards,
        digest: Callable[[Path], str],
        around: WorkerServices,
        *,
        runs_there: bool,
    ) -> None:
        """``runs_there``: its programs run on the board, else on this machine, and talk to it."""
        self.runs_there = runs_there
        self.held: HeldBoard | None = None
        self.broken = False
        self._pair = pair
        self._boards = boards
        self._digest = digest
        self._around = around
        self._task = f"{pair.suite}/{pair.task.name}"
        suffix = PurePath(pair.task.path).suffix if pair.task.path else ""
        self._name = model_name(pair.key.task, suffix) if pair.task.path else ""
        self._policy = model_policy(pair.settings)
        self._lock = threading.RLock()
        self._generation = 0
        self._path = ""

    @property
    def board(self) -> HeldBoard:
        assert self.held is not None, "load comes first"
        return self.held

    @property
    def connection(self) -> Connection:
        return self.board.connection

    @property
    def device(self) -> str:
        return self.board.name

    @property
    def path(self) -> str:
        """SHARED_MODEL_PATH, absolute; empty for a task without a model."""
        return self._path

    def load(self) -> None:
        """Take a board that is free and well; one that drops meanwhile is given up for another. Raises PairError."""
        self._check()
        while True:
            self.broken = False
            self.held = self._boards.take(self._pair, self._around, self._having())
            try:
                self.steadily(self.ready)
                return
            except BoardGone as error:
                self._around.say(f"{error}; looking for another board")
                self.kill()
            except Exception:  # the board is well: what is wrong is the model or its suite
                self.close()
                raise
            except BaseException:  # who is interrupted does not wait for a goodbye
                self.kill()
                raise

    def ready(self) -> int:
        """Have the connection stand and the model there; give the number of the connection. Raises LinkLost."""
        with self._lock:
            self.connection.link()
            generation = self.connection.connects
            if generation != self._generation:
                self._bring()
                self._generation = generation
            return generation

    def steadily(self, work: Callable[[], T]) -> T:
        """Do the work again if the link was lost meanwhile. Raises BoardGone where it does not come back or hold."""
        for losses in count(1):
            try:
                return work()
            except LOST as error:
                self.recover(error, losses)
        raise AssertionError("unreachable")

    def recover(self, error: Exception, losses: int) -> None:
        """Connect again, with back-off, after so many losses in a row. Raises BoardGone."""
        try:
            if losses >= MOST_LOSSES:
                raise self.board.give_up(f"{losses} times in a row: {error}")
            if self.connection.gone:  # whoever met the loss has tried for as long as one should
                raise self.board.give_up(self.connection.gone)
            self._around.say(f"{error}; connecting again")
            self.board.reconnect()
        except BoardGone:
            self.broken = True
            raise

    def is_wanted(self) -> bool:
        """Nobody says that he waits for a board: true, so that one that idles is given back in any case."""
        return self.held is not None

    def interrupt(self) -> None:
        """Tell whoever waits for the board in another thread at once that the link is gone."""
        if self.held is not None:
            self.connection.close()

    def close(self) -> None:
        """Give the board back; the connection stays for the next model."""
        held, self.held, self._generation = self.held, None, 0
        if held is None:
            return
        try:
            if self._name and not held.connection.lost:
                last = self._boards.notes.is_finished(self._task)
                cache = ModelCache(held.connection)
                quietly(lambda: cache.release(self._name, int(self._policy), last=last))
        finally:
            held.free()

    def kill(self) -> None:
        """Give the board back at once: nothing more is said to it, and it ends by itself what runs there."""
        held, self.held, self._generation = self.held, None, 0
        if held is not None:
            self._boards.drop(held.connection)
            held.free()

    def _check(self) -> None:
        """Raise PairError for what would fail on every board."""
        path = self._pair.task.path
        if not self.runs_there:
            check_program(self._pair.settings, self._pair.root)
        elif path is not None and not Path(path).is_file():
            raise PairError(f"model {path}: what goes to a board is one file; pack it, and let the program unpack it")

    def _having(self) -> list[str]:
        """List the boards where this launch has put the model already."""
        return [used.spec.name for used in self._boards.notes.used() if self._name in used.models]

    def _bring(self) -> None:
        board, path = self.board, self._pair.task.path
        home = board.connection.home
        self._boards.notes.use(board.spec, home, self._name, self._policy)
        if path is None or not Path(path).is_file():
            return
        cached = ModelCache(board.connection, check=self._around.check).ensure(
            Path(path), self._name, self._digest(Path(path))
        )
        self._path = cached.path
        if cached.uploaded:
            facts = {"model": self._task, "device": board.name, "bytes": cached.uploaded}
            self._around.event("uploaded", self._pair.full_id, **facts)
            self._around.say(f"model {cached.name} uploaded to board {board.name}: {cached.uploaded} bytes")


class BoardServerModel(BoardModel):
    """A program that is kept running on the board; on another connection it is started anew."""

    def __init__(
        self,
        pair: Pair,
        boards: Boards,
        digest: Callable[[Path], str],
        around: WorkerServices,
        *,
        runs_there: bool,
    ) -> None:
        super().__init__(pair, boards, digest, around, runs_there=runs_there)
        self._work = BoardWork(_WithModel(self), pair, work_name(pair.key.task, SERVER))
        self._server: BoardServer | None = None
        self._served = 0

    def ready(self) -> int:
        with self._lock:
            generation = super().ready()
            if generation != self._served:
                self._work.ready()
                self._server = self._made()
                self._server.load()
                self._served = generation
            return generation

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        """Ask for a batch with paths of the board. A server that died must be loaded anew."""
        assert self._server is not None, "load comes first"
        try:
            return self._server.predict(batch)
        except ChildError:
            self.broken = True
            raise

    def close(self) -> None:
        server, self._server, self._served = self._server, None, 0
        try:
            if server is not None and not self.connection.lost:
                quietly(server.close)
            if self.held is not None:
                self._work.close()
        finally:
            super().close()

    def kill(self) -> None:
        self._server, self._served = None, 0
        super().kill()

    def _made(self) -> BoardServer:
        pair, work = self._pair, self._work
        where = there(self.path, work.path, work.suite, work.suite, None)
        argv = arguments(portable_command(pair), placeholders(pair, where, ""))
        load = {"model": self.path, "params": expand(dict(pair.settings.params))}
        env = environment(pair, where)
        return BoardServer(pair.task.name, argv, load, work=work, env=env, output=self._around.output)


class _WithModel:
    """The board with the model on it, whatever becomes of the server."""

    def __init__(self, model: BoardModel) -> None:
        self._model = model

    @property
    def connection(self) -> Connection:
        return self._model.connection

    @property
    def device(self) -> str:
        return self._model.device

    @property
    def path(self) -> str:
        return self._model.path

    def ready(self) -> int:
        return BoardModel.ready(self._model)

    def recover(self, error: Exception, losses: int) -> None:
        self._model.recover(error, losses)
