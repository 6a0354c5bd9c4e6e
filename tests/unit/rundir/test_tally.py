"""Which answers are there, of places that nobody has counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.rundir.tally import SparseTally

# Beside each other, at the edges of a part, and as far away as an edited file may say.
PLACES = st.integers(0, 40) | st.sampled_from([65535, 65536, 131071, 131072, 10**18])


@given(st.lists(st.tuples(PLACES, st.booleans())), PLACES)
def test_a_sparse_tally_knows_what_the_last_line_of_each_place_said(lines, other):
    """Whatever the places are; of those without a line it knows nothing."""
    tally, last = SparseTally(), dict[int, bool]()
    for place, ok in lines:
        tally.note(place, ok)
        last[place] = ok
    for place in {*last, other}:
        assert (tally.is_seen(place), tally.is_done(place)) == (place in last, last.get(place, False))
