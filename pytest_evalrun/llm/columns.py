"""A sample as columns: what templates see of it, and the options of a question."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import from_json, written
from pytest_evalrun.errors import PairError, SampleError
from pytest_evalrun.llm.pictures import is_picture
from pytest_evalrun.llm.templates import MOST_BYTES, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LETTERS = string.ascii_uppercase
# The name by which a template has an input that has no columns.
BARE = "input"


class Choices(list[str]):
    """The options of a question; as a text they stand lettered, one a line."""

    def __str__(self) -> str:
        return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, self, strict=False))


def columns_of(value: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """What a template sees of an input.

    Columns by their names, files of several suffixes by these (``png`` of ``.png``), and a bare value as ``input`` and
    by the one name that ``names`` has. Of a file that holds text its text.
    """
    if isinstance(value, dict):
        return {str(name).lstrip("."): _readable(entry) for name, entry in value.items()}
    readable = _readable(value)
    return {BARE: readable, **dict.fromkeys(names if len(names) == 1 else (), readable)}


def _readable(value: Any) -> Any:
    """The text of a file; a file of something else as it is."""
    if not isinstance(value, Path) or is_picture(value):
        return value
    try:
        with value.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise SampleError(f"{value}: larger than {MOST_BYTES} bytes; accepted: less text")
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return value


def options_in(columns: Mapping[str, Any], column: str) -> Choices:
    """The options of a question: a list, a JSON list in a cell of CSV, or a mapping with the list ``text``.

    Raises PairError where there is no such column, SampleError where it holds something else.
    """
    if column not in columns:
        raise PairError(f"choices: no column {column!r}; columns: {listed(columns)}")
    value = columns[column]
    if isinstance(value, str):
        try:
            value = from_json(value)
        except ValueError:
            value = columns[column]
    if isinstance(value, dict):  # as in ARC: {"text": [...], "label": [...]}
        value = value.get("text", list(value.values()))
    try:
        options = Choices(written(entry) for entry in _several(value))
    except (TypeError, ValueError):
        raise SampleError(f"choices: {column!r} holds {columns[column]!r:.80}; accepted: a list of texts") from None
    if len(options) > len(LETTERS):
        raise SampleError(f"choices: {column!r} holds {len(options)} options; accepted: at most {len(LETTERS)}")
    return options


def _several(value: Any) -> Sequence[Any]:
    if isinstance(value, list | tuple) and value:
        return value
    if hasattr(value, "tolist"):  # of a table that is read by columns
        return list(value.tolist())
    raise TypeError("not a list")


def text_of(value: Any) -> str | None:
    """A value as a message by itself; None where it is none."""
    try:
        return written(value)
    except ValueError:
        return None
