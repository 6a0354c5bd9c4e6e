"""What a list says of one pair, from what is on disk and what the run has."""

from __future__ import annotations

import pytest

from pytest_evalrun.report.known import KnownPair
from pytest_evalrun.report.listing import ListedPair, flat, to_json
from pytest_evalrun.report.rows import SummaryRow
from pytest_evalrun.suite.pairs import Dataset, Pair, PairKey, Task

NAMES = ("s", "a", "one")
NO_BOARD = "no board: b1: no answer"


def entry(status, skip=None):
    """Of a pair that was skipped the last time that its turn came."""
    pair = Pair("s", "/", Task("a", None, "/"), Dataset("one", "/one"), (), skip=skip)
    row = SummaryRow(*NAMES, None, PairKey(*NAMES), "skipped", {}, {}, None, (), None, skipped=NO_BOARD)
    return ListedPair(NAMES, pair, "evalrun.yaml::test_pair[a/one]", KnownPair(*NAMES, PairKey(*NAMES), status, row))


@pytest.mark.parametrize(
    ("status", "skip", "shown"),
    [
        ("skipped", None, f"skipped: {NO_BOARD}"),
        ("skipped", "too slow", "skipped: too slow"),
        ("running", None, "running"),
    ],
    ids=["in its turn", "by its suite", "then its turn came again"],
)
def test_who_is_skipped_says_why(status, skip, shown):
    """As it stands now: an older reason says nothing of a pair that runs."""
    assert flat([entry(status, skip)])[1].endswith(shown)
    assert to_json(entry(status, skip))["skip"] == (shown.removeprefix("skipped: ") if "skipped" in shown else None)
