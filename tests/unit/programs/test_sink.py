"""Where a program's output goes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.programs.sink import LONGEST_LINE, OutputSink
from pytest_evalrun.suite.secrets import Secrets

CHUNKS = st.lists(st.text("ab\n", max_size=9).map(str.encode))


def told(chunks, *, secrets=(), shown=True):
    log, terminal = [], []
    sink = OutputSink(log.append, terminal.append if shown else None, "d/m 0-5", Secrets(secrets))
    for chunk in chunks:
        sink(chunk)
    sink.finish()
    return b"".join(log), terminal


@given(CHUNKS)
def test_everything_arrives(chunks):
    """The log gets every byte as it is; the terminal every line once, whole, under the prefix."""
    log, terminal = told(chunks)
    assert log == b"".join(chunks)
    assert "\n".join(terminal).splitlines() == [f"[d/m 0-5] {line}" for line in log.decode().splitlines()]


@given(CHUNKS)
def test_secrets_are_blanked_everywhere(chunks):
    """A secret that came in two chunks reaches neither log nor terminal."""
    log, terminal = told([b"x", *chunks, b"hush", b"-hush-hush\n"], secrets=("hush-hush-hush",))
    assert b"hush" not in log
    assert log.endswith(b"***\n")
    assert "hush" not in "".join(terminal)


def test_nobody_looks():
    """Without a terminal nothing is kept back."""
    log = []
    OutputSink(log.append, None, "p")(b"half a line")
    assert log == [b"half a line"]


def test_a_line_that_never_ends_costs_no_memory():
    """What is longer than a line should be is shown in parts."""
    log, terminal = told([b"x" * LONGEST_LINE, b"y" * LONGEST_LINE, b"z\n"])
    assert len(log) == 2 * LONGEST_LINE + 2
    assert len(re.sub(r"\[d/m 0-5\] ", "", "".join(terminal))) == 2 * LONGEST_LINE + 1


def test_bytes_that_are_no_text():
    """What is not UTF-8 is kept in the log, and shown as well as it can be."""
    log, terminal = told([b"caf\xe9\n"])
    assert log == b"caf\xe9\n"
    assert terminal == ["[d/m 0-5] caf\ufffd"]


def test_the_terminal_is_not_driven():
    """The log has it as it was written; a carriage return ends a line, and the prefix stands before each."""
    log, terminal = told([b"\x1b[2J 10%\r", b"20%\r", b"\n\xe2\x80\xaegnp\n"])
    assert log == b"\x1b[2J 10%\r20%\r\n\xe2\x80\xaegnp\n"
    lines = "\n".join(terminal).splitlines()
    assert lines == [f"[d/m 0-5] {line}" for line in ("\\x1b[2J 10%", "20%", "\\u202egnp")]


def test_a_progress_bar_is_told_as_it_moves():
    """Of a line that has not ended the log has all at once, beside secrets too; the terminal each state of a bar."""
    log, terminal = [], []
    sink = OutputSink(log.append, terminal.append, "p", Secrets(("hush-hush-hush",)))
    sink(b" 10%\r")
    sink(b" 20")
    assert (b"".join(log), terminal) == (b" 10%\r 20", ["[p]  10%"])


def test_commands_are_shown_where_output_is_not():
    """The first of many; with the output, all of them."""
    commands, terminal = [], []
    quiet = OutputSink(lambda _: None, None, "p", commands=commands.append)
    loud = OutputSink(lambda _: None, terminal.append, "p", commands=terminal.append)
    for sink in (quiet, loud):
        sink.tell("$ one")
        sink(b"output\n")
        sink.tell("$ two")
    assert commands == ["[p] $ one"]
    assert terminal == ["[p] $ one", "[p] output", "[p] $ two"]


def test_a_log_that_fails_leaves_the_terminal():
    """What one of them does not take, the other still gets."""
    terminal = []

    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        OutputSink(full, terminal.append, "p")(b"a line\n")
    assert terminal == ["[p] a line"]
