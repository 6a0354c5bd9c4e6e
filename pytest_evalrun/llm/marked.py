"""The text of one model shown to another as data: between markers, which nothing inside can pose as."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.datasets.values import written
from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.columns import columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a text could say in the judge's name. Both are left readable, and are no longer what is looked for.
_GRADE = re.compile(r"\b(grade)([*_`]*\s*[:：﹕꞉])", re.IGNORECASE)
_MARKER = re.compile(r"<{2,}\s*/?\s*(?=(?:BEGIN|END)\b)", re.IGNORECASE)
DIGITS = 12


def marked(name: str, value: Any) -> str:
    """The text between a first and a last line that name its content's digest: it cannot hold its own."""
    text = neutral(text_of(name, value))
    nonce = hashlib.sha256(f"{name}\0{text}".encode(errors="surrogatepass")).hexdigest()[:DIGITS]
    return f"<<<BEGIN {name} {nonce}>>>\n{text}\n<<<END {name} {nonce}>>>"


def neutral(text: str) -> str:
    """The text without lines that a judge, who quotes it, would say in his own name."""
    return _MARKER.sub("< ", _GRADE.sub(r"\1 (quoted)\2", text))


def text_of(name: str, value: Any) -> str:
    """A value as people read it: text as it is, numbers as they are written, everything else as JSON.

    Raises PairError for a file that holds no text.
    """
    if isinstance(value, Path):
        value = next(iter(columns_of(value).values()))
        if isinstance(value, Path):
            raise PairError(f"a judge reads texts; the {name} is a file of something else: {value}")
    if isinstance(value, str):
        return value
    try:
        return written(value)
    except ValueError:
        return json.dumps(value, ensure_ascii=False, default=str)


def question_of(value: Any, names: Sequence[str]) -> str:
    """An input as one text: of a single column its text, of several a line each."""
    columns = columns_of(value, names)
    if not isinstance(value, dict):
        return text_of("question", next(iter(columns.values())))
    if len(columns) == 1:
        return text_of("question", next(iter(columns.values())))
    return "\n".join(f"{name}: {text_of(name, entry)}" for name, entry in columns.items())
