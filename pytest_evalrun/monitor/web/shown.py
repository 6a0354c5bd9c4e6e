"""The snapshot of the monitor as a page shows it: safe text, and anchors of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun.report.html.details import anchor_of
from pytest_evalrun.report.html.safejson import shown
from pytest_evalrun.suite.names import shard_of
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.monitor.snapshot import Snapshot

# Seconds go on by themselves in the page: the whole ones are enough.
_PACES = ("seconds", "left")


def shown_snapshot(snapshot: Snapshot, places: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a snapshot and ``places``, part by part, without the list of pairs.

    Pairs have the ``anchor`` of their place in the page, running ones the ``shard`` that they are.
    """
    facts = snapshot.facts()
    facts["progress"] = _whole(facts["progress"])
    facts["running"] = [_whole(_anchored(each)) for each in facts["running"]]
    facts["failed"] = [_anchored(each) for each in facts["failed"]]
    facts["slowest"] = [_anchored(each) for each in facts["slowest"]]
    found: dict[str, Any] = shown(facts | dict(places))
    return found


def _anchored(entry: dict[str, Any]) -> dict[str, Any]:
    pair, shard = shard_of(entry["pair"])
    key = PairKey.of_id(pair)
    return entry | {"anchor": anchor_of(key) if key else None, "shard": shard}


def _whole(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {name: int(entry[name]) for name in _PACES if isinstance(entry.get(name), float)}
