"""Text of a table cell as a value, and digests made of several words."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

# "007" and "1_000" are names, not numbers; nan and inf are words of some language.
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


def parse_cell(text: str) -> str | int | float:
    """The number that a text spells, else the text: ``7`` and ``0.5`` are numbers, ``007`` and ``nan`` are not."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def digest_of(*words: Any) -> str:
    """One sha256 over builtins."""
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
