"""A pair by what people type: ``task/dataset``, ``suite/task/dataset``, or a pasted pytest id."""

from __future__ import annotations

import difflib
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol, TypeVar

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.names import escaped_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NODE_ID = re.compile(r"(?P<file>.+?)::.*?\[(?P<id>.+)\]")
_SHARD = re.compile(r"/[0-9]+-[0-9]+\Z")


class Named(Protocol):
    """Anything with the names of a pair."""

    @property
    def suite(self) -> str:
        """The suite's name."""

    @property
    def id(self) -> str:
        """``task/dataset``."""

    @property
    def full_id(self) -> str:
        """``suite/task/dataset``."""


T = TypeVar("T", bound=Named)


def find_pair(wanted: str, candidates: Iterable[T]) -> T:
    """The one candidate that is meant. Raises ConfigError with the nearest names, or with those that fit alike."""
    pairs = list(candidates)
    pasted = _NODE_ID.fullmatch(wanted.strip())
    name = pasted["id"] if pasted else wanted.strip()
    found = _named(name, pairs) or _named(_SHARD.sub("", name), pairs)
    if pasted and len(found) > 1:
        directory = PurePath(pasted["file"]).parent.name
        found = [pair for pair in found if pair.suite == directory] or found
    if len(found) == 1:
        return found[0]
    if found:
        alike = ", ".join(pair.full_id for pair in found)
        raise ConfigError(f"pair {name}: several suites have it; name one of: {alike}")
    raise ConfigError(_unknown(name, pairs))


def _named(name: str, pairs: Sequence[T]) -> list[T]:
    return [pair for pair in pairs if name in (pair.full_id, pair.id)] or [
        pair for pair in pairs if name in (escaped_id(pair.full_id), escaped_id(pair.id))
    ]


def _unknown(name: str, pairs: Sequence[Named]) -> str:
    if not pairs:
        return f"pair {name}: there are no pairs here at all"
    ids = {pair.id: pair.full_id for pair in pairs} | {pair.full_id: pair.full_id for pair in pairs}
    near = dict.fromkeys(ids[match] for match in difflib.get_close_matches(name, ids, n=5, cutoff=0.4))
    nearest = ", ".join(near) if near else ", ".join(pair.full_id for pair in pairs[:5])
    return f"pair {name}: not found among {len(pairs)}; {'nearest' if near else 'there are'}: {nearest}"
