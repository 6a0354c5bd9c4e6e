"""The limit of an item counts where it should, ends what Python can interrupt, and leaves nothing armed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pytest_evalrun.errors import TimedOut
from pytest_evalrun.evaluation import deadline as module
from pytest_evalrun.evaluation.deadline import MOST_SHOWN, STACKS, Deadline


@pytest.fixture
def stacks(tmp_path):
    with (tmp_path / "log").open("w+b") as file:
        yield file


def limit(seconds, stacks):
    def give_up(reason):
        raise AssertionError("given up")

    return Deadline(seconds, stacks.fileno, give_up)


def said(stacks):
    stacks.seek(0)
    return stacks.read()


def assert_disarmed():
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_what_takes_too_long_is_interrupted(stacks):
    """With the reason, and the stacks of all threads."""
    deadline = limit(0.05, stacks)
    words = r"^timed out after 0.05 s \(--eval-timeout, or timeout: in the suite\)$"
    with pytest.raises(TimedOut, match=words), deadline.phase():
        time.sleep(20)
    assert deadline.passed
    assert b"timed out after 0.05 s" in said(stacks)
    assert STACKS in said(stacks)
    assert b"test_what_takes_too_long_is_interrupted" in said(stacks)
    settle()


def test_among_very_many_threads_the_main_one_is_shown(stacks):
    """It is where the item hangs, and the oldest of all: those who show a hundred leave it out."""
    over = threading.Event()
    others = [threading.Thread(target=over.wait, daemon=True) for _ in range(MOST_SHOWN + 20)]
    for other in others:
        other.start()
    try:
        with pytest.raises(TimedOut), limit(0.05, stacks).phase():
            time.sleep(20)
    finally:
        over.set()
        for other in others:
            other.join()
    assert b"test_among_very_many_threads_the_main_one_is_shown" in said(stacks)
    settle()


def settle():
    """A cancelled timer's thread ends a moment later."""
    end = time.monotonic() + 20
    while [t for t in threading.enumerate() if isinstance(t, threading.Timer)] and time.monotonic() < end:
        time.sleep(0.001)
    assert_disarmed()


def test_what_ends_in_time_is_left_alone(stacks):
    """Nothing is said, and nothing stays armed."""
    deadline = limit(20, stacks)
    with deadline.phase():
        pass
    assert not deadline.passed
    assert said(stacks) == b""
    settle()


def test_pauses_do_not_count(stacks):
    """Waiting for others, and what lies between two phases."""
    deadline = limit(1, stacks)
    with deadline.phase(), deadline.paused():
        time.sleep(1.1)
    time.sleep(1.1)
    with deadline.phase():
        pass
    with deadline.paused():
        assert_no_alarm()
    assert not deadline.passed


def assert_no_alarm():
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_phases_add_up(stacks):
    """The second has what the first left."""
    deadline = limit(60, stacks)
    with deadline.phase():
        time.sleep(0.2)
    with deadline.phase():
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 59.8


def test_who_swallows_it_is_an_error_all_the_same(stacks):
    """Once; the phases that follow have no limit, for they only tidy up."""
    deadline = limit(0.05, stacks)
    with pytest.raises(TimedOut), deadline.phase():
        try:
            time.sleep(20)
        except BaseException:  # noqa: BLE001 - the rule
            pass
    with deadline.phase():
        time.sleep(0.1)
    settle()


# In a process that coverage does not look into: a signal that comes while its tracer holds a lock stops it for good.
AT_THE_VERY_END = """
import signal, sys, time
from pytest_evalrun.errors import TimedOut
from pytest_evalrun.evaluation.deadline import Deadline

def give_up(reason):
    raise AssertionError(reason)

interrupted = 0
with open(sys.argv[1], "wb") as log:
    for moment in range(1200):
        deadline = Deadline(0.001, log.fileno, give_up)
        try:
            with deadline.phase():
                end = time.perf_counter() + 0.0007 + moment % 60 * 0.00001
                while time.perf_counter() < end:
                    pass
        except TimedOut:
            interrupted += 1
        deadline.close()  # as the worker does: the signal may come between two steps of contextlib itself
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
print(interrupted)
"""


def test_a_limit_at_the_very_end_leaves_nothing_armed(tmp_path):
    """Whenever the signal comes, before, while or after the phase ends."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", AT_THE_VERY_END, str(tmp_path / "log")]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert 0 < int(ran.stdout) < 1200


def test_a_phase_that_was_left_half_way_is_closed(stacks):
    """A signal between the end of the block and what ends the phase leaves watch and alarms to the one who closes."""
    deadline = limit(20, stacks)
    left = deadline.phase()
    left.__enter__()
    deadline.close()
    settle()
    deadline.close()
    assert not deadline.passed


def test_a_log_that_cannot_be_written_lifts_no_limit(tmp_path):
    """As on a full disk."""
    (tmp_path / "log").touch()
    with (tmp_path / "log").open("rb") as unwritable, pytest.raises(TimedOut), limit(0.05, unwritable).phase():
        time.sleep(20)


UNHEARD = """
import ctypes, os, sys
from pytest_evalrun.evaluation import deadline
deadline.GRACE_SECONDS = 1.5

def give_up(reason):
    print("gave up:", reason, flush=True)
    os._exit(70)

library = getattr(ctypes, sys.argv[1])(None)
mutex = ctypes.create_string_buffer(64)
with deadline.Deadline(0.1, lambda: 2, give_up).phase():
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize(("library", "code", "words"), [("CDLL", 70, "it reacted to no signal"), ("PyDLL", 1, "")])
def test_who_reacts_to_nothing_is_given_up(library, code, words):
    """By the watch thread; where even that cannot run, by faulthandler."""
    argv = [sys.executable, "-c", UNHEARD, library]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == code
    assert words in done.stdout
    assert "most recent call first" in done.stderr


def test_the_grace_is_longer_than_any_tidying():
    """Half a second for the stacks of a child, two for strays that ignore a request."""
    assert module.GRACE_SECONDS >= 5
