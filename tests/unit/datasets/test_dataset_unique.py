from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.unique import LARGEST_BITMAP, SMALLEST_BITMAP, Repeats
from pytest_evalrun.errors import PairError


def check(ids, expected_bytes=0):
    repeats = Repeats(expected_bytes)
    repeats.add(ids)
    repeats.confirm(((sample_id, place) for place, sample_id in enumerate(ids)), "here")


@given(st.lists(st.text(max_size=3)))
def test_it_agrees_with_a_set(ids):
    """An id is refused exactly when it occurs twice."""
    if len(set(ids)) == len(ids):
        check(ids)
    else:
        with pytest.raises(PairError, match="two samples with the id"):
            check(ids)


def test_a_crowded_bitmap_is_slow_but_right():
    """Ids that are only suspected are cleared by the second pass; a repeat among them is found."""
    ids = [f"id{number}" for number in range(SMALLEST_BITMAP * 10)]
    check(ids)
    with pytest.raises(PairError, match=r"'id5': lines 5 and 40960"):
        check([*ids, "id5"])


def test_the_bitmap_is_bounded():
    """A file of a terabyte gets no more than the largest bitmap."""
    assert len(Repeats(1 << 40)._bits) == LARGEST_BITMAP
    assert len(Repeats(0)._bits) == SMALLEST_BITMAP
