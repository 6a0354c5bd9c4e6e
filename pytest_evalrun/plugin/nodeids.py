"""Node ids → pairs, by their text alone: under xdist the launching process has no items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_evalrun.plugin.collectors import SUITE_FILE, Suites
from pytest_evalrun.suite.names import escaped_id

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from pytest_evalrun.suite.pairs import Pair


def pairs_by_id(ids: Sequence[str], suites: Suites, about: Container[str]) -> dict[str, Pair]:
    """Node id → pair, from the text alone: under xdist this process has no items.

    ``about`` has the ids of those tests of users that are about a pair at all: others may have names that look so.
    """
    tables: dict[str, dict[str, Pair]] = {}
    found = {}
    for nodeid in ids:
        file, _, name = nodeid.partition("::")
        if nodeid not in about and suites.path_of(file).name != SUITE_FILE:
            continue
        if file not in tables:
            tables[file] = _table(suites.path_of(file), suites)
        pair = _named(name.partition("[")[2].removesuffix("]"), tables[file])
        if pair is not None:
            found[nodeid] = pair
    return found


def _table(path: Path, suites: Suites) -> dict[str, Pair]:
    suite = suites.load(str(path)) if path.name == SUITE_FILE else suites.suite_above(path)
    # Under both names, because pytest can be told not to escape ids.
    pairs = [item for pair in suite.pairs for item in (*pair.shards(), pair)] if suite else []
    return {name: pair for pair in pairs for name in (pair.id, escaped_id(pair.id))}


def _named(text: str, table: dict[str, Pair]) -> Pair | None:
    """The pair of an id that may name other parameters too, all joined by ``-``: the longest part that is one."""
    words = text.split("-")
    sizes = range(len(words), 0, -1)
    parts = ("-".join(words[start : start + size]) for size in sizes for start in range(len(words) - size + 1))
    return next((table[part] for part in parts if part in table), None)
