"""Sessions of programs whatever the stages are: bays, links that are lost, and how a session ends."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.children.faults import ModelError
from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.errors import ConfigError, PairError, SampleError, TimedOut
from pytest_evalrun.predicting.batches import StagedSession
from pytest_evalrun.predicting.loop import run_loop
from pytest_evalrun.predicting.session import Again, Answers
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.remote.faults import ArrivedWrong, BoardGone, LinkLost
from pytest_evalrun.rundir.predictions import PredictionsFile

SECONDS = 60


class FakeBay:
    """Answers with its batch; ``fails`` says what each of its stages raises."""

    def __init__(self, fails=lambda stage, batch: None):
        self.seconds = 0.25
        self.fails = fails
        self.batch = None

    def stage(self, name):
        if (error := self.fails(name, self.batch)) is not None:
            raise error

    def put(self, batch):
        assert self.batch is None, "one batch at a time"
        self.batch = batch
        try:
            self.stage("put")
        except BaseException:
            self.batch = None
            raise

    def run(self):
        try:
            self.stage("run")
        except BaseException:
            self.batch = None
            raise

    def fetch(self):
        batch, self.batch = self.batch, None
        if (error := self.fails("fetch", batch)) is not None:
            raise error
        return batch


class FakeBoard:
    """Counts how often its link was made again; ``most`` times in a row."""

    def __init__(self, most=5):
        self.connection = SimpleNamespace(lost=False)
        self.recovered = []
        self.most = most
        self.interrupted = threading.Event()

    def recover(self, error, losses):
        if losses >= self.most:
            raise BoardGone("it does not come back")
        self.recovered.append(losses)

    def interrupt(self):
        self.interrupted.set()


@pytest.fixture
def opened():
    """A session, which is closed at the end; what it gives back is noted."""
    sessions = []

    def opened(count=3, fails=lambda stage, batch: None, board=None):
        exit_ = ExitStack()
        session = StagedSession([FakeBay(fails) for _ in range(count)], board, exit_)
        session.given_back = []
        exit_.callback(session.given_back.append, "all")
        sessions.append(session)
        return session

    yield opened
    for session in sessions:
        session.close()


@given(batches=st.lists(st.lists(st.integers()), max_size=20), count=st.integers(1, 3))
def test_every_batch_gets_its_own_answers(batches, count):
    """However many are under way, each in a bay of its own."""
    session = StagedSession([FakeBay() for _ in range(count)], None, ExitStack())
    asked = [session.submit(batch) for batch in batches[:count]]
    for n, batch in enumerate(batches):
        assert asked[n].result(SECONDS).predictions == batch
        asked += [session.submit(batch) for batch in batches[len(asked) : len(asked) + 1]]
    session.close()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, TimedOut])
def test_of_one_bay_the_caller_itself_asks(opened, stop):
    """So a limit of time and Ctrl-C reach the program; a batch's seconds are those of all three steps."""
    threads = []

    def note(stage, batch):
        threads.append(threading.current_thread())
        return stop() if batch == ["stop"] else None

    session = opened(1, note)
    future = session.submit([1])
    assert future.done()
    assert future.result().seconds != FakeBay().seconds
    assert threads == [threading.current_thread()] * 3
    with pytest.raises(stop):
        session.submit(["stop"])


def test_of_several_bays_seconds_are_those_of_the_program(opened):
    """What a batch waits for others is no time of its own."""
    assert opened().submit([1]).result(SECONDS) == Answers([1], FakeBay().seconds)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("where", ["put", "run", "fetch"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ModelError("m"), ModelError),
        (SampleError("s"), SampleError),
        (ConfigError("c"), PairError),
        (ValueError("v"), ValueError),
    ],
    ids=["model", "sample", "configuration", "anything"],
)
def test_an_error_is_that_of_its_batch(opened, count, where, error, raised):
    """Wherever it comes up, and the bay is free for the next batch."""
    session = opened(count, lambda stage, batch: error if (stage, batch) == (where, ["bad"]) else None, FakeBoard())
    for _ in range(4):
        with pytest.raises(raised, match=str(error)):
            session.submit(["bad"]).result(SECONDS)
        assert session.submit(["good"]).result(SECONDS).predictions == ["good"]


def test_a_loss_is_made_good_once_for_all_who_met_it(opened):
    """Three batches are under way when the link goes: one of them makes it again, and all are asked again for free."""
    met, board = threading.Barrier(3), FakeBoard()
    lost = {"put": ["a"], "run": ["b"], "fetch": ["c"]}
    done = threading.Event()

    def fails(stage, batch):
        if batch != lost[stage] or done.is_set():
            return None
        met.wait(SECONDS)
        return LinkLost("gone")

    session = opened(3, fails, board)
    asked = [session.submit(batch) for batch in (["c"], ["b"], ["a"])]
    assert [future.result(SECONDS) for future in asked] == [Again(0.0, "gone", counts=False)] * 3
    assert board.recovered == [1]
    done.set()
    again = [session.submit(batch) for batch in (["c"], ["b"], ["a"])]
    assert [future.result(SECONDS).predictions for future in again] == [["c"], ["b"], ["a"]]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("error", [LinkLost("gone"), ArrivedWrong("torn"), ConfigError("refused")], ids=type)
def test_losses_in_a_row_are_counted_until_a_batch_is_answered(opened, count, error):
    """A board that never holds is given up, and that is told to whoever asked."""
    bad, board = [True], FakeBoard(most=3)
    board.connection.lost = isinstance(error, ConfigError)
    session = opened(count, lambda stage, batch: error if bad[0] and stage == "run" else None, board)
    assert [session.submit([n]).result(SECONDS).counts for n in range(2)] == [False] * 2
    bad[0] = False
    session.submit([2]).result(SECONDS)
    bad[0] = True
    assert [session.submit([n]).result(SECONDS).counts for n in range(2)] == [False] * 2
    assert board.recovered == [1, 2, 1, 2]
    with pytest.raises(BoardGone):
        session.submit([3]).result(SECONDS)


def test_who_closes_at_once_interrupts_what_is_under_way(opened):
    """It hears of that before it is waited for, and makes no link again; then all is given back."""
    board, running = FakeBoard(), threading.Event()

    def fails(stage, batch):
        if stage != "run":
            return None
        running.set()
        assert board.interrupted.wait(SECONDS), "nobody was told"
        return LinkLost("closed")

    session = opened(3, fails, board)
    asked = session.submit([1])
    assert running.wait(SECONDS)
    session.close(at_once=True)
    assert isinstance(asked.exception(0), LinkLost)
    assert (board.recovered, session.given_back) == ([], ["all"])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, TimedOut])
@pytest.mark.parametrize("where", ["put", "run", "fetch"])
def test_who_is_stopped_waits_for_no_transfer(opened, shop, context, monkeypatch, stop, where):
    """Ctrl-C and a limit end the wait for answers; whatever is under way is interrupted before it is waited for."""
    board, waiting = FakeBoard(), threading.Event()

    def fails(stage, batch):
        if stage != where:
            return None
        waiting.set()
        assert board.interrupted.wait(SECONDS), "nobody was told"
        return LinkLost("closed")

    def stopped():
        if waiting.is_set():
            raise stop

    monkeypatch.setattr(context, "check_launcher", stopped)
    session, pair = opened(3, fails, board), shop.pair()
    paths = context.paths.pair(pair.key)
    progress = PredictionsFile(paths.predictions).open(context.disk, 9)
    with pytest.raises(stop):
        run_loop(PairWork(pair, paths, progress, context, range(9)), session, [Sample(n, f"s{n}", n) for n in range(9)])
    progress.close()
    assert (board.recovered, session.given_back) == ([], ["all"])


def test_who_closes_waits_for_what_is_under_way(opened):
    """And what had not ended by then is not gone on with."""
    running, free, board = threading.Event(), threading.Event(), FakeBoard()

    def fails(stage, batch):
        running.set()
        assert stage == "put"
        assert free.wait(SECONDS)

    session = opened(3, fails, board)
    asked = session.submit([1])
    assert running.wait(SECONDS)
    threading.Timer(0.05, free.set).start()
    session.close()
    assert (asked.cancelled(), board.interrupted.is_set(), session.given_back) == (True, False, ["all"])
