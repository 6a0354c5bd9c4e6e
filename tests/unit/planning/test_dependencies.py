"""What waits for others starts when the last of them has ended, once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.planning.dependencies import Dependencies

KEYS = st.integers(0, 9)


@given(st.dictionaries(st.integers(100, 109), st.sets(KEYS)), st.lists(KEYS))
def test_each_place_is_free_when_the_last_of_its_keys_has_ended(after, ends):
    """Whatever the order, and however often a key ends; never earlier, never twice."""
    later = Dependencies(after)
    freed, over = [place for place in after if place not in later], set()
    for key in ends:
        over.add(key)
        freed += later.over([key])
        assert sorted(freed) == sorted(place for place, keys in after.items() if keys <= over)
        assert bool(later) == (len(freed) < len(after))


def test_what_waits_for_several_that_end_at_once_is_free_once():
    """A module may end with all its tests."""
    assert Dependencies({7: [1, 2]}).over([1, 2]) == [7]


def test_all_that_is_left_can_be_freed():
    """Two that wait for each other would wait for ever."""
    later = Dependencies({1: [2], 2: [1], 3: []})
    assert later.rest() == [1, 2]
    assert not later
    assert later.over([1, 2]) == []
