"""Something done on all boards at once, which here are numbers."""

from __future__ import annotations

import threading

import pytest
from sshd import until

from pytest_evalrun.remote.boards.atonce import MOST, at_once


def test_all_are_done_at_the_same_time_in_their_order():
    """Each waits for all others; the answers come as the boards were given."""
    together = threading.Barrier(8, timeout=60)

    def meet(board):
        together.wait()
        return -board

    assert at_once(meet, range(8)) == [-board for board in range(8)]
    assert at_once(meet, []) == []


def test_of_very_many_a_part_is_done_at_a_time():
    """Unless they share a time-out, which whoever stands in a queue would miss."""
    lock, busy, most = threading.Lock(), 0, 0
    room = threading.Event()

    def work(board):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            if most >= limit:
                room.set()
        room.wait(60)
        with lock:
            busy -= 1
        return board

    limit = MOST
    boards = range(3 * MOST)
    assert at_once(work, boards) == [*boards]
    assert most == MOST
    limit, most = 3 * MOST, 0
    room.clear()
    assert at_once(work, boards, within=60) == [*boards]
    assert most == 3 * MOST


def test_late_gifts_are_dropped():
    """What takes too long is replaced, and what it then gives goes; of its error nobody hears."""
    over, dropped = threading.Event(), []

    def give(board):
        if board == "now":
            return board
        over.wait(60)
        if board == "broken":
            raise RuntimeError(board)
        return board

    boards = ["now", "late", "broken"]
    assert at_once(give, boards, within=0.5, late="nothing", drop=dropped.append) == ["now", "nothing", "nothing"]
    over.set()
    until(lambda: dropped == ["late"])


def test_what_is_raised_reaches_whoever_asked():
    """A mistake in one answer is no reason to wait for ever."""

    def fail(board):
        raise KeyError(board)

    with pytest.raises(KeyError, match="1"):
        at_once(fail, [1])
