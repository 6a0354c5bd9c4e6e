"""A program that is kept running, here or on a board, and speaks the child protocol; docs/child-protocol.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.adapter import ServerAdapter
from pytest_evalrun.children.process import message_of
from pytest_evalrun.programs.command_template import GPUS, arguments, environment, here, placeholders
from pytest_evalrun.suite.secrets import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.children.adapter import ProtocolPeer
    from pytest_evalrun.programs.board import BoardWork
    from pytest_evalrun.remote.program import RemoteProgram
    from pytest_evalrun.suite.pairs import Pair


def server(
    pair: Pair,
    *,
    gpus: Mapping[str, str],
    hold: Sequence[int],
    output: Callable[[bytes], None],
    started: Callable[[int], None],
) -> ServerAdapter:
    """Make the adapter of a pair's program; it serves every dataset of its task."""
    where = here(pair)
    argv = arguments(pair.settings, placeholders(pair, where, gpus.get(GPUS, "")))
    load = {"model": pair.task.path, "params": expand(dict(pair.settings.params))}
    env = {**environment(pair, where), **gpus}
    return ServerAdapter(pair.task.name, argv, load, env=env, hold=hold, output=output, started=started, cwd=pair.root)


class _Talk:
    """A program on a board, for whoever talks the protocol."""

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
        """Do nothing: no program on a board knows how."""

    def _told(self, what: str) -> str:
        lines = self._program.last_lines
        return f"{self._program.name} {what}" + (f"; the end of its output:\n{lines}" if lines else "")


class BoardServer(ServerAdapter):
    """A server on a board, started in the suite's directory there; it must be told paths of the board."""

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
        super().__init__(name, argv, load, env=env, hold=(), output=output, started=lambda _: None)
        self._work = work

    def _start(self) -> ProtocolPeer:
        from pytest_evalrun.remote.program import RemoteProgram

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
