"""SIGTERM is as good as Ctrl-C, on the process and on those that work for it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_evalrun.plugin import signals
from pytest_evalrun.plugin.signals import EndInOrder, Sigterm, outlast_terminal

WORKER = """
import sys, time
from pytest_evalrun.plugin.signals import Sigterm

sigterm = Sigterm()
sigterm.take()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt as error:
    print("interrupted by", error, flush=True)
"""


@pytest.fixture
def taken():
    """Makes handlers, and gives back what they took."""
    made = []

    def make(*args):
        made.append(Sigterm(*args))
        made[-1].take()
        return made[-1]

    yield make
    for sigterm in reversed(made):
        sigterm.give_back()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_it_interrupts(taken, name):
    """The main thread meets KeyboardInterrupt, which pytest ends cleanly on."""
    taken()
    with pytest.raises(KeyboardInterrupt, match=name):
        os.kill(os.getpid(), signal.Signals[name])


@pytest.fixture
def ending(monkeypatch):
    """One whose session finishes while the test runs; what it would do at once is in its list."""
    ended = []
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    made = EndInOrder(tuple, lambda _: None, lambda: ended.append("aborted"))
    made.take()
    yield made, ended
    made.give_back()


class Finished:
    exitstatus = pytest.ExitCode.OK


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_nothing_breaks_in_on_the_end(ending, name):
    """A signal is noted, cuts short what may be cut, and makes the session an interrupted one."""
    made, ended = ending
    session = Finished()
    finish = made.pytest_sessionfinish(session)
    next(finish)
    os.kill(os.getpid(), signal.Signals[name])
    with pytest.raises(StopIteration):
        finish.send(None)
    assert session.exitstatus == pytest.ExitCode.INTERRUPTED
    assert made.by == signals.NAMES[signal.Signals[name]]
    assert ended == []


class Interrupted(KeyboardInterrupt):
    """As pytest and xdist have it for --maxfail."""


@pytest.mark.parametrize(("error", "by"), [(KeyboardInterrupt, "Ctrl-C"), (Interrupted, None)])
def test_an_interrupt_without_a_signal_is_ctrl_c(ending, error, by):
    """Not what pytest itself ends a session with."""
    made, _ = ending
    made.pytest_keyboard_interrupt(pytest.ExceptionInfo.from_exc_info((error, error(), None)))
    assert made.by == by


def test_what_can_be_made_again_is_cut_short(ending):
    """The summary, for one; not what stands around it."""
    made, _ = ending
    next(made.pytest_sessionfinish(Finished()))
    with pytest.raises(KeyboardInterrupt), made.cuttable():
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("same", [True, False], ids=["in the same moment", "later"])
def test_a_second_signal_ends_at_once(ending, monkeypatch, same):
    """What must be written is written first; timeout(1) sends the same signal twice and means one."""
    _, ended = ending
    monkeypatch.setattr(signals, "SAME_WISH_SECONDS", 3600 if same else 0)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert ended == ([] if same else ["aborted", pytest.ExitCode.INTERRUPTED])


def test_what_is_whole_is_not_taken_apart(ending):
    """Ctrl-C comes to pass once, when the outermost of the blocks that hold it back has ended."""
    made, _ = ending
    passed = []
    with pytest.raises(KeyboardInterrupt, match="SIGINT"), made.held_back(signal.SIGINT):
        with made.held_back(signal.SIGINT):
            os.kill(os.getpid(), signal.SIGINT)
            passed.append("inner")
        passed.append("outer")
    with made.held_back(signal.SIGINT):
        passed.append("another")
    assert passed == ["inner", "outer", "another"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_terminal_is_closed_once(taken):
    """The kernel and the shell both tell: the second must not cut short the end that the first began."""
    taken()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)


def test_what_is_ignored_stays_ignored(taken, monkeypatch):
    """nohup means it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        taken()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_waits_for_what_is_half_open(taken):
    """The interrupt comes when the block has ended, and only then."""
    sigterm, done = taken(), []
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), sigterm.held_back():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("opened")
    assert done == ["opened"]
    with taken().held_back():
        pass


def test_a_terminal_that_is_gone_fails_nobody(pytestconfig):
    """What pytest writes to it goes nowhere; any other trouble is told."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as file:
        reporter = pytest.TerminalReporter(pytestconfig, file)
        outlast_terminal(reporter)
        reporter.write("seen\n", flush=True)
        assert os.read(ours, 100) == b"seen\r\n"
        os.close(ours)
        for _ in range(2):
            reporter.write("unseen\n")
            reporter.flush()
    with Path("/dev/full").open("w") as full:
        reporter = pytest.TerminalReporter(pytestconfig, full)
        outlast_terminal(reporter)
        with pytest.raises(OSError, match="No space"):
            reporter.write("x" * 100_000)


def test_it_is_given_back(taken):
    """The handler of before is there again, once, whoever gives back how often."""
    before = signal.getsignal(signal.SIGTERM)
    sigterm = taken()
    assert signal.getsignal(signal.SIGTERM) != before
    sigterm.give_back()
    sigterm.give_back()
    assert signal.getsignal(signal.SIGTERM) == before


def test_workers_are_told(taken):
    """Ctrl-C reaches the whole group, SIGTERM only this process: it is passed on; who is gone is no trouble."""
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout.readline() == "ready\n"
    gone = subprocess.Popen(["true"])
    gone.wait()
    taken(lambda: [gone.pid, worker.pid])
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert worker.communicate(timeout=300)[0] == "interrupted by SIGTERM\n"


def test_other_threads_take_nothing():
    """Only the main thread may set handlers; elsewhere nothing happens."""
    before = signal.getsignal(signal.SIGTERM)
    sigterm = Sigterm()
    thread = threading.Thread(target=sigterm.take)
    thread.start()
    thread.join()
    sigterm.give_back()
    assert signal.getsignal(signal.SIGTERM) == before
