"""What a launch says of money: one currency, what was spent, and what is left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_evalrun.plugin.spending import Spending, currencies, spent_lines
from pytest_evalrun.rundir.costs import CostLedger, Spent, Stopped
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task


def pair(name="a", skip=None, **values):
    layer = Layer("suite", f"{name}.yaml", values)
    return Pair("s", "/s", Task(name, None, "/s"), Dataset("d", "/s/d"), (layer,), skip=skip)


def price(currency=None):
    return {"input": 1.0} | ({"currency": currency} if currency else {})


JUDGED = {"metrics": ["exact_match", {"judge": {"model": {"model": "j", "price": price("EUR")}}}]}


class Heard:
    def __init__(self):
        self.lines, self.remarks = [], []
        self.line = self.lines.append


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        pytest.param([pair(), pair("b", metrics=["top1", {"topk": {"k": 3}}])], {}, id="no endpoint"),
        pytest.param([pair(price=price())], {"USD"}, id="by itself"),
        pytest.param([pair(price={"currency": "EUR"})], set(), id="no price"),
        pytest.param([pair(price=price("EUR")), pair("b", **JUDGED)], {"EUR"}, id="one"),
        pytest.param([pair(price=price()), pair("b", price=price("EUR"))], {"USD", "EUR"}, id="two models"),
        pytest.param([pair(price=price(), **JUDGED)], {"USD", "EUR"}, id="model and judge"),
        pytest.param([pair(price=price()), pair("b", skip="no", **JUDGED)], {"USD"}, id="skipped"),
    ],
)
def test_currencies_of_a_launch(pairs, found):
    """Those of the prices of all selected models and judges."""
    assert currencies(pairs).keys() == set(found)


def test_two_currencies_are_a_usage_error():
    """What 1 USD and 1 EUR add up to nobody knows; the error says where each is asked for."""
    with pytest.raises(pytest.UsageError, match=r"prices in EUR \(b.yaml\) and USD \(a.yaml\); accepted: one currency"):
        Spending(Heard(), None).check([pair(price=price()), pair("b", price=price("EUR"))])


def test_limit_without_a_price_is_told():
    """It would never be reached, whatever is spent."""
    heard = Heard()
    Spending(heard, 1.0).check([pair()])
    assert heard.lines == ["--eval-max-cost has no effect: no selected model or judge has a `price:`"]
    Spending(heard, 1.0).check([pair(price=price())])
    Spending(heard, None).check([pair()])
    assert len(heard.lines) == 1


ONE, TWO = Stopped("s/a/d", 1200, 1900, 3), Stopped("s/b/d", 40, 100, 0)
LEFT = "1,240 of 2,000 samples of 2 pairs are left; the same command with a higher --eval-max-cost carries on"
LINES = {
    "nothing spent": (Spent(), [], None, []),
    "spent": (Spent({"USD": 0.0103}, 5), [], None, ["spent 0.0103 USD in this run (5 requests)"]),
    "within": (Spent({"USD": 0.0103}, 1), [], 1.0, ["spent 0.0103 USD of 1 USD in this run (1 request)"]),
    "stopped": (
        Spent({"USD": 0.0103}, 5),
        [ONE, TWO],
        0.01,
        [f"spent 0.0103 USD of 0.01 USD (3 requests were in flight); {LEFT}"],
    ),
    "another currency before": (
        Spent({"EUR": 2.0, "USD": 0.5}, 5),
        [],
        None,
        ["spent 0.5 USD and 2 EUR in this run (5 requests)"],
    ),
}


@pytest.mark.parametrize(("spent", "stopped", "limit", "lines"), LINES.values(), ids=LINES)
def test_what_was_spent(spent, stopped, limit, lines):
    """One line at the end, and where the limit was reached what it left."""
    assert list(spent_lines(spent, stopped, "USD", limit)) == lines


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, id="passed"),
        pytest.param(pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.TESTS_FAILED, id="all skipped"),
        pytest.param(pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERRUPTED, id="interrupted"),
    ],
)
def test_launch_that_left_something_is_no_success(tmp_path, before, after):
    """However its items ended: what was not asked has no result; of earlier launches that says nothing."""
    paths, heard = RunPaths(tmp_path), Heard()
    ledger = CostLedger(paths.costs, "gw0", "now", 1.0)
    ledger.paid("s/a/d", 1.5, "USD")
    ledger.stopped("s/b/d", 10, 10)
    ledger.close()
    spending = Spending(heard, 1.0)
    spending.check([pair(price=price())])
    for launch, status in (("now", after), ("later", before)):
        session = SimpleNamespace(exitstatus=before)
        spending.finish(session, paths, launch)
        assert session.exitstatus == status
    assert "10 of 10 samples of 1 pair are left" in heard.remarks[0]
    assert heard.remarks[1] == "spent 1.5 USD of 1 USD in this run (1 request)"


def test_cut_off_answers_are_named(tmp_path):
    """Of a few pairs, and how many more there are."""
    heard, session = Heard(), SimpleNamespace(exitstatus=pytest.ExitCode.OK)
    spending = Spending(heard, None)
    for number in range(7):
        spending.ended(pair(f"p{number}"), {"cut_off": ["2 of 4 answers ended early"]})
    spending.ended(pair("whole"), {})
    spending.finish(session, RunPaths(tmp_path), "launch")
    assert heard.remarks[0] == "s/p0/d: 2 of 4 answers ended early"
    assert heard.remarks[5:] == ["… and answers of 2 more pairs were cut off; see their logs"]
    assert session.exitstatus == pytest.ExitCode.OK
