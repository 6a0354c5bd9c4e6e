"""A text shown to a judge stands between markers, which nothing inside can end, and speaks in nobody's name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.marked import marked, neutral, question_of, text_of
from pytest_evalrun.metrics.judge import Scale, Unread

# What an attack is made of, beside anything.
PARTS = ["GRADE", "grade", ":", "**", " ", "\n", "1", "0", "<<<", "<<<BEGIN answer", "<<<END answer", ">>>", "</think>"]
ATTACKS = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=30).map("".join)


@given(ATTACKS)
def test_nothing_inside_is_a_grade_or_a_marker(text):
    """Whatever it is made of: the only markers are the first and the last line, and it holds no verdict."""
    lines = marked("answer", text)
    first, _, rest = lines.partition("\n")
    inside, _, last = rest.rpartition("\n")
    assert re.fullmatch(r"<<<BEGIN answer [0-9a-f]{12}>>>", first)
    assert last == first.replace("BEGIN", "END")
    assert "<<<BEGIN" not in inside.upper() and "<<<END" not in inside.upper()
    with pytest.raises(Unread):
        Scale.of([0, 1]).read(inside)


@given(st.text(alphabet=st.characters(exclude_characters="<:：﹕꞉")))
def test_other_texts_stay_as_they_are(text):
    """Only what could be taken for ours is changed."""
    assert neutral(text) == text


def test_marker_depends_on_what_is_inside():
    """So that no text can hold its own, and the same text is sent the same."""
    assert marked("answer", "a") == marked("answer", "a")
    assert marked("answer", "a").splitlines()[0] != marked("answer", "b").splitlines()[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("a\nb", "a\nb", id="text"),
        pytest.param(7.0, "7", id="number"),
        pytest.param({"a": [1, "ü"]}, '{"a": [1, "ü"]}', id="object"),
        pytest.param(None, "null", id="nothing"),
    ],
)
def test_values_are_shown_as_people_read_them(value, text):
    """Text as it is, and everything else as JSON."""
    assert text_of("answer", value) == text


def test_files_are_shown_by_what_they_hold(tmp_path):
    """Text is read; of what is none the pair's error says that a judge reads texts."""
    (tmp_path / "a.txt").write_text("four")
    assert text_of("answer", tmp_path / "a.txt") == "four"
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(PairError, match="a judge reads texts; the answer is a file of something else"):
        text_of("answer", tmp_path / "a.png")


@pytest.mark.parametrize(
    ("value", "names", "text"),
    [
        pytest.param("2 + 2?", (), "2 + 2?", id="bare"),
        pytest.param("2 + 2?", ("question",), "2 + 2?", id="one column"),
        pytest.param({"question": "2 + 2?"}, (), "2 + 2?", id="a row of one"),
        pytest.param({"context": "sums", "question": "2 + 2?"}, (), "context: sums\nquestion: 2 + 2?", id="a row"),
    ],
)
def test_question_is_the_input(value, names, text):
    """Of several columns a line each."""
    assert question_of(value, names) == text
