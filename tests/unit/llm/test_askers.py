"""Who may have how many places: laws that hold whoever wants how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.llm.askers import divide


@pytest.mark.parametrize(
    ("limit", "wants", "shares"),
    [
        pytest.param(20, [99], [20], id="alone"),
        pytest.param(20, [99, 99], [10, 10], id="two that want all"),
        pytest.param(20, [99, 99, 99], [7, 7, 6], id="no equal parts"),
        pytest.param(20, [3, 99, 99], [3, 9, 8], id="one that wants little"),
        pytest.param(20, [0, 99], [0, 20], id="one that wants nothing"),
        pytest.param(2, [99, 99, 99], [1, 1, 0], id="more members than places"),
        pytest.param(20, [1, 2], [10, 10], id="more places than are wanted"),
        pytest.param(20, [], [], id="nobody"),
    ],
)
def test_shares(limit, wants, shares):
    """Places are divided alike among those that want them; what one does not want goes to the others."""
    assert divide(limit, wants) == shares


@given(st.integers(1, 60), st.lists(st.integers(0, 80), min_size=1, max_size=12))
def test_laws_of_shares(limit, wants):
    """All places are given; nobody lacks one while another has two more than that, but of what nobody wanted."""
    shares = divide(limit, wants)
    assert sum(shares) == limit
    lacking = [share for share, want in zip(shares, wants, strict=True) if share < want]
    if lacking:
        assert max(shares) <= min(lacking) + 1
        assert all(share <= want for share, want in zip(shares, wants, strict=True))
