"""One program from its start to its end."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from pytest_evalrun.children.faults import ChildError
from pytest_evalrun.predicting.rangerun import ProgramFailed
from pytest_evalrun.programs.running import SHOWN_OF_A_COMMAND, ProgramExit, ProgramIO, name_of, run
from pytest_evalrun.suite.secrets import Secrets


def started(code, *, look=lambda: None, around=None):
    around = around or ProgramIO(lambda _: None, lambda _: None)
    return run([sys.executable, "-c", code], dict(os.environ), ".", around, look)


def test_end_and_output():
    """Exit code and the last lines are kept; output and PIDs are told while it runs."""
    chunks, pids, own = [], [], []
    around = ProgramIO(chunks.append, pids.append)
    ending = run([sys.executable, "-c", "print('hello')"], dict(os.environ), ".", around, lambda: None, own.append)
    assert (ending.returncode, ending.last_lines, b"".join(chunks)) == (0, "hello", b"hello\n")
    assert own[0] in pids


FATES = {
    "exit code": ("import sys; sys.exit(3)", 3, "p ended with exit code 3; it wrote no output"),
    "signal": ("import os; os.kill(os.getpid(), 15)", -15, "p was ended by SIGTERM; it wrote no output"),
    "kill": ("import os; os.kill(os.getpid(), 9)", -9, "OOM killer"),
    "kill in a shell": (
        "import sys; sys.exit(137)",
        137,
        "a shell says so where SIGKILL ended its program, and nobody",
    ),
    "segfault in a shell": ("import sys; sys.exit(139)", 139, "(a shell says so where SIGSEGV ended its program)"),
    "no signal": ("import sys; sys.exit(255)", 255, "p ended with exit code 255; it wrote no output"),
}


@pytest.mark.parametrize("fate", FATES)
def test_fates_are_told_apart(fate):
    """An exit code, a signal, and a shell's way to tell of one are different ends."""
    code, returncode, told = FATES[fate]
    ending = started(code)
    assert ending.returncode == returncode
    assert told in ending.in_words("p")


@pytest.mark.parametrize(
    ("fate", "lines", "text"),
    [
        ("ended with exit code 3", "first\nno such board\n", "exit code 3: no such board"),
        ("ended with exit code 3", "", "exit code 3"),
        ("was ended by SIGSEGV", "loading", "was ended by SIGSEGV: loading"),
    ],
    ids=["why", "silent", "signal"],
)
def test_an_end_in_brief_begins_with_the_exit_code_and_says_what_was_written_last(fate, lines, text):
    """The program's name and the rest of its output are in the message itself."""
    assert ProgramExit(3, fate, lines).brief == text
    assert ProgramFailed(ProgramExit(3, fate, lines), "p").brief == text


def test_known_want_of_memory_is_not_guessed():
    """Where the kernel said that it was short of memory, nothing is added."""
    ending = ProgramExit(-signal.SIGKILL, "was ended by SIGKILL (… was out of memory)", "")
    assert ending.in_words("p").count("memory") == 1


def test_what_looks_may_end_it():
    """Whatever is raised while the program runs ends the program."""
    pids = []

    def look():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        started("import time; time.sleep(600)", look=look, around=ProgramIO(lambda _: None, pids.append))
    with pytest.raises(ProcessLookupError):
        os.kill(pids[-1], 0)


def test_not_found():
    """A program that is not there is named."""
    with pytest.raises(ChildError, match="no-such-program: the program cannot be used"):
        run(["no-such-program"], dict(os.environ), ".", ProgramIO(lambda _: None, lambda _: None), lambda: None)


def test_long_commands_are_cut():
    """A message shows the start of a long command."""
    assert len(name_of(["x" * 10_000])) < 400


def test_a_secret_in_a_command_is_not_cut_in_two():
    """A name that is cut is made of words without secrets: of a half nobody would know that it is one."""
    words = Secrets(("hunter22222222", "root")).words
    around = ProgramIO(lambda _: None, lambda _: None, words=words)
    for length in range(SHOWN_OF_A_COMMAND - 40, SHOWN_OF_A_COMMAND):
        with pytest.raises(ChildError) as caught:
            run(["no-such", "x" * length, "hunter22222222", "-p", "root"], dict(os.environ), ".", around, lambda: None)
        assert "hunt" not in str(caught.value)
        assert "-p r" not in str(caught.value)
