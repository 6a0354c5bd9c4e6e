"""The layers of a pair resolved to one value per setting, and where each came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.suite.pairs import Layer


@dataclass(frozen=True)
class Gate:
    """A condition on a metric. ``max_drop`` is measured from ``baseline``: a value, or a CSV file of an earlier summary."""

    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    baseline: float | str | None = None


@dataclass(frozen=True)
class MetricSpec:
    """A metric by name or path (``./file.py:Name``), the name it is reported under, and its parameters."""

    name: str
    use: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What holds for one pair once every layer has spoken."""

    adapter: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    format: str = "files"
    in_subdir: str | None = None
    suffixes: tuple[str, ...] = ()
    labels: str | None = None
    references: str | None = None
    id_column: str | None = None
    inputs: tuple[str, ...] = ()
    reference: str | None = None
    reader: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[MetricSpec, ...] = ()
    gates: Mapping[str, Gate] = field(default_factory=dict)
    max_batch_size: int = 32
    retries: int = 2
    max_failed: float = 0
    out_subdir: str | None = None
    fingerprint: str = "content"
    limit: int | None = None
    post_process_plugin: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Layer] = field(default_factory=dict)


def resolve(layers: Sequence[Layer]) -> Settings:
    """Merge layers, lowest first: mappings key by key, everything else replaced."""
    raise NotImplementedError
