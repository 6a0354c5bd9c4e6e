"""JSON of others: what is read, what is refused, and that nothing of it is more than a ValueError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.suite.jsontext import MOST_LEVELS, TooDeep, parse_json, parse_line, parse_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['[{"', "\\", '\\"', "]" * 300, "\ud83d"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def levels_of(value):
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(levels_of, parts), default=0)


@given(VALUES, st.booleans())
def test_depth_is_counted_exactly(value, as_bytes):
    """Brackets in texts are none; a value is read at its own number of levels, and refused at one less."""
    text = json.dumps(value, ensure_ascii=as_bytes)
    text = text.encode() if as_bytes else text
    levels = levels_of(value)
    assert parse_json(text, levels=levels) == value
    if levels:
        with pytest.raises(TooDeep):
            parse_json(text, levels=levels - 1)


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 1_000, 100_000])
@pytest.mark.parametrize("piece", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ("[", "")], ids=str)
def test_too_deep_is_a_value_error(piece, levels):
    """Whether it is beyond our limit, Python's or the machine's, and whether it ends or not."""
    opening, closing = piece
    for text in (opening * levels + "1" + closing * levels, (opening * levels + "1" + closing * levels).encode()):
        with pytest.raises(ValueError):
            parse_json(text)


def test_many_brackets_are_not_deep():
    """A list of boxes has more brackets than anybody counts, and three levels."""
    boxes = {"boxes": [[1, 2, 3, 4]] * 5_000}
    assert parse_json(json.dumps(boxes)) == boxes


NUMBERS = st.integers() | st.integers(-(10**30), 10**30) | st.floats() | st.sampled_from([2**63, 2**64, -(2**63) - 1])
ANY_VALUES = st.recursive(
    NUMBERS | st.none() | st.booleans() | st.text() | st.text(st.characters(categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANY_VALUES, st.booleans())
def test_lines_of_ours_are_read_as_json_reads_them(value, ascii_only):
    """Whoever reads them: numbers of thirty digits, NaN, and half a character as json has written it, too."""
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "backslashreplace")
    assert repr(parse_line(raw)) == repr(json.loads(raw))


@pytest.mark.parametrize(
    "raw", [b"", b"[1,", b'{"a":1}}', b'{"a":01}', b'"\xff"', b"[" * 500 + b"]" * 500, b"{'a': 1}", b'"\xed\xa0\x80"']
)
def test_damaged_lines_of_ours_are_value_errors(raw):
    """Torn, not UTF-8, or nested deeper than anybody reads."""
    with pytest.raises(ValueError):
        parse_line(raw)


@given(st.lists(ANY_VALUES, min_size=1, max_size=4), st.booleans())
def test_lines_at_once_are_what_each_is(values, ascii_only):
    """Or nothing is said of them, and each is looked at by itself."""
    raws = [json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "backslashreplace") + b"\n" for value in values]
    found = parse_lines(raws)
    assert found is None or repr(found) == repr([parse_line(raw) for raw in raws])


@pytest.mark.parametrize(
    "raws",
    [
        [b'{"a":1}\n', b'{"a":2}'],
        [b'{"a":1\n', b'"b":2}\n'],
        [b"1\n", b"[" * 250 + b"]" * 250 + b"\n"],
        [b"1\n", b"1" * 30 + b"\n"],
        [b"NaN\n"],
        [b"\n"],
        [b'"\xff"\n'],
    ],
)
def test_nothing_is_said_of_lines_of_which_one_is_odd(raws):
    """Torn in two, deep, a number of many digits: the careful reader decides."""
    assert parse_lines(raws) is None


def test_sound_lines_are_read_at_once():
    """Those of nearly every file."""
    assert parse_lines([b'{"a":1}\n', b" [2]\n"]) == [{"a": 1}, [2]]
