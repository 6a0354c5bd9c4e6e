"""Names of suites, tasks and datasets: which are refused, and what their files are called."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from pytest_evalrun.suite.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 100  # bytes; a file's suffixes must still fit into the 255 that file systems allow

# Control characters, what Unicode counts as a line's end, and halves of characters, which no file can hold.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHARD = re.compile(r"\d+-\d+")
# A dataset of such a name would share a file with another one's marker, scores, old predictions or first samples.
_FILE_ENDINGS = re.compile(r"\.(complete|stale|old|scores|fingerprint|limit-\d+)\Z")


def first_samples(name: str, limit: int | None) -> str:
    """Name an evaluation of the first samples for people: never like that of all."""
    return name if limit is None else f"{name} (first {counted(limit, 'sample')})"


def shard_of(full_id: str) -> tuple[str, str | None]:
    """The pair of an item's id, and the label of the shard that it is, None for the pair itself."""
    pair, _, last = full_id.rpartition("/")
    return (pair, last) if _SHARD.fullmatch(last) else (full_id, None)


@functools.cache
def safe_name(name: str) -> str:
    """The name as one file name: ``/`` becomes ``_``, NFC, at most 100 bytes (a hash is appended to what is longer)."""
    safe = name.replace("/", "_")
    if safe.isascii():
        return safe if len(safe) <= LONGEST else _shortened(safe, name)
    safe = unicodedata.normalize("NFC", safe)
    return safe if len(safe.encode()) <= LONGEST else _shortened(safe, name)


def nested(name: str) -> tuple[str, ...]:
    """The name as directories in each other, each with a safe name."""
    return tuple(map(safe_name, name.split("/")))


def _shortened(safe: str, name: str) -> str:
    start = safe.encode()[:LONGEST].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(unicodedata.normalize('NFC', name).encode()).hexdigest()[:12]}"


def refusal(name: str, what: str) -> str | None:
    """Say why a name can be no id and no file; None where it can. ``what`` is "suite", "task" or "dataset"."""
    reason = _refusal(name)
    if reason is None and what != "task" and "/" in name:
        reason = "it has a slash"
    if reason is None and what == "dataset":
        reason = _dataset_refusal(name)
    return f"{what} name {name!r} is refused: {reason}" if reason else None


def _refusal(name: str) -> str | None:
    if not name.strip():
        return "it is empty"
    if found := _UNPRINTABLE.search(name):
        return f"it has a line end, NUL or other character that cannot be shown ({found.group()!r})"
    if name[0] in "-/":
        return f"it starts with {name[0]!r}"
    if any(part in {"", ".", ".."} for part in name.split("/")):
        return "its path has a part that is empty, '.' or '..'"
    return None


def _dataset_refusal(name: str) -> str | None:
    if _SHARD.fullmatch(name):
        return "shards are called so"
    ending = _FILE_ENDINGS.search(name)
    return f"{ending.group()!r} at the end is for files of a run" if ending else None


def escaped_id(name: str) -> str:
    """A pair's id as pytest writes it into node ids: escaped where it is not printable ASCII, as is a backslash."""
    plain = name.isascii() and name.isprintable() and "\\" not in name
    return name if plain else name.encode("unicode_escape").decode("ascii")


def clashes(names: Iterable[str], what: str) -> list[str]:
    """Names whose files would be the same on some file system, each pair as a problem that names both."""
    first: dict[str, str] = {}
    problems = []
    for name in names:
        folded = safe_name(name.encode(errors="replace").decode()).casefold()
        if folded in first:
            problems.append(_clash(first[folded], name, what))
        first.setdefault(folded, name)
    return problems


def _clash(one: str, other: str, what: str) -> str:
    if one == other:
        return f"two {what}s are called {one!r}; give one of them another `name`"
    return f"{what}s {one!r} and {other!r} would have the same files; give one of them another `name`"
