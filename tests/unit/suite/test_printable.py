"""Text that is safe to show: nothing that a model, a board or a file name says drives a terminal."""

from __future__ import annotations

import json
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.suite.printable import as_typed, counted, first_of, one_line, printable, printable_json

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
RED = "\x1b[31mred\x1b[0m"


def drives(letter):
    """What a terminal obeys, by Unicode's own properties, and halves of characters, which it cannot be sent."""
    return unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(letter) in BIDI


@given(st.text(st.characters() | st.sampled_from("\x1b\x07\x9b\r\n\t\u202e\u2066\u2069\u200f\ud800")))
def test_nothing_that_is_shown_drives_a_terminal(text):
    """By whatever way it is shown: no control, no separator, nothing that turns the direction; all of it is UTF-8."""
    for shown, kept in ((printable(text), "\n\t"), (one_line(text), ""), (printable_json([text]), "\n")):
        assert not [letter for letter in shown if drives(letter) and letter not in kept]
        shown.encode()


@given(st.text(st.characters(categories=("L", "N", "P", "S", "M"))))
def test_text_stays_as_it_is(text):
    """Letters of all scripts, signs and marks."""
    assert printable(text) == text == one_line(text)


@pytest.mark.parametrize(
    ("text", "lines", "line"),
    [
        ("a\x1b[2Jb\x07", "a\\x1b[2Jb\\x07", "a\\x1b[2Jb\\x07"),
        ("ok\u202egnp.exe", "ok\\u202egnp.exe", "ok\\u202egnp.exe"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f", "\\x9b31m\\x7f"),
        ("a\n\tb", "a\n\tb", "a\\n\\tb"),
        ("a\r\nb", "a\nb", "a\\r\\nb"),
        ("10 %\r20 %", "10 %\n20 %", "10 %\\r20 %"),
        ("caf\udce9", "caf\\udce9", "caf\\udce9"),
    ],
    ids=["escape", "direction", "C1", "lines", "CRLF", "progress bar", "no UTF-8"],
)
def test_what_is_escaped(text, lines, line):
    """Lines and tabs stay lines and tabs; a carriage return ends a line, and writes over none."""
    assert (printable(text), one_line(text)) == (lines, line)


def test_one_line_of_json_values():
    """Everything but text is shown as JSON."""
    assert one_line({"a": [1, None]}) == '{"a": [1, null]}'


def test_colours_of_pytest_stay():
    """And only those: what moves the cursor or sets the title is an escape all the same."""
    assert printable(f"{RED}\x1b[2J\x1b]0;t\x07", colours=True) == f"{RED}\\x1b[2J\\x1b]0;t\\x07"
    assert "\x1b" not in printable(RED)


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_means_what_it_meant(value):
    """Programs read from it exactly what was written."""
    assert json.loads(printable_json(value)) == value


@pytest.mark.parametrize("word", ["a\x1b[2Jb", "it's\ttwo\nlines\\", "\u202eabc é 任务", "caf\udce9"])
def test_a_word_to_paste_is_the_word(word):
    """What a shell makes of it is what was meant; it stands on one line, and nothing in it drives the terminal."""
    typed = as_typed(word)
    assert not [letter for letter in typed if drives(letter)]
    script = f"printf %s $'{typed}'".encode()
    told = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    assert told == word.encode(errors="surrogateescape")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (counted(1, "pair"), "1 pair"),
        (counted(0, "pair"), "0 pairs"),
        (counted(2, "work directory", "work directories"), "2 work directories"),
        (first_of(["a", "b"], 2), "a, b"),
        (first_of(["a", "b", "c"], 2), "a, b and 1 more"),
    ],
)
def test_counts_are_words_of_a_sentence(text, shown):
    """One thing is no plural, and a list says how many it leaves out."""
    assert text == shown
