"""What a pair is, and all its settings, as one short text: whoever finds the same suite elsewhere can tell."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.settings import Settings

if TYPE_CHECKING:
    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Pair

# Characters of the digest of a whole pair, and of one of its sources: the latter only says where to look.
WHOLE, SOURCE = 32, 8
_COUNTED = tuple(field.name for field in fields(Settings) if field.name != "origins")


def digest_of(pair: Pair) -> str:
    """Digest what a pair is and its settings, ``whole:source:source…``, with one part for each of its layers.

    Only the first part says whether two are the same. Names of ``${SECRETS}`` count, not their values; nothing on
    disk is looked at.
    """
    settings = pair.settings
    values = {name: getattr(settings, name) for name in _COUNTED}
    what = [pair.suite, pair.root, asdict(pair.task), asdict(pair.dataset), pair.skip, pair.cuts, pair.cut, values]
    return ":".join([_digest(what, WHOLE), *(_digest(layer.values, SOURCE) for layer in pair.layers)])


def difference(digest: str, pair: Pair) -> str | None:
    """Say where a pair differs from one that had this digest: the sources of its settings that changed.

    None where nothing differs. Without a source that is to blame it is the pair itself: its model, data or shards.
    """
    (before, *sources), (now, *others) = digest.split(":"), digest_of(pair).split(":")
    if before == now:
        return None
    if len(sources) != len(others):
        return "other sources of settings, now " + ", ".join(map(_name, pair.layers))
    changed = [_name(layer) for layer, old, new in zip(pair.layers, sources, others, strict=True) if old != new]
    return ", ".join(dict.fromkeys(changed)) or "its model, data or shards"


def _name(layer: Layer) -> str:
    return layer.source if layer.kind in layer.source else f"{layer.source} ({layer.kind})"


def _digest(value: Any, length: int) -> str:
    """Through JSON first: a mapping has its keys as texts then, in whatever process it was made."""
    plain = parse_json(json.dumps(value, default=_plain))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:length]


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
