"""JSON that may stand in a page between script tags, whatever it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from pytest_evalrun.suite.printable import printable

# To HTML these begin something, to JavaScript the last two end a line; in JSON they stand in texts alone.
_ESCAPES = tuple((sign.encode(), f"\\u{ord(sign):04x}".encode()) for sign in "<>&\u2028\u2029")
_MOST = 2**63


def safe_json(value: Any) -> bytes:
    """Encode a value on one line; NaN and infinity are null, what JSON does not know is its text."""
    return escaped(encoded_json(value))


def shown_json(value: Any) -> bytes:
    """The same with every text in it safe to show, for what most often is."""
    data = encoded_json(value)
    if not data.isascii() or b"\\" in data or b"\x7f" in data:  # JSON escapes all other controls
        data = encoded_json(shown(value))
    return escaped(data)


def encoded_json(value: Any) -> bytes:
    """The same where a page has no part in it: to be ``escaped`` before it gets there."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half a character, a number beyond 64 bits, a key that is no text, a mapping of another kind
        return orjson.dumps(_plain(value))


def escaped(data: bytes) -> bytes:
    """JSON, or several lines of it, without any sign that means something to HTML."""
    for sign, escape in _ESCAPES:
        if sign in data:
            data = data.replace(sign, escape)
    return data


def shown(value: Any) -> Any:
    """The same structure with every text in it safe to show."""
    if isinstance(value, str):
        return value if value.isprintable() else printable(value)
    if isinstance(value, dict):
        return {shown(str(key)): shown(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [shown(entry) for entry in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and -_MOST <= value < _MOST):
        return value
    return printable(str(value))
