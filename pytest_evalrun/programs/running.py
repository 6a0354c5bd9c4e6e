"""One program from its start to its end, and its end in words."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.children.faults import NotStarted
from pytest_evalrun.children.output import brief_end
from pytest_evalrun.children.process import Child
from pytest_evalrun.children.supervised import signal_name
from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.commands import program_of
from pytest_evalrun.suite.template import fill, names_in, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_evalrun.suite.settings import Settings

# How often a running program is looked after.
LOOK_SECONDS = 0.2
SHOWN_OF_A_COMMAND = 300
# What a shell adds to the number of the signal that ended its last program.
OF_A_SIGNAL = 128


@dataclass(frozen=True)
class ProgramExit:
    """The end of a program; ``returncode`` is negative where a signal ended it.

    One that was not started, by no fault of its own, has that of a program that is worth another try.
    """

    returncode: int
    fate: str
    last_lines: str

    def in_words(self, name: str) -> str:
        """Tell it in a sentence, with the last lines of the program's output."""
        end = f"; the end of its output:\n{self.last_lines}" if self.last_lines else "; it wrote no output"
        return f"{name} {self.fate}{self._hint()}{end}"

    @property
    def brief(self) -> str:
        """The program's fate, for a line that may be cut."""
        return brief_end(self.fate, self.last_lines)

    @property
    def may_pass(self) -> bool:
        """True where trying again may help: it was killed, for want of memory most likely, or says so itself."""
        return self.returncode in (-signal.SIGKILL, OF_A_SIGNAL + signal.SIGKILL, os.EX_TEMPFAIL)

    def _hint(self) -> str:
        """Say what a signal means that nobody here sent; for a shell's child it comes as an exit code."""
        number = -self.returncode if self.returncode < 0 else self.returncode - OF_A_SIGNAL
        through_shell = f"a shell says so where {signal_name(number)} ended its program" if self.returncode > 0 else ""
        if number == signal.SIGKILL and "out of memory" not in self.fate:
            cause = "nobody here sent it: usually that is the kernel's OOM killer, for want of memory"
            return f" ({through_shell}, and {cause})" if through_shell else f" ({cause})"
        known = through_shell and number in set(signal.Signals)
        return f" ({through_shell})" if known else ""


@dataclass(frozen=True)
class ProgramIO:
    """The needs of a program that is started: where its output goes, who is told its PIDs, whose locks it holds.

    ``ended`` is called when all of its output has come. Inside ``paused`` no limit counts. ``words`` are those of a
    command as they may be shown.
    """

    output: Callable[[bytes], None] = lambda _: None
    started: Callable[[int], None] = lambda _: None
    hold: Sequence[int] = ()
    ended: Callable[[], None] = lambda: None
    paused: Callable[[], AbstractContextManager[None]] = nullcontext
    words: Callable[[Sequence[str]], Sequence[str]] = tuple


class RunningProgram(Protocol):
    """A program that runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit code. Raises TimeoutError."""


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    io: ProgramIO,
    heartbeat: Callable[[], None],
    started: Callable[[int], None] | None = None,
) -> ProgramExit:
    """Start a program and wait; ``heartbeat`` is called every now and then. However this ends, nothing of it is left.

    ``started`` is told the program's own PID. Raises ChildError where it cannot be started.
    """
    try:
        with _child(argv, env, cwd, io) as child:
            if started is not None:
                started(child.pid)
            code = wait_for(child, heartbeat)
    except NotStarted as error:
        return ProgramExit(error.code, error.fate, "")
    finally:
        io.ended()
    return ProgramExit(code, child.fate(), child.last_lines)


def _child(argv: Sequence[str], env: Mapping[str, str], cwd: str, io: ProgramIO) -> Child:
    return Child(
        argv,
        env=env,
        cwd=cwd,
        output=io.output,
        started=io.started,
        stdin=False,
        stdout="output",
        hold=io.hold,
        name=name_of(io.words(argv)),
    )


def wait_for(program: RunningProgram, heartbeat: Callable[[], None]) -> int:
    """Wait for a program's end, here or on a board, with a heartbeat every now and then; gives its exit code."""
    while True:
        try:
            return program.wait(LOOK_SECONDS)
        except TimeoutError:
            heartbeat()


def check_program(settings: Settings, root: str) -> None:
    """Raise PairError where the program is not there: nothing else must be done in vain before that is known."""
    own = program_of(settings)
    if own.shell or names_in(word := words_of(own.command or "")[0]):
        return
    name = fill(word, {})
    path = Path(root, name)
    if "/" not in name:
        reason = None if shutil.which(name) else "it is in no directory of PATH"
    elif not os.path.exists(path):  # noqa: PTH110 - of what no file can be called, too
        reason = os.strerror(errno.ENOENT)
    else:
        reason = None if os.access(path, os.X_OK) and path.is_file() else os.strerror(errno.EACCES)
    if reason:
        raise PairError(f"{name}: the program cannot be used: {reason}")


def name_of(argv: Sequence[str]) -> str:
    """Name the program for messages, by words that may be shown: in one that is cut nobody would know a secret."""
    text = shlex.join(argv)
    return f"the program `{text if len(text) <= SHOWN_OF_A_COMMAND else text[:SHOWN_OF_A_COMMAND] + '…'}`"
