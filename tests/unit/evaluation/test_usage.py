"""What endpoints told of their answers is added up: tokens, costs, and which of the answers were cut off."""

from __future__ import annotations

import pytest

from pytest_evalrun.evaluation.usage import UsageTally, cost_line, cost_of, cut_off, tell_usage
from pytest_evalrun.rundir.predictions import Line


def line(detail, status="ok"):
    return Line(0, "s0", status, "yes", None, None, 0.5, detail)


def told(finish="stop", cost=0.001, cached=0, **more):
    detail = {"finish_reason": finish, "usage": {"input": 10, "output": 4, "cached": cached}, "attempts": 1} | more
    return line(detail if cost is None else detail | {"cost": cost})


def tally(*lines):
    usage = UsageTally()
    usage.add(lines)
    return usage.to_json("EUR")


def test_lines_are_added_up():
    """Requests that were answered, those that were made for them, tokens, ends and money."""
    assert tally(told(), told("length", cached=8, attempts=3), told(cost=0.01)) == {
        "requests": 3,
        "attempts": 5,
        "input": 30,
        "output": 12,
        "cached": 8,
        "finish": {"length": 1, "stop": 2},
        "cost": 0.012,
        "currency": "EUR",
    }


def test_without_a_price_there_is_no_cost():
    """Nobody knows what it cost, which is not nothing."""
    assert "cost" not in tally(told(cost=None))
    assert cost_line(tally(told(cost=None))) is None


@pytest.mark.parametrize("detail", [None, {}, {"seconds": 0.1}, {"boxes": [1, 2]}])
def test_other_models_have_no_usage(detail):
    """A detail of a user's own model says nothing of tokens."""
    assert tally(line(detail)) is None


@pytest.mark.parametrize("usage", [None, "much", {"input": "10", "output": -4, "cached": True}, {"input": 1.5}])
def test_damaged_counts_count_nothing(usage):
    """Lines can be edited, and a user's model may use the word for something else."""
    found = tally(line({"usage": usage, "finish_reason": "stop"}))
    assert (found["requests"], found["input"], found["output"], found["cached"]) == (1, 0, 0, 0)


def test_cost_counts_judges():
    """What the judges took is a part of what the pair cost."""
    usage = tally(told(cost=0.01)) | {"judge": {"helpful": tally(told(cost=0.02))}}
    assert cost_of(usage) == "0.03 EUR"
    assert cost_line(usage) == "0.03 EUR (2 requests, 20 tokens in, 8 out)"
    assert cost_of({"judge": usage["judge"]}) == "0.02 EUR"
    assert cost_of(None) is None


def test_answers_that_were_cut_off_are_told():
    """How many, of how many, and what to do; where there are none, nothing is said."""
    assert cut_off(tally(told())) == []
    assert cut_off(None) == []
    said = []
    tell_usage(tally(told("length"), told("content_filter"), told(), told("length")), said.append)
    assert said == [
        "cost: 0.004 EUR (4 requests, 40 tokens in, 16 out)",
        "warning: 2 of 4 answers ended at the most tokens that may be answered (raise `max_tokens`)",
        "warning: 1 of 4 answers held back by the endpoint's content filter",
    ]
