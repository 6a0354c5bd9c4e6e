"""A program that is kept running on a board and speaks the child protocol; docs/child-protocol.md."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.adapter import ServerAdapter
from pytest_evalrun.children.process import message_of
from pytest_evalrun.programs.boardbatch import APART, Ran
from pytest_evalrun.remote.program import RemoteProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.children.adapter import ProtocolPeer
    from pytest_evalrun.datasets.protocol import Sample
    from pytest_evalrun.programs.board import BoardWork
    from pytest_evalrun.programs.boardbatch import Sent, Uploader


class _Talk:
    """A program on a board as whoever talks the protocol knows it."""

    grace = 2.0
    pids: tuple[int, ...] = ()

    def __init__(self, program: RemoteProgram) -> None:
        self._program = program

    def send_line(self, line: bytes) -> None:
        self._program.send_line(line)

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        return message_of(self._program.receive_line(timeout), self._told)

    def end(self, grace: float | None = None) -> None:
        self._program.end(self.grace if grace is None else grace)

    def dump_stacks(self, seconds: float = 0.5) -> None:
        """No program on a board knows how."""

    def _told(self, what: str) -> str:
        lines = self._program.last_lines
        return f"{self._program.name} {what}" + (f"; the end of its output:\n{lines}" if lines else "")


class BoardServer(ServerAdapter):
    """Likewise for a server on a board: started in the suite's directory there. It must be told paths of the board."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        load: Mapping[str, Any],
        *,
        work: BoardWork,
        env: Mapping[str, str],
        output: Callable[[bytes], None],
    ) -> None:
        super().__init__(name, argv, load, env=env, hold=(), output=output, started=_unknown)
        self._work = work

    def _start(self) -> ProtocolPeer:
        self._work.ready()
        program = RemoteProgram(
            self._work.connection,
            self.argv,
            cwd=self._work.suite,
            env=self.env,
            output=self._output,
            stdin=True,
            answers=True,
            name=f"the process of model {self.name}",
        )
        return _Talk(program)


def _unknown(_: int) -> None:
    """Its processes are not of this machine."""


class ServerStages:
    """Batches of a server: their files go over while it answers the one before."""

    def __init__(self, ask: Callable[[Sequence[Sample]], Sequence[Any]], work: BoardWork, uploader: Uploader) -> None:
        self._ask = ask
        self._work = work
        self._uploader = uploader

    def upload(self, batch: Sequence[Sample]) -> Sent:
        return self._uploader.upload(batch)

    def run(self, sent: Sent) -> Ran:
        started = time.perf_counter()
        with self._work.only(sent.generation):
            answers = self._ask(sent.there)
        return Ran(sent, time.perf_counter() - started, answers)

    def fetch(self, ran: Ran) -> Sequence[Any]:
        assert ran.answers is not None, "a server answers at once"
        return ran.answers

    def predict(self, batch: Sequence[Sample]) -> Sequence[Any]:
        """All of it, one after the other, while the next batch may be on its way."""
        return self.fetch(self.run(self._uploader.upload_to(APART, batch)))
