"""Rules of when two class labels are one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.metrics.labels import canonical_label, label_order


@pytest.mark.parametrize(
    ("value", "label"),
    [
        pytest.param(7, "7", id="int"),
        pytest.param(7.0, "7", id="integral-float"),
        pytest.param("7", "7", id="digits"),
        pytest.param("07", "07", id="leading-zero-stays-text"),
        pytest.param(-1, "-1", id="negative"),
        pytest.param(-0.0, "0", id="minus-zero"),
        pytest.param(True, "1", id="true-is-one"),
        pytest.param("猫 $(x)", "猫 $(x)", id="text"),
        pytest.param("", "", id="empty-text"),
    ],
)
def test_label(value, label):
    """Numbers, integral floats and their digits are one label; all other text stays as it is."""
    assert canonical_label(value) == label


@pytest.mark.parametrize("value", [None, 0.5, float("nan"), float("inf"), [1], {"a": 1}], ids=repr)
def test_not_a_label(value):
    """What cannot be a class label is refused."""
    with pytest.raises(ValueError, match="not a class label"):
        canonical_label(value)


@given(st.integers(-(2**53), 2**53))
def test_numbers_and_their_digits_are_one(number):
    """An int, the float of it and its digits are the same label, for every int that a float can hold."""
    assert canonical_label(number) == canonical_label(str(number)) == canonical_label(float(number))


def test_tables_list_numbers_by_value_then_text():
    """10 comes after 9, and words after numbers."""
    assert sorted(["b", "10", "9", "-1", "a"], key=label_order) == ["-1", "9", "10", "a", "b"]
