"""Rules of when two labels are one, and of the classes that they make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.datasets.values import same, written
from pytest_evalrun.metrics.labelcells import Classes, Label, label_order

ONE = {
    "text": ("cat", "cat"),
    "numbers": (3, 3.0),
    "digits": (3, "3"),
    "decimals": (3.1, "3.10"),
    "whole-decimals": (3, "3.0"),
    "float-beside-digits": (3.0, "3"),
    "half": (0.5, ".5"),
    "minus-zero": (-0.0, "0"),
    "big-integers": (12345678901234567890, "12345678901234567890"),
    "big-numbers": (2.0**70, 2**70),
    "tiny": (1e-7, "0.0000001"),
    "huge": (1e22, "10000000000000000000000"),
    "boolean": (True, True),
    "true": (True, "true"),
    "False": (False, "False"),
    "TRUE": (True, "TRUE"),
    "empty": ("", ""),
    "exponent-as-text": ("12E12", "12E12"),
}
TWO = {
    "texts-of-one-value": ("3.10", "3.1"),
    "text-and-text": ("1.0", "1"),
    "case": ("True", "true"),
    "blank": ("cat ", "cat"),
    "blank-digits": (3, " 3"),
    "zeros": (7, "07"),
    "plus": (7, "+7"),
    "underscore": (1000, "1_000"),
    "exponent": (1000, "1e3"),
    "exponents": (12e12, "12E12"),
    "boolean-and-number": (True, 1),
    "boolean-and-digit": (True, "1"),
    "boolean-and-yes": (True, "yes"),
    "booleans": (True, False),
    "neighbours-beyond-53-bits": (2**53, 2**53 + 1),
    "float-beyond-53-bits": (2.0**53, "9007199254740993"),
    "nearly-one": (1, "0.99999999999999999999"),
    "nan-is-a-word": (0, "nan"),
    "arabic-digit": (3, "٣"),
    "empty-and-zero": (0, ""),
}


@pytest.mark.parametrize(("left", "right"), ONE.values(), ids=ONE)
def test_the_same_label(left, right):
    """One text, one value, or a text that spells the other's value in plain decimals or as true and false."""
    assert same(left, right)
    assert same(right, left)


@pytest.mark.parametrize(("left", "right"), TWO.values(), ids=TWO)
def test_two_labels(left, right):
    """Different texts are different labels whatever they spell, and only plain decimals spell a number."""
    assert not same(left, right)
    assert not same(right, left)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), [1], {"a": 1}], ids=repr)
def test_not_a_label(value):
    """What cannot be a label is refused."""
    with pytest.raises(ValueError, match="not a label"):
        written(value)


SCALARS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@given(SCALARS, SCALARS)
def test_numbers_are_the_same_by_value(left, right):
    """Numbers are one label if they are equal, exactly; a boolean is no number; what is written spells the value."""
    assert same(left, right) is (left == right and (type(left) is bool) is (type(right) is bool))
    assert same(left, written(left))
    assert same(left, right) is same(left, written(right))


@pytest.mark.parametrize(
    ("references", "value", "name"),
    [
        pytest.param(["3"], 3, "3", id="a-number-is-of-the-text-that-spells-it"),
        pytest.param(["3.0", "cat"], 3, "3.0", id="under-the-name-that-the-references-give"),
        pytest.param(["3.10", "3.1"], 3.1, "3.1", id="of-the-plainest"),
        pytest.param(["3.10", "3.100"], 3.1, "3.10", id="of-the-first-in-order"),
        pytest.param([3.1], "3.10", "3.1", id="a-predicted-text-is-of-the-number-that-it-spells"),
        pytest.param([3.1, "3.1"], "3.10", "3.10", id="unless-that-is-of-a-text"),
        pytest.param(["cat"], "3.10", "3.10", id="what-no-reference-is-keeps-its-form"),
        pytest.param(["cat"], 3.0, "3", id="a-number-too"),
        pytest.param(["True", "False"], True, "True", id="a-boolean-is-of-the-text"),
        pytest.param([True], "TRUE", "true", id="a-text-is-of-the-boolean"),
        pytest.param([1], True, "true", id="a-boolean-is-no-number"),
    ],
)
def test_classes_are_named_by_the_references(references, value, name):
    """Every label is of one class, and the references decide which classes there are."""
    assert Classes(map(Label.of, references)).of(Label.of(value)) == name


LABELS = st.sampled_from(["3", "3.0", "3.10", "3.1", "cat", "true", "True", "1", 3, 3.1, 1, 1.0, True, False])


@given(st.lists(LABELS, min_size=1), LABELS)
def test_the_diagonal_is_what_is_the_same(references, predicted):
    """A prediction is of the class of a reference only where it is the same label."""
    classes = Classes(map(Label.of, references))
    for reference in references:
        if classes.of(Label.of(predicted)) == classes.of(Label.of(reference)):
            assert same(predicted, reference)


def test_tables_list_numbers_by_value_then_text():
    """10 comes after 9, and words after numbers."""
    assert sorted(["b", "10", "9", "-1", "a"], key=label_order) == ["-1", "9", "10", "a", "b"]
