"""Values of tables: what a text spells, when two values are the same, and digests made of several words.

A cell of CSV is text, and stays it until something asks for a number. So the same label may be text here and a number
there: :func:`same` is the one rule for that, :func:`written` and :func:`spelled` are its two halves.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import PairError
from pytest_evalrun.suite.csvtext import twice
from pytest_evalrun.suite.jsontext import MOST_LEVELS, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.suite.pairs import Dataset
    from pytest_evalrun.suite.settings import Settings

# "007" and "1_000" are names, 1e3 is a formula; nan and inf are words of some language.
_PLAIN = re.compile(r"(-?)(0|[1-9][0-9]*|(?=\.[0-9]))(?:\.([0-9]*))?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
# As people write numbers: thousands by commas, a currency before, a minus of their own; not what is part of a word.
_IN_TEXT = re.compile(
    r"(?<![\w.])(?:(?P<sign>[-+\u2212])?[$\u20ac\u00a3\u00a5]?|[$\u20ac\u00a3\u00a5](?P<inner>[-+\u2212]))"
    r"(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(?P<exponent>[eE][+-]?[0-9]+)?",
)
# What every number in a text begins with, so that most of a text is passed quickly.
_DIGITS_IN_TEXT = re.compile(r"[0-9](?:[0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ENDS = ("\n", "", "\r\n")
_FEW = 50  # brackets: so many are never too deep
_BEFORE_COLON = ('":', " :", "\t:", "\r:", "\n:")
_BOOLEANS = {"true": True, "false": False}


def same(left: Any, right: Any) -> bool:
    """Tell whether two labels are one.

    They are if both are the same text; both numbers of the same value; one a number and the other a text that spells
    its value in plain decimals (``3`` and ``"3"``, 3.1 and ``"3.10"``); both the same boolean, or one a boolean and the
    other ``true`` or ``false`` in any case. So two different texts never are, whatever they spell.

    Raises ValueError for what is no label.
    """
    if type(left) is str:
        return left == right if type(right) is str else spelled(left) == written(right)
    return spelled(right) == written(left) if type(right) is str else written(left) == written(right)


def written(value: Any) -> str:
    """A text as it is, a boolean as ``true`` or ``false``, a number in plain decimals: ``3`` of 3 and 3.0.

    Numbers are the same if, and only if, this is. Raises ValueError for anything else, NaN and infinity included.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return str(value).lower()
    if kind is int or (kind is float and value.is_integer()):
        return str(int(value))
    if kind is float and math.isfinite(value):
        text = repr(value)
        return text if "e" not in text else _without_exponent(text)
    raise ValueError("not a label")


def spelled(text: str) -> str | None:
    """Write the number or boolean that a text spells as :func:`written` does; None where it spells neither."""
    if (lower := text.lower()) in _BOOLEANS:
        return lower
    if not (found := _PLAIN.fullmatch(text)):
        return None
    sign, whole, fraction = found[1], found[2] or "0", found[3] or ""
    if not fraction.strip("0"):
        return whole if whole == "0" else sign + whole
    number = float(text)
    # Digits that a float cannot hold spell no float.
    return None if number.is_integer() or math.isinf(number) else written(number)


def _without_exponent(text: str) -> str:
    from decimal import Decimal

    return format(Decimal(text), "f")


def number_of(text: str) -> int | float | None:
    """The number that a text spells for whoever needs one, ``1e3`` and ``007`` too; None where it is no finite one."""
    text = text.strip()
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
    except ValueError:  # thousands of digits
        return None
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return None


def last_number(text: str) -> int | float | None:
    """The last number in a text, as people write them: ``1,234.5``, ``-3``, ``$5``, ``40%`` (40); None without one."""
    for start in reversed([match.start() for match in _DIGITS_IN_TEXT.finditer(text)]):
        for before in (3, 2, 1, 0):  # a sign, a currency, a point
            found = _IN_TEXT.match(text, start - before) if start >= before else None
            if found is not None and found.end() > start >= found.start("number"):
                return _number_of_match(found)
    return None


def human_number(text: str) -> int | float | None:
    """The number that a whole text is, as people write them: ``1,000`` is 1000, ``50%`` is 0.5; None for others."""
    text = text.strip()
    share = text.endswith("%")
    found = _IN_TEXT.fullmatch(text.removesuffix("%").rstrip(" .") if share else text.rstrip("."))
    number = None if found is None else _number_of_match(found)
    return number / 100 if share and number is not None else number


def _number_of_match(found: re.Match[str]) -> int | float | None:
    negative = (found["sign"] or found["inner"] or "+") in "-\u2212"
    number = number_of(found["number"].replace(",", "") + (found["exponent"] or ""))
    return -number if negative and number is not None else number


def _integer_of(text: str) -> int | None:
    number = number_of(text)
    return number if isinstance(number, int) else None


def _boolean_of(text: str) -> bool | None:
    return _BOOLEANS.get(text.strip().lower())


# How a cell is read for each kind of value that `types` of a reader may name, and what is accepted.
_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "number": (number_of, "a number such as 7, 0.5 or 1e3"),
    "integer": (_integer_of, "a whole number"),
    "boolean": (_boolean_of, "true, false"),
}


def read_cell(text: str, kind: str, where: str) -> Any:
    """A cell as the kind of value that ``types`` names: ``text`` as it is, any other None where the cell is empty.

    Raises PairError, beginning with ``where``, for a cell that is none.
    """
    if kind == "text":
        return text
    parse, accepted = _PARSERS[kind]
    value = parse(text)
    if value is None and text.strip():
        raise PairError(f"{where}: found {text[:80]!r}; accepted: {accepted}")
    return value


def delimiter_of(path: Path, dataset: Dataset, settings: Settings) -> str:
    """Return what stands between the cells of a table: as ``reader`` says, else a tab in a ``.tsv``, else a comma."""
    delimiter = settings.reader.get("delimiter", "\t" if path.suffix.lower() == ".tsv" else ",")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise PairError(f"dataset {dataset.name}: reader: delimiter is {delimiter!r}; accepted: one character")
    return delimiter


def columns_found(names: Sequence[str], delimiter: str) -> str:
    """The columns of a table, for whoever misses one: a single one may be all of them, with another delimiter."""
    alone = f" (the delimiter is {delimiter!r}; another by reader: {{delimiter: ...}})" if len(names) == 1 else ""
    return f"columns: {', '.join(names) or 'none'}{alone}"


def check_types(path: Path, names: Sequence[str], types: Mapping[str, str], delimiter: str) -> None:
    """Raises PairError where ``types`` speaks of a column that the table does not have."""
    for name in types:
        if name not in names:
            raise PairError(f"{path}:1: reader.types: no column {name!r}; {columns_found(names, delimiter)}")


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"the key {twice([key for key, _ in pairs])!r} stands there twice")
    return made


def _has_each_key_once(row: dict[str, Any], text: str) -> bool:
    """True where an object has as many keys as there can be colons behind a key; False where that proves nothing."""
    return len(row) == text.count(":") or len(row) == sum(map(text.count, _BEFORE_COLON))


_EACH_KEY_ONCE = json.JSONDecoder(object_pairs_hook=_object_of)
_PLAINLY = json.JSONDecoder()


def from_json(text: str) -> Any:
    """Parse a line of JSON; a key that stands twice, of which json by itself drops all but the last, is an error.

    Raises ValueError with the column alone, for whoever calls knows the line; and as :func:`parse_json` does.
    """
    if text.count("{") == 1 and text.count("[") < _FEW:  # most rows: without the hook in half the time
        try:
            value, end = _PLAINLY.raw_decode(text)
            if type(value) is dict and text[end:] in _ENDS and _has_each_key_once(value, text):
                return value
        except ValueError:
            pass  # it is told below
    try:
        return parse_json(text, decode=_EACH_KEY_ONCE.decode)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} (column {error.pos + 1})") from None


def flaw_of(value: Any) -> str:
    """Say why a reference could not be kept, as what it is and where: ``NaN at .boxes.0``; empty for most."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    waiting: list[tuple[str, int, Any]] = [("", 1, value)] if isinstance(value, dict | list | tuple) else []
    while waiting:
        way, level, part = waiting.pop()
        if level >= MOST_LEVELS:  # the line of its sample is one more
            return "nested too deeply"
        for key, entry in part.items() if isinstance(part, dict) else enumerate(part):
            if isinstance(entry, dict | list | tuple):
                waiting.append((f"{way}.{key}", level + 1, entry))
            elif isinstance(entry, float) and (flaw := flaw_of(entry)):
                return f"{flaw} at {way}.{key}"
    return ""


def is_writable(text: str) -> bool:
    """False for half a character (a lone surrogate): no file, no name and no terminal takes it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def digest_of(*words: Any) -> str:
    """Digest builtins by one sha256."""
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
