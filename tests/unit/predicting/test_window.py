"""Many batches under way: in whatever order a session answers, asks again, fails or dies, nothing is lost."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalrun.children.faults import ModelDied
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.predicting import loop
from pytest_evalrun.predicting.loop import HOPELESS_SECONDS, run_loop
from pytest_evalrun.predicting.session import Again, Answers
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.rundir.predictions import Line, PredictionsFile

numbers = itertools.count()
ANSWER, AGAIN, LATER, COUNTED, FAILING, PASSES, FAULT, UNREADABLE, DIES = range(9)


class Crowd:
    """A session with many batches in flight, which ends them in an order of its own, at the latest when it is full.

    ``fates`` says what becomes of each request; with none left it answers. After its death nothing is answered.
    """

    def __init__(self, in_flight=100, fates=(), order=lambda waiting: 0, threaded=False):
        self.in_flight, self.fates, self.order = in_flight, iter(fates), order
        self.batch_size = None
        self.asked, self.waiting, self.most = [], [], 0
        self.closed = None
        self.threaded = threaded

    def submit(self, batch):
        assert all(sample.reference is None for sample in batch)
        future = Future()
        self.asked.append([sample.index for sample in batch])
        self.waiting.append((future, batch, next(self.fates, ANSWER)))
        self.most = max(self.most, len(self.waiting))
        if self.threaded:
            threading.Timer(0.001, self.end_one).start()
        return future

    def end_one(self):
        future, batch, fate = self.waiting.pop(self.order(len(self.waiting)))
        if fate == ANSWER:
            future.set_result(Answers([sample.input for sample in batch], 0.5))
        elif fate in (AGAIN, LATER, COUNTED, FAILING):
            after = 1.3 if fate in (LATER, FAILING) else 0.0
            future.set_result(Again(after, "not now", counts=fate == COUNTED, failing=fate == FAILING))
        else:
            errors = {
                PASSES: TimeoutError("slow"),
                FAULT: ValueError("no"),
                UNREADABLE: SampleError("unreadable"),
                DIES: ModelDied("died"),
            }
            future.set_exception(errors[fate])

    def close(self, *, at_once=False):
        self.closed = at_once


@pytest.fixture
def asked(shop, context, monkeypatch):
    """The pair after a crowd was asked: while the loop waits, the crowd ends one request."""

    def ask(crowd, count, *, done=(), **words):
        pair = shop.pair(f"w{next(numbers)}", **words)
        paths = context.paths.pair(pair.key)
        each = words.get("generations", 1)
        progress = PredictionsFile(paths.predictions, each).open(context.disk, count)
        generation = [i % each if each > 1 else None for i in range(count)]
        lines = [Line(i // each, f"s{i}", "ok", "before", i, None, 0.1, generation=generation[i]) for i in done]
        progress.append(lines)
        clock = SimpleNamespace(now=0.0)

        def sleep(seconds):
            assert seconds > 0, "a loop that waits for nothing never ends"
            clock.now += seconds

        class Ended(SimpleQueue):
            """While it is waited for, the crowd ends one request."""

            def get(self, timeout=None):
                if self.empty() and crowd.waiting:
                    crowd.end_one()
                if self.empty():
                    sleep(timeout)
                    raise Empty
                return super().get()

        time = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now, sleep=sleep)
        monkeypatch.setattr(loop, "time", time)
        monkeypatch.setattr(loop, "SimpleQueue", Ended)
        error = None
        try:
            samples = (Sample(i // each, f"s{i}", i, i, i % each) for i in range(count))
            run_loop(PairWork(pair, paths, progress, context, range(count)), crowd, samples)
        except PairError as caught:
            error = caught
        progress.close()
        return SimpleNamespace(lines=list(progress.ordered()), progress=progress, error=error, clock=clock)

    return ask


def given_samples(count):
    return (Sample(i, f"s{i}", i, i) for i in range(count))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 60),
    size=st.integers(1, 5),
    in_flight=st.sampled_from([1, 2, 3, 100]),
    fates=st.lists(st.sampled_from([ANSWER, *range(DIES + 1)]), max_size=40),
    data=st.data(),
)
def test_every_sample_ends_once(asked, count, size, in_flight, fates, data):
    """With its answer, or as failed; what was kept is never asked; a pair that ends early has lost nothing it kept."""
    done = data.draw(st.sets(st.integers(0, count - 1)), "done")
    crowd = Crowd(in_flight, fates, lambda waiting: data.draw(st.integers(0, waiting - 1), "which ends"))
    found = asked(crowd, count, done=sorted(done), max_batch_size=size, retries=2)
    indexes = [line.index for line in found.lines]
    assert indexes == sorted(set(indexes)), "the dataset's order, one line a sample"
    assert crowd.most <= in_flight
    assert not done & set(itertools.chain(*crowd.asked))
    assert {line.prediction for line in found.lines if line.index in done} <= {"before"}
    if found.error is None:
        assert indexes == list(range(count))
        assert all(
            line.prediction == line.index for line in found.lines if line.status == "ok" and line.index not in done
        )
    else:
        assert DIES in fates or "in a row" in str(found.error) or "no batch succeeded" in str(found.error)
    assert crowd.closed is False


def test_the_window_is_filled_and_kept_full(asked):
    """As many batches are under way as the session can have, which is asked anew before each."""
    crowd = Crowd(7)
    asked(crowd, 40, max_batch_size=1)
    assert (crowd.most, len(crowd.asked)) == (7, 40)


def test_what_ended_well_is_kept_though_another_ended_the_pair(asked):
    """An error of the pair ends all; answers that had come by then are predictions, nobody asks for them again."""
    crowd = Crowd(3, [ANSWER, DIES, ANSWER], lambda waiting: 0)

    def end_all(futures, pause, _):
        while crowd.waiting:
            crowd.end_one()

    asked_pair = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Crowd, "close", lambda self, at_once=False: end_all(None, 0, None))
        asked_pair = asked(crowd, 3, max_batch_size=1)
    assert "died" in str(asked_pair.error)
    assert [line.index for line in asked_pair.lines] == [0, 2]


def test_a_place_is_free_while_a_batch_waits_to_be_asked_again(asked):
    """Its time comes later, and others go ahead; it does not count as one of its retries unless the session says so."""
    crowd = Crowd(1, [AGAIN, AGAIN, AGAIN])
    found = asked(crowd, 4, max_batch_size=2, retries=0)
    assert found.error is None
    assert [line.status for line in found.lines] == ["ok"] * 4
    crowd = Crowd(1, [COUNTED, COUNTED])
    found = asked(crowd, 1, max_batch_size=1, retries=1)
    assert [line.error for line in found.lines] == ["not now"]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_what_waits_without_a_place_holds_nobody_up(asked, in_flight):
    """Another batch has taken its place, and keeps it while it is tried again: that one goes first."""
    crowd = Crowd(in_flight, [LATER] * in_flight + [PASSES] * 2 * in_flight)
    found = asked(crowd, 4 * in_flight, max_batch_size=1, retries=5)
    assert found.error is None
    assert [line.status for line in found.lines] == ["ok"] * 4 * in_flight


def test_a_fault_of_samples_gives_nothing_up(asked):
    """Samples that cannot be read say nothing of the model: they count for max_failed alone."""
    found = asked(Crowd(1, [UNREADABLE] * 20), 20, max_batch_size=1)
    assert found.error is None
    assert {line.error for line in found.lines} == {"unreadable"}


def test_of_many_under_way_three_failures_are_not_enough(asked, monkeypatch):
    """They say nothing together; a model is given up whose every place failed, when nothing succeeded in a minute."""
    crowd = Crowd(50, [FAULT] * 10)
    assert asked(crowd, 50, max_batch_size=1).error is None

    class Slow(Crowd):
        def end_one(self):
            loop.time.sleep(HOPELESS_SECONDS / 4)
            super().end_one()

    found = asked(Slow(10, [FAULT] * 50), 50, max_batch_size=1)
    assert "no batch succeeded in 60 s; the last one: ValueError: no" in str(found.error)
    assert 10 <= len(found.lines) < 50
    slow = asked(Slow(50, [ANSWER] + [FAULT] * 9), 60, max_batch_size=1)
    assert slow.error is None, "of a slow model those under way may all be good"
    assert [line.status for line in slow.lines].count("failed") == 9


def test_answers_of_threads_are_waited_for(shop, context):
    """The real wait: sessions end their batches in threads of their own."""
    pair = shop.pair("threads", max_batch_size=1)
    paths = context.paths.pair(pair.key)
    progress = PredictionsFile(paths.predictions).open(context.disk, 30)
    run_loop(PairWork(pair, paths, progress, context, range(30)), Crowd(10, threaded=True), given_samples(30))
    progress.close()
    assert progress.done_count == 30


def test_who_has_no_place_waits_for_one(asked):
    """Nothing is asked without a place, though nothing is under way, and all is once there are some."""

    class Shared(Crowd):
        looks = 0

        @property
        def in_flight(self):
            self.looks += 1
            return len(self.waiting) if self.looks % 5 else 2

        @in_flight.setter
        def in_flight(self, value):
            pass

    crowd = Shared()
    found = asked(crowd, 20, max_batch_size=1)
    assert [line.status for line in found.lines] == ["ok"] * 20
    assert crowd.most <= 2


def test_each_generation_is_asked_for_and_kept_alone(asked):
    """Of several answers to a sample each is a line, resumed and failed one by one."""
    crowd = Crowd(1, [ANSWER, FAULT])
    crowd.batch_size = 1
    found = asked(crowd, 6, done=[4], generations=3)
    assert [(line.index, line.generation, line.status) for line in found.lines] == [
        (0, 0, "ok"),
        (0, 1, "failed"),
        (0, 2, "ok"),
        (1, 0, "ok"),
        (1, 1, "ok"),
        (1, 2, "ok"),
    ]
    assert len(crowd.asked) == 5


def test_what_fails_as_a_whole_is_given_up_after_a_minute_without_success(asked):
    """Not before, however often it is asked again: a server that is started anew is back in time."""
    back = asked(Crowd(5, [FAILING] * 20), 10, max_batch_size=1)
    assert back.error is None
    assert back.progress.done_count == 10
    gone = asked(Crowd(5, [FAILING] * 10_000), 10, max_batch_size=1)
    assert "no batch succeeded in 60 s; the last time: not now" in str(gone.error)
    assert gone.clock.now >= HOPELESS_SECONDS
