"""Rules of Tango's interval and of the p-value beside it."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_evalrun.stats.tango import tango_interval

CONFIDENCES = st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999])


@st.composite
def tables(draw, most=10**7):
    """n, lost and won of any comparison."""
    n = draw(st.integers(1, most))
    lost = draw(st.integers(0, n))
    return n, lost, draw(st.integers(0, n - lost))


@given(tables(), CONFIDENCES)
@example((1, 0, 0), 0.95)
@example((1, 1, 0), 0.95)
@example((10**7, 10**7, 0), 0.999)
@example((10**7, 0, 0), 0.8)
@example((10**7, 5 * 10**6, 5 * 10**6), 0.95)
def test_interval_holds_the_difference_and_has_a_width(table, confidence):
    """It lies within [-1, 1] and around the difference, and is never a point, not even where nothing flipped."""
    n, lost, won = table
    low, high = tango_interval(n, lost, won, confidence)
    assert -1 <= low <= (won - lost) / n <= high <= 1
    assert low < high
