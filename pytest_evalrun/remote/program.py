"""A program on a board: listened to or talked with, ended with all that it started, whatever becomes of the link."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.children.output import Heard, brief_end, end_of_output
from pytest_evalrun.children.supervised import how_it_ended
from pytest_evalrun.remote.command import CommandOutput, RemoteCommand
from pytest_evalrun.remote.faults import BoardError, LinkLost
from pytest_evalrun.remote.shell import END, RUN, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_evalrun.remote.connection import Connection

CHUNK = 1 << 15
LONGEST_LINE = 1 << 26


class RemoteProgram:
    """Starts at once, in the directory ``cwd`` of the board. Raises BoardError where that fails, LinkLost.

    ``env`` is added to the board's own environment. ``output`` gets what the program writes, as it comes, in a thread
    of its own. With ``answers``, standard output is read by :meth:`receive_line` and only standard error is output.
    """

    def __init__(
        self,
        board: Connection,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str] | None = None,
        output: Callable[[bytes], None] | None = None,
        stdin: bool = False,
        answers: bool = False,
        name: str = "the program",
    ) -> None:
        self.name = f"{name} on board {board.name}"
        self.returncode: int | None = None
        self._board = board
        self._link = board.link()
        self._watchdog = board.watchdog
        self._heard = Heard(output)
        self._rest = bytearray()
        begun = told(RUN, [self._watchdog.directory, cwd, *argv], env)
        self._command = RemoteCommand(self._link, begun, combined=not answers, errors=self._heard if answers else None)
        try:
            if not stdin:
                self._command.end_input()
            self.pid = self._pid()
        except BaseException:
            self._command.close()
            raise
        self._command.channel.settimeout(None)
        self._output = None if answers else CommandOutput(self._command.channel.recv, self._heard.take)

    @property
    def last_lines(self) -> str:
        """The last 20 lines of its output."""
        return self._heard.last_lines

    def fate(self) -> str:
        """How it ended, in words."""
        return how_it_ended(self.returncode)

    def send_line(self, line: bytes) -> None:
        """A program that does not read it any more is told by :meth:`receive_line`. Raises LinkLost."""
        self._command.send(line)

    def end_input(self) -> None:
        self._command.end_input()

    def receive_line(self, timeout: float | None = None) -> bytes:
        """The next line of its standard output, without its end. Raises ModelDied, LinkLost, TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = 0
        while (end := self._rest.find(b"\n", seen)) < 0:
            seen = len(self._rest)
            if seen > LONGEST_LINE:
                raise BoardError(f"{self.name} wrote a line of more than {LONGEST_LINE} bytes")
            if not (piece := self._receive(deadline, timeout)):
                told = f"{self.name} {self._end_in_words()}"
                brief = None if self.returncode is None else brief_end(self.fate(), self.last_lines)
                raise ModelDied(told, self.returncode, brief=brief)
            self._rest += piece
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        return self.wait(0) if self._command.channel.status_event.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, and all its output is handed on. Raises LinkLost, TimeoutError, what ``output`` raised."""
        if self.returncode is None:
            code = self._command.code(timeout)
            # A stray that has the output keeps it open until the watchdog has ended it.
            self._watchdog.done(self.pid)
            self._wait_for_output()
            self.returncode = code
            self._command.close()
        if self._heard.failure is not None:
            raise self._heard.failure
        return self.returncode

    def end(self, grace: float = 2.0) -> None:
        """SIGTERM to all that it started, after the grace SIGKILL; where the link is lost, the watchdog does it."""
        if self.returncode is None and not self._link.lost:
            try:
                self._board.run(END, str(max(0, round(grace))), f"{self._watchdog.directory}/{self.pid}")
                self.returncode = self._command.code(5.0)
            except (LinkLost, TimeoutError):
                pass
        self._command.close()
        self._wait_for_output(5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _pid(self) -> int:
        """Told by the shell that becomes the program; what start files and a failing shell say comes before."""
        noise = line = b""
        while piece := self._command.receive(1, self._link.limits.connect):
            line += piece
            if piece == b"\n":
                if line.strip().isdigit():
                    return int(line)
                noise, line = noise + line, b""
        code = self._command.code(self._link.limits.connect)
        why = (noise + line + self._command.complaint()).decode(errors="replace").strip()
        raise BoardError(f"{self.name} could not be started: {why or f'exit code {code}'}")

    def _wait_for_output(self, timeout: float | None = None) -> None:
        if self._output is not None:
            self._output.wait(timeout)
        self._command.wait_for_errors(timeout)

    def _receive(self, deadline: float | None, timeout: float | None) -> bytes:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return self._command.receive(CHUNK, left)
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not answer in {timeout:g} s") from None

    def _end_in_words(self) -> str:
        try:
            self.wait(self._link.limits.connect)
        except TimeoutError:
            return "closed its standard output, and did not end"
        return self.fate() + end_of_output(self.last_lines)
