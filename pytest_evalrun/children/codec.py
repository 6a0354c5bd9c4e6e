"""Values as JSON lines and back: what Python models are given and answer, and nothing that could run.

JSON's own values are as they are, with Python's NaN and Infinity. Everything else is an object with one key that
begins with ``$``: ``{"$path": "/a/b"}``, ``{"$array": ["<f4", [2, 2], "base64"]}``. A dict that looks like one of
these, or has keys that are no text, travels as its items, so nothing is ever mistaken.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import orjson

from pytest_evalrun.adapters.protocol import Detailed
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.lines import is_plain
from pytest_evalrun.suite.jsontext import MOST_LEVELS, parse_json, parse_line

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPTED = (
    "str, int, float, bool, None, bytes, lists, tuples and dicts of them, pathlib.Path, numpy arrays and scalars of "
    "numbers, text or times"
)
_JSON_TYPES = frozenset({str, int, float, bool, type(None)})
# What is told of a value stands in a message, and each of its levels may need three.
_MOST_LEVELS = 4 * MOST_LEVELS
# No key of ours, where a line has not this.
_OURS = b'"$'
# Of numpy's kinds, all whose bytes are the value: objects would be addresses, and a record loses its names.
_KINDS = frozenset("biufcSUmM")


def to_line(value: Any, *, plain: bool = False) -> bytes:
    """A value as one line. ``plain`` is for programs in any language: paths are text, tuples lists, scalars numbers.

    Raises PairError for a type that cannot travel.
    """
    if (line := _plain_line(value)) is not None:
        return line
    try:
        text = json.dumps(_encoded(value, plain=plain), separators=(",", ":"))
    except (RecursionError, ValueError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise PairError(f"a value that cannot be told to another process: {why}") from None
    return text.encode("ascii") + b"\n"


def _plain_line(value: Any) -> bytes | None:
    """Encode what has no value of ours by orjson; None where json must do it, whose lines are ASCII."""
    try:
        if not is_plain(value):
            return None
        line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, RecursionError):  # a key that is no text, a number beyond 64 bits, half a character
        return None
    return line if line.isascii() and _OURS not in line else None


def from_line(line: bytes) -> Any:
    """The value of a line. Raises ValueError where it is no JSON, or no value of ours."""
    if _OURS not in line:
        return parse_line(line, levels=_MOST_LEVELS)
    try:
        return parse_json(line, levels=_MOST_LEVELS, decode=partial(json.loads, object_hook=_revived))
    except (TypeError, LookupError) as error:
        raise ValueError(str(error)) from error


def _encoded(value: Any, *, plain: bool) -> Any:
    if type(value) in _JSON_TYPES:
        return value
    if isinstance(value, list | tuple):
        items = [_encoded(item, plain=plain) for item in value]
        return {"$tuple": items} if isinstance(value, tuple) and not plain else items
    if isinstance(value, Mapping):
        return _mapping(value, plain=plain)
    if isinstance(value, PurePath):
        return str(value) if plain else {"$path": str(value)}
    if isinstance(value, Detailed):
        return {"$detailed": [_encoded(value.prediction, plain=plain), _encoded(value.detail, plain=plain)]}
    if isinstance(value, bytes | bytearray):
        return {"$bytes": _base64(value)}
    return _foreign(value, plain=plain)


def _mapping(value: Mapping[Any, Any], *, plain: bool) -> Any:
    texts = all(isinstance(key, str) for key in value)
    if texts and not (len(value) == 1 and next(iter(value)).startswith("$")):
        return {str(key): _encoded(entry, plain=plain) for key, entry in value.items()}
    return {"$items": [[_encoded(key, plain=plain), _encoded(entry, plain=plain)] for key, entry in value.items()]}


def _foreign(value: Any, *, plain: bool) -> Any:
    """Arrays of numpy and of what is like it (a tensor, a column); subclasses of JSON's types."""
    if hasattr(value, "ndim") and hasattr(value, "tolist"):
        return _array(value, plain=plain)
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise PairError(f"{type(value).__name__} cannot be told to another process; accepted: {ACCEPTED}")


def _array(value: Any, *, plain: bool) -> Any:
    import numpy as np

    if isinstance(value, np.generic):
        if plain:
            return _encoded(value.item(), plain=plain)
        return {"$scalar": [_dtype(value), _base64(value.tobytes())]}
    if value.ndim < 2 and (not isinstance(value, np.ndarray) or value.dtype.kind == "O"):
        return _encoded(value.tolist(), plain=plain)
    array = np.asarray(value)
    return {"$array": [_dtype(array), list(array.shape), _base64(array.tobytes())]}


def _dtype(value: Any) -> str:
    if value.dtype.kind not in _KINDS:
        raise PairError(f"an array of {value.dtype} cannot be told to another process; accepted: {ACCEPTED}")
    return str(value.dtype.str)


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


def _revived(found: dict[str, Any]) -> Any:
    """Called from the innermost object outwards."""
    if len(found) == 1:
        ((key, value),) = found.items()
        if key in _REVIVE:
            return _REVIVE[key](value)
    return found


def _revive_detailed(parts: Any) -> Detailed:
    prediction, detail = parts
    return Detailed(prediction, dict(detail))


def _revive_array(parts: Any) -> Any:
    import numpy as np

    dtype, shape, data = parts
    if np.dtype(dtype).kind not in _KINDS:
        raise ValueError(f"an array of {dtype}")
    return np.ndarray(tuple(shape), np.dtype(dtype), bytearray(_bytes(data)))


def _revive_scalar(parts: Any) -> Any:
    dtype, data = parts
    return _revive_array((dtype, (), data))[()]


def _bytes(text: Any) -> bytes:
    return base64.b64decode(text, validate=True)


_REVIVE: dict[str, Callable[[Any], Any]] = {
    "$path": Path,
    "$detailed": _revive_detailed,
    "$bytes": _bytes,
    "$tuple": tuple,
    "$items": dict,
    "$array": _revive_array,
    "$scalar": _revive_scalar,
}
