"""What the scores of two sides depend on besides the predictions: what differs of it, in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What a metric is, as a result's fingerprint has it.
SCORED_BY = {"use": "name", "params": "parameters", "source": "code", "version": "version"}
# As they are stored: a tuple is a list there.
_encode = json.JSONEncoder(sort_keys=True, default=str).encode
_ANSWERS = ("answer", "answer_rules", "choices")


def rules_differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Say why equal predictions may have other scores, whatever the metric; nothing where one side does not say."""
    if not old or not new:
        return
    if _other(old, new, "comparison"):
        yield "values are compared by another rule"
    if any(_other(old, new, part) for part in _ANSWERS):
        yield "answers are taken out in another way"


def metric_differs(old: Mapping[str, Any], new: Mapping[str, Any], metric: str) -> Iterator[str]:
    """Say what of a metric is another: its code, its parameters; nothing where one side does not say."""
    before, after = identity_of(old, metric), identity_of(new, metric)
    if before is None or after is None:
        return
    yield from (
        f"its {what} differ{'' if what == 'parameters' else 's'}"
        for key, what in SCORED_BY.items()
        if _other(before, after, key)
    )


def _other(old: Mapping[str, Any], new: Mapping[str, Any], part: str) -> bool:
    return _encode(old.get(part)) != _encode(new.get(part))


def all_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Say all that differs of what scores depend on, references and every metric among it."""
    if not old or not new:
        return
    if old.get("references") != new.get("references"):
        yield "the references differ"
    yield from rules_differ(old, new)
    before, after = (scoring.get("metrics") for scoring in (old, new))
    if not isinstance(before, dict) or not isinstance(after, dict):
        return
    for name in before.keys() & after.keys():
        yield from (f"metric {name}: {what}" for what in metric_differs(old, new, name))


def identity_of(scoring: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
    """What a metric was: use, params, source, version; of one over one of several answers, ``top1@first``, alike."""
    known: Any = scoring.get("metrics")
    found = known.get(metric, known.get(metric.partition("@")[0])) if isinstance(known, dict) else None
    return found if isinstance(found, dict) else None
