"""What a result has of gates, read as anybody may have written it."""

from __future__ import annotations

import math

import pytest

from pytest_evalrun.comparison.gatefacts import allowed, drop_allowed, margin_in, share_in
from pytest_evalrun.comparison.side import bounds_in, finite, two_ends
from pytest_evalrun.suite.gates import Gate

NO_NUMBERS = [None, True, "0.5", [], {}, math.nan, math.inf, 10**400]


@pytest.mark.parametrize("said", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_not_there(said):
    """Neither as a number, nor as an end of an interval, nor as a bound, nor as a margin."""
    assert finite(said) is None
    assert two_ends(said) is None
    assert two_ends([0.1, said]) is None
    assert bounds_in({"bounds": said}) is None
    assert bounds_in({"bounds": [said, 1]}) is None
    assert margin_in(said, 0.8) is None
    assert share_in(said) is None


@pytest.mark.parametrize("bounds", [[1, 0], [1, 1], [0, 1, 2], (0,)])
def test_bounds_are_two_numbers_the_lower_one_first(bounds):
    """Nobody can be between others."""
    assert bounds_in({"bounds": bounds}) is None
    assert bounds_in({"bounds": [0, 1]}) == (0.0, 1.0)


@pytest.mark.parametrize("text", ["5", "%", "x%", "1e400%", "nan%"])
def test_only_a_number_with_a_percent_sign_is_a_share(text):
    """Of the value before, whichever sign that has."""
    assert margin_in(text, 0.8) is None
    assert margin_in("5%", -0.8) == pytest.approx(0.04)


def test_a_drop_is_a_rise_where_less_is_better():
    """What is allowed, and how far a value is past it."""
    share = Gate(max_drop="5%", baseline="main")
    assert drop_allowed(share, None) is None
    assert allowed(share, 0.8, 0.7, higher=True) == pytest.approx((0.76, 0.06))
    assert allowed(share, 0.8, 0.9, higher=False) == pytest.approx((0.84, 0.06))


def test_rounding_is_no_breach():
    """0.8 - 0.1 is more than 0.7 in floating point."""
    assert allowed(Gate(max_drop=0.1, baseline="main"), 0.8, 0.7, higher=True)[1] == 0.0
