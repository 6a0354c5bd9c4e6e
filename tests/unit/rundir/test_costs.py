"""What was spent is known to all workers of a run, in this launch and in later ones, whatever ended them."""

from __future__ import annotations

import pytest

from pytest_evalrun.rundir.costs import CostLedger, Spent, Stopped, money, read_costs


@pytest.fixture
def ledgers(tmp_path):
    """``ledgers(worker)``: that of one worker; closed in the end."""
    made = []

    def make(worker, launch="now", limit=None):
        made.append(CostLedger(tmp_path / "costs", worker, launch, limit))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


def test_workers_know_what_the_others_spent(ledgers):
    """Each sees its own at once and that of the others when it looks."""
    one, two = ledgers("gw0"), ledgers("gw1")
    one.paid("s/a/d", 0.25, "USD")
    assert two.spent(now=True).of("USD") == 0.25
    two.paid("s/a/e", 0.5, "USD")
    assert two.spent().of("USD") == 0.75
    assert one.spent(now=True).of("USD") == 0.75
    assert one.spent(now=True).requests == 2


def test_spent_before_counts(ledgers):
    """A later launch, whose workers have the same names, goes on from what earlier ones paid."""
    first = ledgers("gw0", "first")
    first.paid("s/a/d", 0.25, "USD")
    first.close()
    again = ledgers("gw0", "second", limit=0.3)
    assert not again.is_spent("USD")
    again.paid("s/a/d", 0.05, "USD")
    assert again.is_spent("USD")
    assert not again.is_spent("EUR")


@pytest.mark.parametrize("torn", [b'{"pair":"s/a/d","co', b"\xff\n", b"[]\n", b'{"cost":"much","currency":"USD"}\n'])
def test_torn_line_costs_itself(ledgers, tmp_path, torn):
    """What a crash or a stranger left there is passed over; what was written before and after it counts."""
    ledger = ledgers("gw0")
    ledger.paid("s/a/d", 0.25, "USD")
    ledger.close()
    with (tmp_path / "costs" / "gw0.jsonl").open("ab") as file:
        file.write(torn)
    again = ledgers("gw0")
    again.paid("s/a/d", 0.5, "USD")
    assert again.spent().of("USD") == 0.75
    assert read_costs(tmp_path / "costs", "now")[0].of("USD") == 0.75


def test_without_a_limit_nothing_is_spent_up(ledgers):
    """And nobody reads what others wrote."""
    ledger = ledgers("gw0")
    ledger.paid("s/a/d", 1e9, "USD")
    assert not ledger.is_spent("USD")


def test_what_was_stopped_is_of_its_launch(ledgers, tmp_path):
    """The last word on each pair counts; what an earlier launch did not ask may have been asked since."""
    ledgers("gw0", "before").stopped("s/a/d", 5, 10)
    now = ledgers("gw1")
    now.paid("s/a/d", 0.5, "USD")
    now.stopped("s/a/d", 4, 10, in_flight=2)
    now.stopped("s/a/e", 10, 10)
    spent, stopped = read_costs(tmp_path / "costs", "now")
    assert spent == Spent({"USD": 0.5}, 1)
    assert stopped == [Stopped("s/a/d", 4, 10, 2), Stopped("s/a/e", 10, 10, 0)]


def test_run_without_endpoints_has_no_ledger(ledgers, tmp_path):
    """No file, no directory, and nothing spent."""
    assert ledgers("gw0").spent(now=True) == Spent()
    assert read_costs(tmp_path / "costs", "now") == (Spent(), [])
    assert not (tmp_path / "costs").exists()


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        pytest.param(0.0, "0 USD", id="nothing"),
        pytest.param(0.0103, "0.0103 USD", id="small"),
        pytest.param(0.00001234, "0.00001234 USD", id="no exponent"),
        pytest.param(0.01, "0.01 USD", id="no zeros behind"),
        pytest.param(12.3456, "12.35 USD", id="cents"),
        pytest.param(10.0, "10 USD", id="whole"),
        pytest.param(1234.5, "1,234.50 USD", id="thousands"),
    ],
)
def test_money(amount, text):
    """Four digits that count, as people write amounts."""
    assert money(amount, "USD") == text
