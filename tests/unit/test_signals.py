"""SIGTERM is as good as Ctrl-C, on the process and on those that work for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from pytest_evalrun.signals import Sigterm

WORKER = """
import sys, time
from pytest_evalrun.signals import Sigterm

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


def test_it_interrupts(taken):
    """The main thread meets KeyboardInterrupt, which pytest ends cleanly on."""
    taken()
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)


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
    assert worker.communicate(timeout=30)[0] == "interrupted by SIGTERM\n"


def test_other_threads_take_nothing():
    """Only the main thread may set handlers; elsewhere nothing happens."""
    before = signal.getsignal(signal.SIGTERM)
    sigterm = Sigterm()
    thread = threading.Thread(target=sigterm.take)
    thread.start()
    thread.join()
    sigterm.give_back()
    assert signal.getsignal(signal.SIGTERM) == before
