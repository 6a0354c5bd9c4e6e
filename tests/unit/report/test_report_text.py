"""Numbers, names and columns as people read them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.report.text import columns, display_width, markdown, markdown_row, natural_key, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.97333333, "0.9733", id="share"),
        pytest.param(1.0, "1.000", id="one"),
        pytest.param(1, "1.000", id="whole number"),
        pytest.param(0.0, "0.000", id="zero"),
        pytest.param(-0.5, "-0.5000", id="negative"),
        pytest.param(24.5, "24.50", id="decibel"),
        pytest.param(1000.0, "1000", id="no trailing point"),
        pytest.param(123456.7, "123457", id="no exponent below a million"),
        pytest.param(12345678.0, "1.235e+07", id="exponent above"),
        pytest.param(0.0000123456, "1.235e-05", id="small"),
    ],
)
def test_numbers_have_four_digits(value, text):
    """People see four significant digits."""
    assert text == number(value)


def test_natural_order():
    """Numbers in names count as numbers, and case does not matter."""
    names = ["v1", "V2", "v2b", "v10", "w"]
    shuffled = random.Random(3).sample(names, len(names))
    assert names == sorted(shuffled, key=natural_key)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_names_can_be_ordered(names):
    """Any two names compare, and only equal names have equal keys."""
    keys = sorted(map(natural_key, names))
    assert len(set(names)) == len(set(keys))


def test_columns_align_by_display_width():
    """Wide letters count twice, combining ones not at all."""
    lines = columns([("模型", "1"), ("e\u0301", "20"), ("abcd", "3")], right=(1,))
    assert {8} == {display_width(line) for line in lines}
    assert lines[0] == "模型   1"


def test_columns_without_rows():
    """No rows make no lines."""
    assert columns([]) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("mlp_int8", "mlp_int8", id="underscore inside a word stays"),
        pytest.param("_a_", r"\_a\_", id="emphasis"),
        pytest.param("a|b", r"a\|b", id="pipe"),
        pytest.param("<b>&amp;", r"\<b\>\&amp;", id="html"),
        pytest.param("$(rm)", r"\$(rm)", id="dollar"),
        pytest.param("a\nb", r"a\\nb", id="newline"),
    ],
)
def test_markdown_shows_names_literally(name, text):
    """No name can change the table that it stands in."""
    assert text == markdown(name)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_markdown_rows_keep_their_cells(cells):
    """A row has as many unescaped pipes as its cells need."""
    row = markdown_row(cells)
    bare = row.replace("\\\\", "").replace("\\|", "")
    assert len(cells) + 1 == bare.count("|")
