"""Logs: while one is open everything that the process writes is in it, and afterwards nothing was."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_evalrun.evaluation.logs import ItemLog, PairLog, Redirect
from pytest_evalrun.rundir.logfiles import SHORTEST
from pytest_evalrun.suite.secrets import Secrets


@pytest.fixture
def redirect(monkeypatch):
    """Makes redirections, and closes them.

    Python's streams are those of a worker, where pytest's own capturing is switched off while an item's log is open.
    """
    made, streams = [], []

    def make(**options):
        for fd, name in ((1, "stdout"), (2, "stderr")):
            streams.append(open(fd, "w", closefd=False))  # noqa: SIM115 - closed below
            monkeypatch.setattr(sys, name, streams[-1])
        made.append(Redirect(**options))
        return made[-1]

    yield make
    for thing in (*streams, *made):
        thing.close()


def until(holds):
    """Wait until something holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "任务 $(x) 'a'" / "clean.log"


def identity():
    """Which files the descriptors 1 and 2 are."""
    return [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (1, 2)]


def test_everything_that_is_written_is_in_the_log(path, redirect):
    """Python's streams, bare descriptors, child processes and logging; in the order in which it was written."""
    log = ItemLog(redirect())
    log.open(path)
    print("printed")
    os.write(2, b"from C\n")
    subprocess.run(["sh", "-c", "echo from a child; echo and its errors >&2"], check=True)
    logging.getLogger("user's").info("told")
    log.line("said")
    log.close()
    lines = path.read_text().splitlines()
    assert lines[:5] == ["printed", "from C", "from a child", "and its errors", "INFO user's: told"]
    assert lines[5].endswith("] said")
    assert len(lines) == 6


def test_descriptors_are_given_back(path, redirect):
    """They are the very files that they were, after one log or after several, whoever wrote meanwhile."""
    before, handlers, level = identity(), logging.getLogger().handlers[:], logging.getLogger().level
    log = ItemLog(redirect())
    for name in ("a.log", "b.log"):
        log.open(path.with_name(name))
        assert identity() != before
        print(name)
    log.close()
    log.close()
    assert identity() == before
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
    print("not in the log")
    os.write(1, b"nor this\n")
    assert [path.with_name(name).read_text() for name in ("a.log", "b.log")] == ["a.log\n", "b.log\n"]


def test_no_descriptor_is_left_over(path, redirect):
    """However many pairs a worker evaluates."""
    log = ItemLog(redirect(echo=1, secrets=Secrets(("hunter22222222",))))
    log.open(path)
    log.close()
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(5):
        log.open(path)
        print("x")
        log.close()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_log_can_be_watched(path, redirect):
    """Lines are there at once, before anything is closed: for `tail -f`."""
    log = ItemLog(redirect())
    log.open(path)
    print("first")
    sys.stderr.write("second\n")
    log.line("third")
    lines = path.read_text().splitlines()
    log.close()
    assert lines[:2] == ["first", "second"]
    assert lines[2].endswith("third")


@pytest.mark.parametrize("echo", [1, 2], ids=["stdout", "stderr"])
def test_with_echo_the_terminal_sees_all(path, redirect, capfd, echo):
    """Under -s a copy of everything goes to one descriptor, and a last line without an end too."""
    log = ItemLog(redirect(echo=echo))
    log.open(path)
    print("printed")
    os.write(2, b"no newline")
    log.close()
    assert path.read_text() == "printed\nno newline"
    captured = capfd.readouterr()
    assert [captured.out, captured.err][echo - 1] == "printed\nno newline"
    assert [captured.out, captured.err][2 - echo] == ""


@pytest.mark.parametrize("echo", [None, 1], ids=["log", "log and terminal"])
def test_secrets_reach_neither_log_nor_terminal(path, redirect, capfd, echo):
    """Whoever writes them: print, C code, a child, logging."""
    log = ItemLog(redirect(echo=echo, secrets=Secrets(("hunter22222222",))))
    log.open(path)
    print("token hunter22222222.")
    os.write(2, b"\xff hunter22222222\n")
    subprocess.run(["echo", "child hunter22222222"], check=True)
    logging.getLogger("api").warning("login hunter22222222")
    log.close()
    content = path.read_bytes()
    assert b"hunter" not in content
    assert content.count(b"***") == 4
    assert b"\xff" in content, "bytes that are no text stay"
    assert "hunter" not in "".join(capfd.readouterr())


def test_a_childs_leftover_is_not_waited_for(path, redirect):
    """A process that outlives the item holds the pipe open; the item ends nevertheless."""
    log = ItemLog(redirect(echo=1))
    log.open(path)
    child = subprocess.Popen(["sleep", "60"])
    print("before")
    log.close()
    child.kill()
    child.wait()
    assert path.read_text() == "before\n"


def test_under_a_debugger_nothing_is_redirected(path):
    """The log is only a file then."""
    before = identity()
    log = ItemLog(None)
    log.open(path)
    assert identity() == before
    log.line("said")
    log.close()
    assert path.read_text().endswith("said\n")


def test_without_a_log_nothing_is_said(capfd):
    """Between items there is none."""
    log = ItemLog(None)
    log.line("lost")
    log.close()
    assert capfd.readouterr() == ("", "")


def test_warnings_only_loggers_stay_as_quiet_as_they_were(path, redirect):
    """A level that the user lowered is left alone."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        log = ItemLog(redirect())
        log.open(path)
        logging.getLogger("user's").debug("details")
        log.close()
        assert root.level == logging.DEBUG
    finally:
        root.setLevel(level)
    assert path.read_text() == "DEBUG user's: details\n"


def test_a_log_grows(path):
    """A second session appends; a text that no encoding knows is written with escapes."""
    for text in ("one", "t\udcffwo"):
        log = PairLog(path)
        log.line(text)
        log.close()
    lines = path.read_text().splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["one", "t\\udcffwo"]


def test_streams_that_are_closed_hurt_nobody(path, redirect, monkeypatch):
    """What the code under test did to them is not ours to mend."""
    import io

    broken = io.StringIO()
    broken.close()
    log = ItemLog(redirect())
    monkeypatch.setattr(sys, "stdout", broken)
    log.open(path)
    os.write(1, b"still here\n")
    log.close()
    assert path.read_text() == "still here\n"


def test_with_echo_the_terminal_is_not_driven(path, redirect, capfd):
    """The log has what was written; the terminal shows it."""
    log = ItemLog(redirect(echo=1))
    log.open(path)
    os.write(1, b"\x1b[31mred\x07 10%\r20%\n")
    log.close()
    log.tell("pair \u202egnp")
    assert path.read_bytes() == b"\x1b[31mred\x07 10%\r20%\n"
    captured = capfd.readouterr()
    assert captured.out == "\\x1b[31mred\\x07 10%\n20%\n"
    assert captured.err == "pair \\u202egnp\n"


def test_under_a_debugger_other_processes_tell_no_secret(path):
    """What a model in a process of its own says comes in chunks, and goes into the file without a way around."""
    log = ItemLog(None, Secrets(("hunter22222222",)))
    log.open(path)
    for chunk in (b"a hunter2222", b"2222\nb hunter", b"22222222"):
        log.write(chunk)
    log.close()
    assert path.read_bytes() == b"a ***\nb ***"


@pytest.mark.parametrize(
    "options",
    [{}, {"secrets": Secrets(("hunter22222222",))}, {"echo": 1}],
    ids=["to the file", "with secrets", "with a copy"],
)
def test_a_progress_bar_is_seen_to_move(path, redirect, options):
    """Nothing waits for the end of a line, whatever stands between a process and its log."""
    log = ItemLog(redirect(**options))
    log.open(path)
    for percent in (b"\r 10%|#", b"\r 20%|##"):
        os.write(2, percent)
        until(lambda percent=percent: path.read_bytes().endswith(percent))
    log.close()


@pytest.mark.parametrize("secrets", [(), ("hunter22222222",)], ids=["to the file", "with secrets"])
def test_a_log_without_an_end_is_limited(path, redirect, secrets):
    """Whoever writes it: while the item runs it never is much longer, and its last words are there."""
    log = ItemLog(redirect(secrets=Secrets(secrets)))
    log.open(path, SHORTEST)
    child = subprocess.Popen(["sh", "-c", "while printf %09999d 0; do :; done"])
    try:
        until(lambda: b"left out" in path.read_bytes())
    finally:
        child.kill()
        child.wait()
    print("last words")
    log.close()
    content = path.read_bytes()
    assert len(content) <= SHORTEST
    assert content.count(b"left out") == 1
    assert content.endswith(b"last words\n")


def test_a_long_line_takes_no_longer_than_its_length(path, redirect):
    """Ten million bytes without a newline in small pieces, beside a secret: the time of a test, not minutes."""
    log = ItemLog(redirect(secrets=Secrets(("hunter22222222",))))
    log.open(path)
    for _ in range(40_000):
        os.write(1, b"x" * 250)
    log.close()
    assert path.stat().st_size == 10_000_000
