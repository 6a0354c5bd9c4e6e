"""Pauses that grow, and looking again until something is so."""

from __future__ import annotations

from itertools import islice

import pytest

from pytest_evalrun.suite.waiting import backoff, pauses, wait_until


@pytest.mark.parametrize(("tries", "seconds"), [(0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0), (10**9, 30.0)])
def test_a_pause_is_twice_the_one_before(tries, seconds):
    """Up to the longest, however often it was tried."""
    assert backoff(tries) == seconds


def test_pauses_have_no_end():
    """Those of a loop are those of its tries, one after the other."""
    assert list(islice(pauses(0.01, 0.05), 5)) == [0.01, 0.02, 0.04, 0.05, 0.05]


@pytest.mark.parametrize(("answers", "seconds", "came"), [("ft", 60, True), ("t", 0, True), ("f", 0, False)])
def test_it_is_looked_at_once_at_least(answers, seconds, came):
    """What is so already needs no time, and what never comes true ends with the limit."""
    looks = iter(answers)
    assert wait_until(lambda: next(looks) == "t", seconds, 0.001) is came
    assert not list(looks)
