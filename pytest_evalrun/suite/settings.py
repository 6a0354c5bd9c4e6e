"""The layers of a pair resolved to one value per setting, and where each came from; what a kind of model is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_evalrun import registry
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.gates import Gate, GateRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from pytest_evalrun.suite.layers import Layer


# What `types` of a reader may say of a column.
CELL_KINDS = ("text", "number", "integer", "boolean")
# Bytes that a log of a pair may have unless the suite says otherwise.
LOG_LIMIT = 100_000_000
# Of a program that keeps a state of its own: how far it is, and that it is done.
STATE, COMPLETE = ".state", ".complete.state"
# By which name the kind is registered whose models are the user's own classes, by path or dotted name.
BY_REFERENCE = "python"
# The format of data that are tasks behind a task server: their models are agents.
OF_TASKS = "agentbench"
REFERENCES = ("./file.py:Name", "package.module:Name")


@dataclass(frozen=True)
class MetricSpec:
    """A metric by name or path (``./file.py:Name``), the name it is reported under, and its parameters."""

    name: str
    use: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """The settings of one pair once every layer has spoken.

    ``words`` are those that are no setting of all kinds, as the layers say them, whoever they belong to.
    """

    adapter: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    format: str = "files"
    in_subdir: str | None = None
    suffixes: tuple[str, ...] = ()
    labels: str | None = None
    references: str | None = None
    id_column: str | None = None
    inputs: tuple[str, ...] = ()
    reference: str | None = None
    reader: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None
    metrics: tuple[MetricSpec, ...] = ()
    gates: Mapping[str, Gate] = field(default_factory=dict)
    gate_rules: GateRules = field(default_factory=GateRules)
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
    range: str = "position"
    generations: int = 1
    gpus: int = 0
    min_gpu_memory: float = 0.0
    workers_per_gpu: int = 1
    devices: tuple[Mapping[str, Any], ...] = ()
    device: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False
    post_process_plugin: str | None = None
    task: str | None = None
    controller: str | None = None
    tasks: Mapping[str, Any] | str | None = None
    task_concurrency: int | None = None
    takeover: str | None = None
    slurm: str | None = None
    ray: Mapping[str, Any] = field(default_factory=dict)
    secrets_env: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Layer] = field(default_factory=dict)

    @cached_property
    def kind(self) -> type[ModelKind]:
        """The kind of model that ``adapter`` names. Raises ConfigError where it cannot be had."""
        return kind_named(self.adapter)

    @property
    def is_agent(self) -> bool:
        """Whether the model is an agent, which is asked turn by turn for samples of a task server."""
        return self.format == OF_TASKS

    @property
    def way(self) -> Way:
        """How the model is asked."""
        return Way.AGENT if self.is_agent else self.kind.way(self)

    @property
    def own_state(self) -> str | None:
        """The name by which a program writes its state that has one of its own, whatever it is told."""
        return self.env.get("RUN_STATE_NAME", "").rstrip("/").rpartition("/")[2] or None

    @property
    def own_states(self) -> frozenset[str]:
        """The files that such a program leaves beside its data, put aside ones too: none of them is a sample."""
        name = self.own_state
        ends = [f"{end}{old}" for end in (STATE, COMPLETE) for old in ("", ".old")] if name else []
        return frozenset(f"{name}{end}" for end in ends)

    @cached_property
    def own(self) -> Any:
        """The words of the pair's kind, as its ``Own``; ``words`` may hold those of other kinds, too."""
        return self.kind.own(self.words)


class Way(Enum):
    """The way in which a kind of model is asked."""

    MODEL = "an object, batch by batch"
    SERVER = "a program that is kept running, batch by batch"
    BATCH = "a program that is started once a batch"
    RANGE = "a program that is started once a range of samples"
    ENDPOINT = "an endpoint, with many requests under way"
    AGENT = "an agent, with many sessions of a task server under way"


class ModelKind:
    """A kind of model, by the name of its entry point: this class is asked about its pairs, its objects are models.

    The least that a kind needs are ``__init__(own, path, root)`` (its own settings, the model's file or directory if
    there is one, the suite's directory), ``load``, ``predict`` and ``close`` of
    :class:`pytest_evalrun.adapters.protocol.Adapter`. ``own`` is an object of its ``Own``: a pydantic model, whose
    fields are words of evalrun.yaml beside the common ones. A mapping among them is replaced by a higher layer as a
    whole.
    """

    Own: ClassVar[type]
    # Raised where its predictions mean something else than before; without one, the source of its module counts.
    version: ClassVar[int | None] = None
    # Words that only YAML can say: in an environment or a .run_config they mean nothing.
    in_yaml: ClassVar[frozenset[str]] = frozenset()
    runs_on_board: ClassVar[bool] = False
    # Whether its models can be agents.
    can_act: ClassVar[bool] = False
    has_environment: ClassVar[bool] = False
    # What becomes of words in a .run_config that nobody knows.
    other_words: ClassVar[str] = "without effect: only programs are given an environment"
    # Whether its models may keep a state of their own beside their data or their output, on this machine.
    keeps_state: ClassVar[bool] = False

    @classmethod
    def schema(cls) -> type[BaseModel] | None:
        """The pydantic model of its words in evalrun.yaml; None where it has none."""
        return getattr(cls, "Own", None)

    @classmethod
    def words(cls) -> frozenset[str]:
        """Its own words, without importing pydantic where ``Own`` is a dataclass."""
        made = getattr(cls, "Own", None)
        if made is None:
            return frozenset()
        if is_dataclass(made):
            return frozenset(each.name for each in fields(made))
        return frozenset(each.alias or name for name, each in made.model_fields.items())

    @classmethod
    def own(cls, words: Mapping[str, Any]) -> Any:
        """An object of ``Own`` from the words that layers say, checked before; None where it has none."""
        own = cls.words()
        return cls.Own(**{name: value for name, value in words.items() if name in own}) if own else None

    @classmethod
    def mistakes(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        """Tell what no schema can say of the settings of a pair: key, and what is found and accepted."""
        return iter(())

    @classmethod
    def way(cls, settings: Settings) -> Way:
        """Return how its model is asked."""
        return Way.MODEL

    @classmethod
    def needs_board(cls, settings: Settings) -> bool:
        """Tell whether a board must be had before the model can be asked."""
        return cls.runs_on_board

    @classmethod
    def identity(cls, settings: Settings, root: str, hashes: Any) -> dict[str, Any]:
        """Return what predictions depend on besides model, inputs and common settings, as named parts that JSON knows.

        ``hashes`` is a :class:`pytest_evalrun.datasets.protocol.Hashes`: a file that a word names counts by content.
        """
        own = {name: settings.words[name] for name in sorted(cls.words()) if name in settings.words}
        return {"settings": own} if own else {}

    @classmethod
    def of_the_model(cls, settings: Settings, parts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what decides which model is loaded: pairs that agree in it share one that is loaded.

        ``parts`` are those of a prediction's identity, without its data.
        """
        return parts

    @classmethod
    def identity_in_data(cls, settings: Settings, root: str, dataset: Any, hashes: Any) -> dict[str, Any]:
        """Return what of a :class:`~pytest_evalrun.suite.pairs.Dataset` counts besides what its reader says of it.

        Named parts, as of :meth:`identity`: files that its rows only name.
        """
        return {}

    @classmethod
    def source(cls, settings: Settings, root: str) -> Path | None:
        """The Python file whose content is part of a prediction's identity."""
        from pytest_evalrun.suite.objects import source_file

        return None if cls.version is not None else source_file(f"{cls.__module__}:{cls.__qualname__}", root)

    @classmethod
    def model_files(cls, model: Path, hashes: Any) -> list[str]:
        """Files beside a model's own that belong to it, relative to its directory."""
        return []

    @classmethod
    def create(cls, settings: Settings, path: str | None, root: str) -> Any:
        """A model that is not loaded yet, an :class:`~pytest_evalrun.adapters.protocol.Adapter`.

        ``${SECRETS}`` in ``params`` and in its own words have been read.
        """
        return cls(settings.own, path, root)  # type: ignore[call-arg]

    @classmethod
    def computes(cls, settings: Settings) -> bool:
        """Tell whether the model computes metrics itself, of a whole dataset, so that no sample is scored."""
        return False

    @classmethod
    def csv(cls, settings: Settings) -> tuple[str, str] | None:
        """Return, for a model that writes CSV, the column of ids, and if a sample has ``one`` row or ``any`` number."""
        return None


class NoModel(ModelKind):
    """The kind of pairs without an adapter, which only feed tests of the user's own."""

    version = 1


def is_reference(adapter: str) -> bool:
    """Tell whether an adapter is a path or a dotted name, and no name of a kind."""
    return "." in adapter


def kind_named(adapter: str | None) -> type[ModelKind]:
    """The kind that ``adapter`` names, or that every reference is of; without an adapter, one that has no models.

    Raises ConfigError for a name that nobody offers, and for what its package cannot keep.
    """
    if adapter is None:
        return NoModel
    name = BY_REFERENCE if is_reference(adapter) else adapter
    offer = registry.find(registry.ADAPTERS, name)
    if offer is None:
        raise ConfigError(f"found the unknown name {name!r}; accepted: {', '.join(sorted(kind_names()))}")
    kind = offer.load()
    if not (isinstance(kind, type) and issubclass(kind, ModelKind)):
        raise ConfigError(
            f"{offer} is no kind of model; accepted: a class that extends pytest_evalrun.adapters.ModelKind"
        )
    return kind


def kind_names() -> frozenset[str]:
    """List what ``adapter`` may name besides references."""
    return registry.names(registry.ADAPTERS) - {BY_REFERENCE}


MAPPINGS = frozenset(
    {"params", "preprocess", "output", "reader", "gates", "gate_rules", "env", "device"}
    | {"sampling", "extra_body", "headers", "price", "body", "proxies"}
)
# Metrics that are made of the scores of another one, over all generations of a sample; the latter for each `k`.
OVER_GENERATIONS = frozenset({"majority", "pass_at", "pass_hat"})
OF_K = OVER_GENERATIONS - {"majority"}
# Mappings, too, but what a layer says takes the place of what lower ones say as a whole.
WHOLE = frozenset({"answer"})
NAMES = frozenset(Settings.__dataclass_fields__) - {"words", "origins"}
# What lies in layers and says nothing of a pair: model_file_ext tells models from other files.
OF_DISCOVERY = frozenset({"model_file_ext"})
_TUPLES = ("suffixes", "inputs", "devices")


def resolve(layers: Sequence[Layer]) -> Settings:
    """Merge layers, lowest first: mappings key by key, gates one level deeper, everything else replaced."""
    values: dict[str, Any] = {}
    words: dict[str, Any] = {}
    origins: dict[str, Layer] = {}
    for layer in layers:
        for name, value in layer.values.items():
            if name in OF_DISCOVERY:
                continue
            into = values if name in NAMES else words
            if name in MAPPINGS:
                _merge(into.setdefault(name, {}), value, name, layer, origins)
            else:
                into[name] = value
            origins[name] = layer
    _convert(values)
    settings = Settings(**values, words=words, origins=origins)
    return replace(settings, metrics=_with_plugins(settings)) if settings.post_process_plugin else settings


def _merge(into: dict[str, Any], value: Mapping[str, Any], name: str, layer: Layer, origins: dict[str, Layer]) -> None:
    for key, entry in value.items():
        origins[f"{name}.{key}"] = layer
        if name == "gates":
            _merge(into.setdefault(key, {}), entry, f"gates.{key}", layer, origins)
        else:
            into[key] = entry


def _convert(values: dict[str, Any]) -> None:
    """Turn what JSON knows into what :class:`Settings` holds."""
    for name in _TUPLES:
        if name in values:
            values[name] = tuple(values[name] or ())
    if "gates" in values:
        values["gates"] = {metric: Gate(**limits) for metric, limits in values["gates"].items()}
    if "gate_rules" in values:
        values["gate_rules"] = GateRules(**values["gate_rules"])
    values["metrics"] = tuple(spec for item in values.get("metrics", ()) for spec in _each_k(metric_spec(item)))


def _with_plugins(settings: Settings) -> tuple[MetricSpec, ...]:
    """The seed's way to ask for metrics: they are added to those of the suite.

    To a program any word may mean something of its own: what it names counts only where it is a metric of ours, the
    suite names none, and the program does not score by itself. Other models have no use for a word; beside metrics of
    the suite one that we do not know was meant for the programs of other suites.
    """
    given, names = settings.metrics, plugin_names(settings.post_process_plugin)
    known = registry.names(registry.METRICS)
    with suppress(ConfigError):  # of a kind that cannot be had, which is told where the adapter stands
        if settings.kind.has_environment:
            silent = given or settings.kind.computes(settings)
            names = [] if silent else [name for name in names if name in known]
    if given:
        names = [name for name in names if name in known or is_reference(name)]
    had = {word for spec in given for word in (spec.name, spec.use)}
    return (*given, *(metric_spec(name) for name in names if name not in had))


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


def _each_k(spec: MetricSpec) -> list[MetricSpec]:
    """Make of ``pass_at: {k: [1, 5]}`` two metrics, ``pass_at_1`` and ``pass_at_5``."""
    if spec.use not in OF_K:
        return [spec]
    given = spec.params.get("k", 1)
    counts = given if isinstance(given, list) else [given]
    return [MetricSpec(f"{spec.name}_{k}", spec.use, {**spec.params, "k": k}) for k in counts]


def _short(use: str) -> str:
    return use.rpartition(":")[2] if ":" in use else use.rpartition(".")[2]
