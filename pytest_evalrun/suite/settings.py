"""The layers of a pair resolved to one value per setting, and where each came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_evalrun import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.suite.layers import Layer


# The adapters of programs, here and on a board, among the names that a suite may give.
PROGRAM = "command"
BOARD = "ssh"
# What `types` of a reader may say of a column.
CELL_KINDS = ("text", "number", "integer", "boolean")
# Bytes that a log of a pair may have unless the suite says otherwise.
LOG_LIMIT = 100_000_000


@dataclass(frozen=True)
class Gate:
    """A condition on a metric. ``max_drop`` is measured from ``baseline``: a value, or the CSV file of a summary."""

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
    command: str | tuple[str, ...] | None = None
    shell: bool = False
    ask: str = "pair"
    results: Mapping[str, str] = field(default_factory=dict)
    rows: str = "one"
    range: str = "position"
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
    timeout: float | None = None
    log_limit: int = LOG_LIMIT
    shards: int | None = None
    shard_size: int | None = None
    gpus: int = 0
    min_gpu_memory: float = 0.0
    workers_per_gpu: int = 1
    devices: tuple[Mapping[str, Any], ...] = ()
    device: Mapping[str, str] = field(default_factory=dict)
    remote: bool = False
    upload: tuple[str, ...] = ()
    optional: bool = False
    post_process_plugin: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Layer] = field(default_factory=dict)

    @property
    def is_program(self) -> bool:
        """A program of the user's, here or on a board, and no Python object."""
        return self.adapter in (PROGRAM, BOARD)

    @property
    def uses_board(self) -> bool:
        """A board must be had before the model can be asked: it runs there, or a script of ours talks to it."""
        return self.adapter == BOARD or (self.remote and self.adapter == PROGRAM)


MAPPINGS = frozenset({"params", "preprocess", "output", "reader", "gates", "env", "device"})
NAMES = frozenset(Settings.__dataclass_fields__) - {"origins"}
_TUPLES = ("suffixes", "inputs", "devices", "upload")


def resolve(layers: Sequence[Layer]) -> Settings:
    """Merge layers, lowest first: mappings key by key, gates one level deeper, everything else replaced."""
    values: dict[str, Any] = {}
    origins: dict[str, Layer] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if name in MAPPINGS:
                _merge(values.setdefault(name, {}), value, name, layer, origins)
            elif name in NAMES:
                values[name] = value
            else:
                continue
            origins[name] = layer
    _convert(values)
    return Settings(**values, origins=origins)


def _merge(into: dict[str, Any], value: Mapping[str, Any], name: str, layer: Layer, origins: dict[str, Layer]) -> None:
    for key, entry in value.items():
        origins[f"{name}.{key}"] = layer
        if name == "gates":
            _merge(into.setdefault(key, {}), entry, f"gates.{key}", layer, origins)
        else:
            into[key] = entry


def _convert(values: dict[str, Any]) -> None:
    """From what JSON knows to what :class:`Settings` holds."""
    for name in _TUPLES:
        if name in values:
            values[name] = tuple(values[name] or ())
    if isinstance(values.get("command"), list):
        values["command"] = tuple(values["command"])
    if "results" in values:
        values["results"] = values["results"] or {}
    if "gates" in values:
        values["gates"] = {metric: Gate(**limits) for metric, limits in values["gates"].items()}
    specs = [metric_spec(item) for item in values.get("metrics", ())]
    values["metrics"] = tuple(specs or map(metric_spec, _metrics_of_plugins(values)))


def _metrics_of_plugins(values: Mapping[str, Any]) -> list[str]:
    """The seed's way to ask for metrics, where the suite names none and the program does not score by itself.

    To a program any word may mean something of its own: of these only those are metrics that we know.
    """
    names = plugin_names(values.get("post_process_plugin"))
    if values.get("adapter") not in (PROGRAM, BOARD):
        return names
    return [] if values.get("results", {}).get("metrics") else [name for name in names if metrics.is_known(name)]


def plugin_names(plugins: str | None) -> list[str]:
    """The words of ``post_process_plugin``, each once."""
    return [*dict.fromkeys(filter(None, (name.strip() for name in (plugins or "").split(","))))]


def metric_spec(item: str | Mapping[str, Any]) -> MetricSpec:
    """A metric as written: ``top1``, ``./m.py:score``, or one of them with parameters, of which ``name`` renames it."""
    if isinstance(item, str):
        return MetricSpec(_short(item), item)
    ((use, params),) = item.items()
    given = dict(params or {})
    return MetricSpec(given.pop("name", None) or _short(use), use, given)


def _short(use: str) -> str:
    return use.rpartition(":")[2] if ":" in use else use.rpartition(".")[2]
