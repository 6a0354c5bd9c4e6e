"""The thread that sends: in order, to all at once, and whatever goes wrong is a line at the end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from pytest_evalrun.notify.addresses import addresses_of
from pytest_evalrun.notify.making import Recipient
from pytest_evalrun.notify.protocol import NotSent
from pytest_evalrun.notify.sender import Sender


class Box:
    """Takes messages: keeps their titles, or does what it is told."""

    def __init__(self, does=lambda until: None):
        self.titles = []
        self._does = does

    def send(self, message, until):
        self.titles.append(message.title)
        self._does(until)


def recipient(box, url="box://one"):
    (address,) = addresses_of([url])
    return Recipient(address, box)


@pytest.fixture
def sender():
    """One that is patient, however busy this machine is."""
    return Sender(lambda: None, seconds=60, end_seconds=60)


def titled(message, *titles):
    return [replace(message, title=title) for title in titles]


def test_messages_arrive_in_order(sender, message):
    """The last is the last, and there is nothing to complain of."""
    box = Box()
    first, second, last = titled(message, "1", "2", "3")
    sender.put(first, [recipient(box)])
    while box.titles != ["1"]:
        time.sleep(0.001)
    sender.put(second, [recipient(box)])
    while box.titles != ["1", "2"]:
        time.sleep(0.001)
    sender.close(last, [recipient(box)])
    sender.wait()
    assert box.titles == ["1", "2", "3"]
    assert sender.troubles() == []


def fails(error):
    def send(until):
        raise error

    return send


TROUBLES = {
    "told": (NotSent("it is shut"), "it is shut"),
    "a library's": (RuntimeError("lark://t0k3n is shut"), "RuntimeError while it was sent"),
    "an end": (SystemExit("t0k3n"), "SystemExit while it was sent"),
}


@pytest.mark.parametrize(("error", "text"), TROUBLES.values(), ids=TROUBLES)
def test_what_goes_wrong_is_a_line(sender, message, error, text):
    """One for each address, with no word of a library's, and the others get theirs."""
    box = Box()
    sender.put(message, [])
    sender.close(message, [recipient(Box(fails(error)), "box://t0k3n"), recipient(box, "other://x")])
    sender.wait()
    assert box.titles == [message.title]
    assert sender.troubles() == [f"a message to box://*** did not get there: {text}"]


def test_failures_are_counted(sender, message):
    """Of how many messages, and why the last."""
    reasons = iter(["first", "", "last"])

    def send(until):
        if reason := next(reasons):
            raise NotSent(reason)

    box = Box(send)
    for number, one in enumerate(titled(message, "1", "2"), 1):
        sender.put(one, [recipient(box)])
        while len(box.titles) < number:
            time.sleep(0.001)
    sender.close(message, [recipient(box)])
    sender.wait()
    (line,) = sender.troubles()
    assert line.endswith("messages to box://*** did not get there: last")


def test_one_that_hangs_costs_the_others_nothing(message):
    """Each message goes to all addresses at once, and is given up after its time."""
    over = threading.Event()
    hung, box = Box(lambda until: over.wait()), Box()
    sender = Sender(lambda: None, seconds=0.2, end_seconds=60)
    sender.close(message, [recipient(hung, "hung://x"), recipient(box)])
    sender.wait()
    over.set()
    assert box.titles == [message.title]
    assert sender.troubles() == ["a message to hung://*** did not get there: no answer within 0.2 s"]


def test_the_end_waits_no_longer_than_it_may(message):
    """Whatever hangs: what was not sent by then is said."""
    over = threading.Event()
    hung = Box(lambda until: over.wait())
    sender = Sender(lambda: None, seconds=60, end_seconds=0.2)
    began = time.monotonic()
    sender.close(message, [recipient(hung)])
    sender.wait()
    assert time.monotonic() - began < 30
    assert sender.troubles() == ["a message to box://*** did not get there: no answer within 0.2 s"]
    over.set()


def test_old_news_are_dropped_at_the_end(message):
    """Where a server is slow, the last message is the one that counts."""
    over = threading.Event()
    box = Box(lambda until: over.wait())
    sender = Sender(lambda: None, seconds=60, end_seconds=60)
    first, second, third, last = titled(message, "1", "2", "3", "4")
    for one in (first, second, third):
        sender.put(one, [recipient(box)])
    while box.titles != ["1"]:
        time.sleep(0.001)
    sender.close(last, [recipient(box)])
    over.set()
    sender.wait()
    assert box.titles == ["1", "4"]


def test_it_ticks(message):
    """Whoever has put nothing in is still asked now and then."""
    ticked = threading.Event()
    sender = Sender(ticked.set)
    assert ticked.wait(60)
    sender.close(message, [])
    sender.wait()
