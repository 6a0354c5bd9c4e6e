"""Uploading, running and fetching at the same time: in order, one ahead, and with the first error told."""

from __future__ import annotations

import _thread
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import TimedOut
from pytest_evalrun.remote.overlap import overlapped


@given(st.lists(st.integers()))
def test_results_come_in_order(batches):
    """Whatever the batches, each goes through all three, in order."""
    assert list(overlapped(batches, lambda n: n + 1, lambda n: n * 2, str)) == [str((n + 1) * 2) for n in batches]


def test_three_things_happen_at_once():
    """While one batch runs, the next goes up and the last comes down: each waits here for the other two."""
    together = threading.Barrier(3, timeout=20)

    def meet(number: int, only: int) -> int:
        if number == only:
            together.wait()
        return number

    done = overlapped(range(5), lambda n: meet(n, 2), lambda n: meet(n, 1), lambda n: meet(n, 0))
    assert list(done) == [0, 1, 2, 3, 4]


def test_only_one_batch_is_ahead():
    """A board never holds more than what runs and the next."""
    up, ran = [], []

    def run(number: int) -> int:
        ran.append(number)
        assert len(up) <= len(ran) + 1
        return number

    assert len(list(overlapped(range(20), lambda n: up.append(n) or n, run, lambda n: n))) == 20


@pytest.mark.parametrize("where", ["upload", "run", "fetch"])
def test_first_error_ends_all_and_what_was_back_is_kept(where):
    """An error in any of the three is raised once; the results before it are given first."""

    def fail(stage: str):
        def work(number: int) -> int:
            if stage == where and number == 2:
                raise OSError(stage)
            return number

        return work

    results = overlapped(range(5), fail("upload"), fail("run"), fail("fetch"))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match=where):
        next(results)


def test_caller_that_stops_leaves_nothing_running():
    """When nobody wants more, what is under way is waited for."""
    busy = []
    results = overlapped(range(9), lambda n: busy.append(n) or n, lambda n: n, lambda n: n)
    assert next(results) == 0
    results.close()
    before = list(busy)
    assert busy == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("evalrun-upload")]


def test_run_is_in_the_callers_thread():
    """A limit of time and Ctrl-C reach the program that runs."""
    threads = []
    list(overlapped([1], lambda n: n, lambda n: threads.append(threading.current_thread()) or n, lambda n: n))
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, TimedOut])
def test_what_is_under_way_hears_of_an_interruption_before_it_is_waited_for(stop):
    """Nothing is given after it: what was on its way back is asked for again by the next session."""
    free = threading.Event()

    def run(_: int) -> int:
        raise stop

    with pytest.raises(stop):
        list(overlapped(range(5), blocked_after(0, free), run, lambda n: n, free.set))
    assert free.is_set()


def test_ctrl_c_is_heard_while_an_upload_is_waited_for():
    """A model of gigabytes is no reason to wait."""
    free = threading.Event()

    def fetch(number: int) -> int:
        _thread.interrupt_main()  # the main thread waits for the next batch by now, or will at once
        return number

    with pytest.raises(KeyboardInterrupt):
        list(overlapped(range(5), blocked_after(0, free), lambda n: n, fetch, free.set))
    assert free.is_set()


def blocked_after(last, free):
    """Uploads that do not end before they are told to."""

    def upload(number: int) -> int:
        assert number <= last or free.wait(60), "nobody was told"
        return number

    return upload
