"""Asking ends where the money is spent: what is under way is kept and paid for, what is left is said."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.errors import Lacking, PairError
from pytest_evalrun.predicting.loop import run_loop
from pytest_evalrun.predicting.session import Again, Answers
from pytest_evalrun.predicting.spending import check_begin, within_costs
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.rundir.costs import read_costs
from pytest_evalrun.rundir.predictions import PredictionsFile

PRICED = {"adapter": "openai", "base_url": "http://127.0.0.1:1/v1", "price": {"input": 1}, "max_batch_size": 1}


class Dear:
    """A session with an answer for each request, a unit of money each; it answers when it is asked the next time."""

    batch_size = 1

    def __init__(self, most=1, cost=1.0):
        self.most, self.cost = most, cost
        self.waiting = []
        self.asked = 0

    @property
    def in_flight(self):
        return self.most

    def submit(self, batch):
        self.asked += 1
        future = Future()
        self.waiting.append(future)
        if len(self.waiting) == self.most:
            self.answer()
        return future

    def answer(self):
        while self.waiting:
            detail = {"usage": {"input": 1, "output": 1}, "cost": self.cost}
            self.waiting.pop().set_result(Answers([Detailed("yes", detail)], 0.1))

    def close(self, *, at_once=False):
        self.answer()


@pytest.fixture
def spend(shop, evaluator):
    """Ask a priced session for a pair under a limit, as one launch: the error, or None, and the lines that are kept."""

    def run(session, count=10, limit=None, run_id="launch", **words):
        pair = shop.pair(**PRICED | words)
        shop.data(count=count)
        context = evaluator.context(run_id=run_id, max_cost=limit)
        paths = context.paths.pair(pair.key)
        progress = PredictionsFile(paths.predictions).open(context.disk, count)
        work = PairWork(pair, paths, progress, context, range(count))
        samples = [run.sample(index) for index in range(count)]
        try:
            run_loop(work, within_costs(work, session), samples)
        except PairError as error:
            return str(error), progress.done_count
        finally:
            progress.close()
        return None, progress.done_count

    from pytest_evalrun.datasets.protocol import Sample

    run.sample = lambda index: Sample(index, f"s{index}", "?")
    run.paths = evaluator.context().paths
    return run


def test_limit_ends_the_pair(spend):
    """Nothing is asked once the money is spent; the error says what was spent and what is left."""
    session = Dear()
    error, kept = spend(session, limit=3)
    assert session.asked == kept == 3
    assert error.startswith("spent 3 USD of 3 USD (--eval-max-cost): 7 of 10 samples are left; ")
    spent, stopped = read_costs(spend.paths.costs, "launch")
    assert spent.of("USD") == 3
    assert [(end.left, end.samples, end.in_flight) for end in stopped] == [(7, 10, 0)]


def test_higher_limit_carries_on(spend):
    """What was paid is not paid again, and counts against the new limit."""
    spend(Dear(), limit=3, run_id="one")
    session = Dear()
    assert spend(session, limit=3, run_id="two")[0].startswith("spent 3 USD of 3 USD")
    assert session.asked == 0
    assert spend(session, limit=10, run_id="three") == (None, 10)
    assert session.asked == 7


def test_what_is_in_flight_is_kept(spend):
    """It may exceed the limit, but nobody pays for it twice."""
    session = Dear(most=4)
    error, kept = spend(session, limit=2)
    assert session.asked == kept == 4
    assert error.startswith("spent 4 USD of 2 USD")


def test_last_sample_may_spend_the_rest(spend):
    """A pair that is asked to its end is complete, whatever it cost."""
    assert spend(Dear(), limit=10) == (None, 10)
    assert read_costs(spend.paths.costs, "launch")[1] == []


def test_what_was_not_answered_costs_nothing(spend):
    """A request that is to be made again is none that was paid for."""

    class Busy(Dear):
        def submit(self, batch):
            future = super().submit(batch)
            if self.asked == 1:
                future = Future()
                future.set_result(Again(0.0, "HTTP 429", counts=False))
            return future

    assert spend(Busy(), count=2) == (None, 2)
    assert read_costs(spend.paths.costs, "launch")[0].of("USD") == 2


def test_model_without_price_is_not_counted(spend):
    """The limit is of money: who asks for none is asked on."""
    assert spend(Dear(), limit=1, price={"currency": "USD"}) == (None, 10)
    assert not spend.paths.costs.exists()


@pytest.mark.parametrize(
    ("begun", "error"),
    [pytest.param(False, Lacking, id="not begun"), pytest.param(True, PairError, id="not carried on")],
)
def test_nothing_is_loaded_once_the_money_is_spent(shop, evaluator, begun, error):
    """A pair that was not begun is skipped, one that was is an error; both say so, and that something is left."""
    context, pair = evaluator.context(max_cost=1.0), shop.pair(**PRICED)

    def check(pair):
        check_begin(context.costs, pair.settings, pair.full_id, 10, 6, begun=begun)

    check(pair)
    context.costs.paid("another", 1.5, "USD")
    with pytest.raises(error, match=r"spent 1.5 USD of 1 USD .* 6 of 10 samples are left") as caught:
        check(pair)
    assert type(caught.value) is error
    assert [end.left for end in read_costs(context.paths.costs, "launch")[1]] == [6]
    check(shop.pair())  # a model that costs nothing
