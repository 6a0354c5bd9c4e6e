"""Every setting of a pair, its value, and the layer it came from."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_evalrun.suite.gates import Gate, GateRules
from pytest_evalrun.suite.problems import line_of, place
from pytest_evalrun.suite.settings import MAPPINGS, MetricSpec, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_evalrun.suite.pairs import Pair

BUILT_IN = "built-in"


class ExplainedSetting(NamedTuple):
    """One setting; ``source`` is ``path:line``, or the name of the variable or option."""

    setting: str
    value: Any
    layer: str
    source: str


def explain(pair: Pair) -> list[ExplainedSetting]:
    """List all settings, those inside mappings one by one; what no layer sets is built in."""
    settings = pair.settings
    # The words of the pair's kind, and what layers say of others'.
    words = {name: getattr(settings.own, name, None) for name in settings.kind.words()} | dict(settings.words)
    return [
        row
        for field in fields(Settings)
        if field.name not in ("words", "origins")
        for row in _rows(settings, field.name, getattr(settings, field.name))
    ] + [row for name in sorted(words) for row in _rows(settings, name, words[name])]


def _rows(settings: Settings, name: str, value: Any) -> Iterator[ExplainedSetting]:
    if isinstance(value, GateRules):
        yield from (_row(settings, f"{name}.{key}", entry) for key, entry in asdict(value).items())
    elif name in MAPPINGS and value:
        for key, entry in value.items():
            yield from _entries(settings, f"{name}.{key}", entry)
    else:
        yield _row(settings, name, [_metric(spec) for spec in value] if name == "metrics" else value)


def _entries(settings: Settings, name: str, entry: Any) -> Iterator[ExplainedSetting]:
    if isinstance(entry, Gate):
        limits = {key: limit for key, limit in asdict(entry).items() if limit is not None}
        yield from (_row(settings, f"{name}.{key}", limit) for key, limit in limits.items())
    else:
        yield _row(settings, name, entry)


def _metric(spec: MetricSpec) -> Any:
    given = dict(spec.params) | ({} if spec.use.endswith(spec.name) else {"name": spec.name})
    return {spec.use: given} if given else spec.use


def _row(settings: Settings, name: str, value: Any) -> ExplainedSetting:
    value = list(value) if isinstance(value, tuple) else value
    layer = settings.origins.get(name)
    if layer is None:
        return ExplainedSetting(name, value, BUILT_IN, "")
    return ExplainedSetting(name, value, layer.kind, place(layer.source, line_of(layer, name)))
