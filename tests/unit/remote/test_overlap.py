"""Uploading, running and fetching at the same time: in order, with the first error told, and to an end at any time."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.remote.overlap import Overlap


def opened():
    return closing(Overlap("upload", "run", "fetch"))


def nothing():
    return None


@given(st.lists(st.integers(), max_size=50))
def test_each_batch_goes_through_all_stages_in_order(batches):
    """Whatever the batches: a stage begins one after the other, and what the last one gives is the result."""
    begun = {"upload": [], "run": [], "fetch": []}

    def stage(name, number, result=None):
        return lambda: begun[name].append(number) or result

    with opened() as overlap:
        futures = [
            overlap.submit(stage("upload", n), stage("run", n), stage("fetch", n, f"result {n}")) for n in batches
        ]
        assert [future.result(60) for future in futures] == [f"result {n}" for n in batches]
    assert [*begun.values()] == [batches] * 3


def test_three_things_happen_at_once():
    """While one batch runs, the next goes up and the last comes down: each waits here for the other two."""
    together = threading.Barrier(3, timeout=60)

    def meet():
        together.wait()

    with opened() as overlap:
        last = overlap.submit(nothing, nothing, lambda: together.wait() + 1)
        running = overlap.submit(nothing, meet, lambda: 1)
        coming = overlap.submit(meet, nothing, lambda: 1)
        assert [future.result(60) > 0 for future in (last, running, coming)] == [True] * 3


@pytest.mark.parametrize("where", range(3), ids=["upload", "run", "fetch"])
@pytest.mark.parametrize("result", ["early", OSError("disk")], ids=["result", "error"])
def test_the_first_result_or_error_ends_a_batch_and_no_other(where, result):
    """No stage that comes later hears of that batch; those beside it go on."""
    begun = []

    def stage(number):
        def work():
            begun.append(number)
            if number == where and isinstance(result, Exception):
                raise result
            return result if number == where else None

        return work

    with opened() as overlap:
        before = overlap.submit(nothing, nothing, lambda: "before")
        ended = overlap.submit(*map(stage, range(3)))
        after = overlap.submit(nothing, nothing, lambda: "after")
        assert (before.result(60), after.result(60)) == ("before", "after")
        told = ended.exception(60) if isinstance(result, Exception) else ended.result(60)
    assert (told, begun) == (result, [*range(where + 1)])


def test_who_closes_waits_for_what_is_under_way_and_lets_it_go_no_further():
    """Whatever has not begun by then does not begin, and nobody waits for its result for ever."""
    free, uploading, begun = threading.Event(), threading.Event(), []

    def upload():
        uploading.set()
        assert free.wait(60), "nobody was told"

    overlap = Overlap("upload", "run", "fetch")
    under_way = overlap.submit(upload, lambda: begun.append("run"), nothing)
    waiting = overlap.submit(lambda: begun.append("upload"), nothing, nothing)
    assert uploading.wait(60)
    threading.Timer(0.05, free.set).start()
    overlap.close()
    assert free.is_set()
    assert (under_way.cancelled(), waiting.cancelled(), begun) == (True, True, [])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("evalrun-upload")]
