"""Values there and back: nothing is lost, nothing is mistaken, nothing can run."""

from __future__ import annotations

import base64
import enum
import json
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.children.codec import from_line, to_line
from pytest_evalrun.errors import PairError

KEYS = st.text() | st.sampled_from(["$path", "$bytes", "$array", "$scalar", "$tuple", "$items", "$", "path"])
LEAVES = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text() | st.binary()
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(Path)
VALUES = st.recursive(
    LEAVES | PATHS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.builds(Detailed, inner, st.dictionaries(KEYS, inner))
        | st.dictionaries(KEYS, inner)
        | st.dictionaries(st.integers() | st.booleans() | st.none() | st.text(), inner)
    ),
    max_leaves=20,
)
DTYPES = (
    hnp.integer_dtypes()
    | hnp.unsigned_integer_dtypes()
    | hnp.floating_dtypes(sizes=(16, 32, 64))
    | hnp.complex_number_dtypes()
    | hnp.boolean_dtypes()
    | hnp.unicode_string_dtypes()
    | hnp.byte_string_dtypes()
    | hnp.datetime64_dtypes()
)


def there_and_back(value, **how):
    return from_line(to_line(value, **how))


def same(one, other):
    """Equal, and of the same types: 1, 1.0 and True are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(
            same(a, b) for a, b in zip(one.values(), other.values(), strict=True)
        )
    if isinstance(one, Detailed):
        return same(one.prediction, other.prediction) and same(one.detail, other.detail)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@given(VALUES)
def test_every_value_comes_back(value):
    """Whatever a dict looks like, it is the same dict on the other side."""
    assert same(there_and_back(value), value)


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_every_array_comes_back(array):
    """Type, shape and each byte, whatever the order of its bytes; it can be written to."""
    found = there_and_back([array])[0]
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert found.flags.writeable


@given(hnp.from_dtype(np.dtype("f4")) | hnp.from_dtype(np.dtype("i8")) | hnp.from_dtype(np.dtype("?")))
def test_every_scalar_comes_back(scalar):
    """With its type, NaN included."""
    found = there_and_back(scalar)
    assert (type(found), found.tobytes()) == (type(scalar), scalar.tobytes())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0])
def test_odd_floats_come_back(value):
    """JSON as Python speaks it knows them."""
    assert repr(there_and_back(value)) == repr(value)


def test_a_line_is_one_line():
    """Whatever is in it: text of any script, newlines, names of files that are no text."""
    odd = "数据\n\udcff\u2028"
    line = to_line({"type": odd})
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert from_line(line) == {"type": odd}


class Color(enum.IntEnum):
    RED = 1


class Tensor:
    """As torch has it: not numpy's, but like it."""

    def __init__(self, values):
        self._values = np.array(values)
        self.ndim = self._values.ndim

    def tolist(self):
        return self._values.tolist()

    def __array__(self, *_, **__):
        return self._values


RELATED = {
    "enum": (Color.RED, 1),
    "mapping": (MappingProxyType({"a": 1}), {"a": 1}),
    "bytearray": (bytearray(b"a"), b"a"),
    "pure path": (PurePosixPath("a"), Path("a")),
    "tensor": (Tensor([1, 2]), [1, 2]),
    "scalar tensor": (Tensor(1.5), 1.5),
    "objects in a row": (np.array(["a", 1, None], dtype=object), ["a", 1, None]),
}


@pytest.mark.parametrize(("value", "expected"), RELATED.values(), ids=RELATED)
def test_relatives_travel_as_what_they_are_like(value, expected):
    """Subclasses and what behaves like a known type."""
    assert same(there_and_back(value), expected)


def test_a_tensor_of_pixels_is_an_array():
    """Images come back as numpy's arrays."""
    assert np.array_equal(there_and_back(Tensor([[1, 2], [3, 4]])), [[1, 2], [3, 4]])


REFUSED = {
    "object": (object(), "object cannot be told to another process; accepted: str, int"),
    "set": ({1}, "set cannot"),
    "class": (Color, "EnumType cannot"),
    "within": ([{"a": (1j,)}], "complex cannot"),
    "array of objects": (np.empty((1, 1), dtype=object), "an array of object cannot"),
    "records": (np.zeros(1, dtype=[("a", "i4")]), "cannot"),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_other_types_are_refused(value, message):
    """The type is named, and what is accepted; nothing is ever pickled."""
    with pytest.raises(PairError, match=message):
        to_line(value)


def test_what_holds_itself_is_refused():
    """It would never end."""
    value = []
    value.append(value)
    with pytest.raises(PairError, match="nested too deeply"):
        to_line(value)


def test_plain_values_for_other_languages():
    """Paths are text, tuples lists and scalars numbers."""
    line = to_line({"input": Path("/a b"), "pair": (1, np.float32(0.5))}, plain=True)
    assert json.loads(line) == {"input": "/a b", "pair": [1, 0.5]}


BROKEN = {
    "no JSON": b"hello",
    "nothing": b"",
    "no text": b'"\xff"',
    "path": b'{"$path": 5}',
    "base64": b'{"$bytes": "%"}',
    "no base64": b'{"$bytes": 1}',
    "array": b'{"$array": 1}',
    "shape": b'{"$array": ["<f4", [3], "AAAA"]}',
    "items": b'{"$items": [1]}',
    "detailed": b'{"$detailed": ["a", 5]}',
    "objects": b'{"$array": ["O", [1], "' + base64.b64encode(bytes(8)) + b'"]}',
    "list as key": b'{"$items": [[[], 1]]}',
    "depth": b"[" * 100_000,
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_broken_lines_are_told(line):
    """All by one error, and an array of addresses is never made."""
    with pytest.raises(ValueError):
        from_line(line)
