"""Text in columns of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.monitor.renderer import ASCII, UNICODE, Renderer, duration, plain
from pytest_evalrun.report.text import display_width

TEXT = st.text(st.one_of(st.characters(), st.sampled_from("a任务é́…")), max_size=30)
PENS = st.sampled_from([Renderer(UNICODE, "utf-8"), Renderer(ASCII, "ascii")])


@given(PENS, st.lists(st.tuples(TEXT, st.sampled_from(["", "ok"])), max_size=5), st.integers(0, 40))
def test_a_fitted_line_fills_its_columns_exactly(renderer, pieces, width):
    """Whatever the text, wide and combining characters included."""
    line = renderer.fit(tuple((renderer.clean(text), style) for text, style in pieces), width)
    assert display_width("".join(text for text, _ in line)) == width


@given(PENS, TEXT, st.integers(0, 40))
def test_what_is_cut_is_no_wider_than_asked(renderer, text, width):
    """At its end or in its middle; what fits stays as it is."""
    text = renderer.clean(text)
    for shown in (renderer.cut(text, width), renderer.squeeze(text, width)):
        assert display_width(shown) <= width
        assert shown == text or display_width(text) > width


@given(PENS, st.text())
def test_nothing_that_is_shown_drives_the_terminal(renderer, text):
    """Control characters and line ends are escapes, and the encoding holds the rest."""
    shown = renderer.clean(text.encode("utf-8", "replace").decode())
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    shown.encode(renderer.encoding)


def test_a_name_keeps_both_its_ends():
    """Pairs of one suite begin alike, datasets of one kind end alike."""
    assert Renderer(UNICODE, "utf-8").squeeze("suite/long-model-name/dataset", 15) == "suite/l…dataset"
    assert Renderer(ASCII, "ascii").squeeze("suite/long-model-name/dataset", 4) == "sui~"


@pytest.mark.parametrize(
    ("encoding", "environ", "glyphs"),
    [
        ("utf-8", {}, UNICODE),
        ("utf-8", {"LC_ALL": "C"}, ASCII),
        ("latin-1", {}, ASCII),
        ("ascii", {}, ASCII),
        (None, {}, ASCII),
        ("no-such-encoding", {}, ASCII),
    ],
)
def test_signs_are_those_that_the_terminal_knows(encoding, environ, glyphs):
    """Without UTF-8 all of it is ASCII."""
    assert Renderer.of(encoding, environ).glyphs is glyphs


def test_ascii_signs_are_ascii():
    """Each of them in one column, as the others are."""
    assert "".join([*ASCII.status.values(), ASCII.skipped, ASCII.full, ASCII.rest, ASCII.cut, ASCII.keys]).isascii()
    for glyphs in (ASCII, UNICODE):
        assert {display_width(sign) for sign in glyphs.status.values()} == {1}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (11100, "3 h 05 min"), (187200, "2 d 4 h")],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    """No more digits than anybody wants to know."""
    assert duration(seconds) == text


def test_plain_text_has_no_trailing_space():
    """A line that was filled is as short as what it says."""
    renderer = Renderer(UNICODE, "utf-8")
    assert plain(renderer.fit((("one ", "ok"), ("two", "")), 20)) == "one two"
