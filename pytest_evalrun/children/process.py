"""A program that the run started: asked in JSON lines or only listened to, ended with all that it began."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Self

from pytest_evalrun.children.channel import Channel, LineTooLong
from pytest_evalrun.children.codec import from_line, to_line
from pytest_evalrun.children.faults import ChildError, ModelDied
from pytest_evalrun.children.output import PipeReader, brief_end, end_of_output
from pytest_evalrun.children.supervised import Supervised
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# A program that closed its answers is about to end: a moment more tells how.
LAST_MOMENT_SECONDS = 2.0
QUIET_SECONDS = 0.05
SHOWN_OF_A_LINE = 200


class Child:
    """Starts at once; ``started`` is told both PIDs before anything else happens.

    ``env`` is the whole environment. ``stdin``: whether it is sent anything. ``stdout="protocol"``: its answers come
    from there, and its stderr goes to ``output``; else both go to ``output``, chunk by chunk, in a thread. The locks
    in ``hold`` are kept, by their descriptors, until everything has ended; the caller may close its own. ``stacks`` is
    the signal at which the program writes its stacks. Raises ChildError where the program cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None,
        output: Callable[[bytes], None] | None,
        started: Callable[[int], None],
        stdin: bool,
        stdout: Literal["protocol", "output"],
        hold: Sequence[int] = (),
        grace: float = 2.0,
        stacks: int | None = None,
        name: str = "the program",
    ) -> None:
        self.name = name
        self.grace = grace
        self._stacks = stacks
        pipes = _Pipes(stdin=stdin, protocol=stdout == "protocol")
        ignore = () if stacks is None else (stacks,)  # until the program is ready to take it
        try:
            self._supervised = Supervised(
                argv, env=env, cwd=cwd, stdio=pipes.stdio, hold=hold, ignore=ignore, grace=grace, started=started
            )
        except BaseException:
            pipes.close_ours()
            raise
        finally:
            pipes.close_theirs()
        self._channel = Channel(pipes.to_program, pipes.from_program)
        self._output = PipeReader(pipes.output, output)
        self._closed = False

    @property
    def pid(self) -> int:
        return self._supervised.pid

    @property
    def supervisor_pid(self) -> int:
        return self._supervised.supervisor_pid

    @property
    def pids(self) -> tuple[int, ...]:
        """Supervisor and program."""
        return self.supervisor_pid, self.pid

    @property
    def returncode(self) -> int | None:
        """As :class:`subprocess.Popen` has it: negative where a signal ended the program, None while it runs."""
        return self._supervised.returncode

    @property
    def last_lines(self) -> str:
        """The last 20 lines of its output."""
        return self._output.last_lines

    def fate(self) -> str:
        """How the program ended, in words: ``ended with exit code 3``, ``was ended by SIGSEGV``."""
        return self._supervised.fate()

    def death(self) -> ModelDied:
        """The error that tells of the end of a program that has ended."""
        self._output.finish()
        return ModelDied(self._told(self.fate()), self.returncode, brief=brief_end(self.fate(), self.last_lines))

    def send(self, message: Mapping[str, Any], *, plain: bool = False) -> None:
        """One line. Raises PairError, with nothing sent, for a value that cannot travel."""
        self.send_line(to_line(message, plain=plain))

    def send_line(self, line: bytes) -> None:
        """A message as it travels. A program that does not read it any more is told by :meth:`receive`."""
        try:
            self._channel.send(line)
        except LineTooLong as error:
            raise ChildError(self._told(f"wrote {error}")) from None

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """The next message. Raises ModelDied, ChildError for what is no message, TimeoutError."""
        try:
            line = self._channel.receive(timeout, lambda: self.poll() is None)
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not answer in {timeout:g} s") from None
        except LineTooLong as error:
            raise ChildError(self._told(f"wrote {error}")) from None
        if line is None:
            raise self._silence()
        self._output.flush()
        return message_of(line, self._told)

    def poll(self) -> int | None:
        return self._supervised.poll()

    def wait(self, timeout: float | None = None) -> int:
        """How the program ended; what it left behind is being ended then, see :meth:`end`. Raises TimeoutError."""
        return self._supervised.wait(timeout)

    def end(self, grace: float | None = None) -> None:
        """Returns when nothing lives that the program started; a second time does nothing. May be interrupted."""
        if self._closed:
            return
        self._channel.close_out()
        self._supervised.end(self.grace if grace is None else grace)
        self._output.finish()
        self._channel.close()
        self._closed = True

    def dump_stacks(self, seconds: float = 0.5) -> None:
        """Ask a program that knows how for all its stacks; they come as output, for which it has some time."""
        if self._stacks is None or self._closed or self.poll() is not None:
            return
        self._output.flush()
        before = self._output.count
        self._supervised.signal(self._stacks)
        wait_until(
            lambda: self._output.count > before and self._output.quiet(QUIET_SECONDS), seconds, QUIET_SECONDS / 5
        )
        self._output.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _silence(self) -> ChildError:
        try:
            self.wait(LAST_MOMENT_SECONDS)
        except TimeoutError:
            self._output.flush()
            return ChildError(self._told("closed its standard output, and did not end"))
        return self.death()

    def _told(self, what: str) -> str:
        return f"{self.name} {what}{end_of_output(self.last_lines)}"


def message_of(line: bytes, told: Callable[[str], str]) -> dict[str, Any]:
    """A line as a message. Raises ChildError, in the words that ``told`` makes of what the program did."""
    try:
        message = from_line(line)
    except ValueError as error:
        raise ChildError(told(f"wrote a line that is not JSON ({error}): {_shown(line)}")) from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ChildError(told(f"wrote a line that is no message, an object with a type: {_shown(line)}"))
    return message


class _Pipes:
    """The pipes of one program: our ends, and those that become its 0, 1 and 2."""

    def __init__(self, *, stdin: bool, protocol: bool) -> None:
        self.to_program: int | None = None
        self.from_program: int | None = None
        if stdin:
            asked, self.to_program = os.pipe()
        else:
            asked = os.open(os.devnull, os.O_RDONLY)
        self.output, written = os.pipe()
        answers = written
        if protocol:
            self.from_program, answers = os.pipe()
        self.stdio = (asked, answers, written)

    def close_theirs(self) -> None:
        for fd in set(self.stdio):
            os.close(fd)

    def close_ours(self) -> None:
        for fd in (self.to_program, self.from_program, self.output):
            if fd is not None:
                os.close(fd)


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace")
    return repr(text if len(text) <= SHOWN_OF_A_LINE else f"{text[:SHOWN_OF_A_LINE]}…")
