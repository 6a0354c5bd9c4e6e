"""What a forked child has of our process: signals as they were before, and an end where the user's code ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pytest_evalrun.suite.forks import Handlers, UsersCode

# A process that is told to end while it forks.
TOLD = """
import os, signal, sys, time
armed = True
os.register_at_fork(before=lambda: armed and os.kill(os.getpid(), signal.SIGTERM))  # runs after those of before
from pytest_evalrun.suite.forks import Handlers

def interrupt(*_):
    raise KeyboardInterrupt

Handlers().take(signal.SIGTERM, interrupt)
try:
    child = os.fork()
    if not child:
        os._exit(0)
    armed = False
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def handlers():
    made = Handlers()
    yield made
    made.give_back()


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stay():
    signal.pause()
    os._exit(1)


def test_a_child_has_the_handlers_of_before(handlers):
    """From its first moment: it may be told to end as soon as it is there; ours goes on to handle its own."""
    heard = []
    handlers.take(signal.SIGTERM, lambda number, _: heard.append(number))
    for _ in range(20):
        child = os.fork() or stay()
        os.kill(child, signal.SIGTERM)
        assert ended(child) == -signal.SIGTERM
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_a_child_of_another_thread_too(handlers):
    """That thread is the child's main one."""
    handlers.take(signal.SIGTERM, lambda *_: None)
    found = []

    def fork():
        child = os.fork() or stay()
        os.kill(child, signal.SIGTERM)
        found.append(ended(child))

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    assert found == [-signal.SIGTERM]


def test_what_was_held_back_before_stays_so(handlers):
    """In parent and child alike."""
    handlers.take(signal.SIGTERM, lambda *_: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        wanted = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        child = os.fork()
        if not child:
            os._exit(signal.pthread_sigmask(signal.SIG_BLOCK, ()) != wanted)
        assert ended(child) == 0
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == wanted
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_who_is_told_to_end_while_he_forks_hears_of_it():
    """What a handler raises in the middle of a fork, Python would throw away."""
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "interrupted\n", done.stderr
    assert not done.stderr


def test_they_are_given_back_once(handlers):
    """As they were, in any order of several; a second time does nothing."""
    before = signal.getsignal(signal.SIGALRM)
    handlers.take(signal.SIGALRM, lambda *_: None)
    inner = Handlers()
    inner.take(signal.SIGALRM, lambda *_: None)
    child = os.fork()
    if not child:
        os._exit(signal.getsignal(signal.SIGALRM) != before)
    assert ended(child) == 0
    inner.give_back()
    handlers.give_back()
    handlers.give_back()
    assert signal.getsignal(signal.SIGALRM) == before


def leave(code):
    raise SystemExit(code)


@pytest.mark.parametrize(
    ("work", "code", "told"),
    [
        pytest.param(lambda: None, 0, "", id="comes back"),
        pytest.param(lambda: 1 / 0, 1, "ZeroDivisionError", id="raises"),
        pytest.param(lambda: leave(None), 0, "", id="exits"),
        pytest.param(lambda: leave(7), 7, "", id="exits with a code"),
        pytest.param(lambda: leave("too bad"), 1, "too bad\n", id="exits with words"),
    ],
)
def test_a_child_ends_with_the_users_code(capfd, work, code, told):
    """What follows is its parent's to do, whatever the child leaves the code by; it ends as a program would."""
    try:
        with UsersCode():
            child = os.fork()
            if not child:
                work()
    finally:
        if not child:
            os._exit(99)
    assert ended(child) == code
    assert told in capfd.readouterr().err


def test_the_process_itself_goes_on():
    """Whatever its own code raises is its own."""
    with pytest.raises(SystemExit), UsersCode():
        leave(3)


def test_what_python_drops_is_raised_again():
    """A signal that comes in a destructor is heard, though it comes in another one then, and is no warning."""
    made = Handlers()

    class Heard(BaseException):
        pass

    class Busy:
        def __init__(self, number=None):
            self.number = number

        def __del__(self):
            if self.number is not None:
                os.kill(os.getpid(), self.number)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                pass

    def hear(number, frame):
        raise Heard("once")

    hook = sys.unraisablehook
    made.take(signal.SIGUSR1, hear)
    try:
        with pytest.raises(Heard, match="once"):
            Busy(signal.SIGUSR1)
            Busy()
            time.sleep(60)
        with pytest.raises(Heard, match="once"):  # and so is the next one
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(60)
    finally:
        made.give_back()
    assert sys.unraisablehook is hook
