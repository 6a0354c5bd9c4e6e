"""The work directory of a pair on a board: the suite's files, what goes in, what comes out; and programs run there."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.programs.command_template import sent_files
from pytest_evalrun.programs.running import ProgramExit, name_of, wait_for
from pytest_evalrun.remote.faults import LinkLost
from pytest_evalrun.remote.places import claim
from pytest_evalrun.remote.program import RemoteProgram
from pytest_evalrun.remote.tarstream import TarEntry
from pytest_evalrun.remote.transfer import upload
from pytest_evalrun.suite.devices import keeps_work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_evalrun.programs.running import ProgramIO
    from pytest_evalrun.remote.connection import Connection
    from pytest_evalrun.remote.places import BoardWorkDir
    from pytest_evalrun.suite.pairs import Pair

SUITE = "suite"


class OnBoard(Protocol):
    """A board with a model, as long as it is ours; ``device`` is what the suite calls it."""

    @property
    def device(self) -> str: ...

    @property
    def connection(self) -> Connection: ...

    @property
    def path(self) -> str:
        """The place of the model on the board; empty for a task without one."""

    def ready(self) -> int:
        """Give the number of the connection that stands, and on which the model is there. Raises LinkLost."""

    def recover(self, error: Exception, losses: int) -> None:
        """Make a link anew that was lost so many times in a row. Raises BoardGone."""


class BoardWork:
    """A directory that is claimed when it is first needed, and anew on another connection: nothing there is believed.

    Several threads may use it.
    """

    def __init__(self, board: OnBoard, pair: Pair, name: str) -> None:
        self.board = board
        self._pair = pair
        self._name = name
        self._lock = threading.Lock()
        self._generation = 0
        self._path = ""
        self._claimed: dict[str, BoardWorkDir] = {}

    @property
    def connection(self) -> Connection:
        return self.board.connection

    @property
    def suite(self) -> str:
        """The directory in which programs run: files of the suite have the same relative names there."""
        return f"{self._path}/{SUITE}"

    @property
    def path(self) -> str:
        return self._path

    def ready(self) -> int:
        """Have the directory there, with the suite's files; gives the number of the connection for which that holds."""
        with self._lock:
            generation = self.board.ready()
            if generation != self._generation:
                self._claim()
                self._generation = generation
            return generation

    def holds(self, generation: int) -> None:
        """Raise LinkLost where the connection is another one by now: what was made for it is not there any more."""
        if self.ready() != generation:
            raise LinkLost(f"board {self.connection.name}: the link was lost and made again")

    @contextmanager
    def only(self, generation: int) -> Iterator[None]:
        """Make a lost link of what fails in the block because the connection is another one by now."""
        self.holds(generation)
        try:
            yield
        except EvalrunError:
            self.holds(generation)
            raise

    def close(self) -> None:
        """Remove the directory, unless it shall stay: what cannot be removed now is found by the next session."""
        claimed, self._claimed = self._claimed, {}
        if not claimed or keeps_work(self._pair.settings):
            return
        with suppress(LinkLost, EvalrunError, TimeoutError):
            self.connection.connect()
            for directory in claimed.values():
                directory.remove()

    def _claim(self) -> None:
        directory = claim(self.connection, self._name)
        self._claimed[directory.name] = directory
        self._path = directory.path
        files = [TarEntry(path, name) for path, name in sent_files(self._pair.settings, self._pair.root)]
        if files:
            upload(self.connection, files, self.suite)
        else:
            self.connection.must(f"making {SUITE}", 'mkdir -p -- "$1"', self.suite)


def run_there(
    work: BoardWork, argv: Sequence[str], env: Mapping[str, str], io: ProgramIO, heartbeat: Callable[[], None]
) -> ProgramExit:
    """Start a program in the suite's directory on the board, and wait; ``heartbeat`` is called every now and then.

    However this ends, nothing of it is left. Raises LinkLost.
    """
    name = name_of(io.words(argv))
    program = RemoteProgram(work.connection, argv, cwd=work.suite, env=env, output=io.output, name=name)
    try:
        code = wait_for(program, heartbeat)
    finally:
        with io.paused():
            program.end()
        io.ended()
    return ProgramExit(code, f"{program.fate()} on board {work.connection.name}", program.last_lines)
