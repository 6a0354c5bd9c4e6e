"""Checks beyond the schema: names that must be known, files that must be there, gates that must have their metric."""

# Paths are text here: a suite has tens of thousands of them, and pathlib takes ten times as long.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_evalrun import registry
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite import answering, devicefiles, gatechecks, ownwords
from pytest_evalrun.suite.objects import is_path_ref, source_file, split_dotted
from pytest_evalrun.suite.problems import PAIR, accepted, found, line_of, place, place_in, some
from pytest_evalrun.suite.schema import SETTINGS, STRUCTURE
from pytest_evalrun.suite.settings import (
    CELL_KINDS,
    OF_TASKS,
    REFERENCES,
    is_reference,
    kind_names,
    metric_spec,
    plugin_names,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.settings import Settings

# What the metrics and gates of a pair depend on.
SCORING = frozenset({"adapter", "answer", "metrics", "gates", "generations", "post_process_plugin"})
# What kinds of models look at besides their own words.
OF_KINDS = frozenset(
    {"adapter", "params", "format", "inputs", "shards", "shard_size", "range", "devices", "device", "env", "gpus"}
    | {"generations"}
)
OF_READERS = frozenset({"format", "id_column", "reader"})
# What tasks of a task server depend on, and who is asked for them.
OF_TASK_SERVERS = frozenset({"format", "task", "controller", "tasks", "takeover"})
OF_AGENTS = frozenset({"adapter", "gpus", "serve", "shards", "shard_size", "metrics", "post_process_plugin"})


def check_layer(layer: Layer, root: str, matrix: bool, problems: Problems) -> None:
    """Check what can be said of a layer alone; each is looked at once, however many pairs share it."""
    devicefiles.complete_devices(layer, problems)
    if adapter := layer.values.get("adapter"):
        _check_adapter(adapter, place_in(layer, "adapter"), root, problems)
    if reader := layer.values.get("format"):
        _check_name(reader, place_in(layer, "format"), registry.READERS, root, problems)
    for item in layer.values.get("metrics", ()):
        _check_name(metric_spec(item).use, place_in(layer, "metrics"), registry.METRICS, root, problems)
    for metric, gate in layer.values.get("gates", {}).items():
        if text := gatechecks.mistake_in_baseline(gate.get("baseline"), root):
            problems.add(f"{place_in(layer, f'gates.{metric}.baseline')}: {text}")
    out = layer.values.get("out_subdir")
    if matrix and out and not out.startswith((".", "/")):
        problems.add(
            f"{place_in(layer, 'out_subdir')}: {found(out)}, a directory of each dataset, which only the tree layout "
            "has; accepted: .NAME for a directory of the suite, an absolute path"
        )
    if layer.values.get("shards") and layer.values.get("shard_size"):
        where = place_in(layer, "shard_size")
        problems.add(f"{where}: found next to shards; accepted: shards for their number, or shard_size for their size")


def _check_adapter(value: str, where: str, root: str, problems: Problems) -> None:
    """Check a kind of model. It is asked about its words at once, so its module must be there."""
    if is_reference(value) or value not in kind_names():
        _check_reference(value, where, kind_names(), root, problems)
        return
    try:
        ownwords.check_kind(value)
    except ConfigError as error:
        problems.add(f"{where}: {error}")


def _check_name(value: str, where: str, group: str, root: str, problems: Problems) -> None:
    """Check a name without importing what a package offers for it; that two of them offer it is known without."""
    try:
        if registry.find(group, value) is None:
            _check_reference(value, where, registry.names(group), root, problems)
    except ConfigError as error:
        problems.add(f"{where}: {error}")


def _check_reference(value: str, where: str, names: Iterable[str], root: str, problems: Problems) -> None:
    """Check a reference: a file must be there; a dotted path is only looked at: importing is the worker's business."""
    if not is_path_ref(value) and "." not in value:
        problems.add(f"{where}: found the unknown name {value!r}; {accepted(value, [*names])}, {some(REFERENCES)}")
        return
    check: Callable[[], Any] = (
        (lambda: source_file(value, root)) if is_path_ref(value) else (lambda: split_dotted(value))
    )
    try:
        check()
    except ConfigError as error:
        problems.add(f"{where}: {error}")


def check_scoring(pairs: Iterable[Pair], problems: Problems) -> None:
    """Check metrics, gates and models of every distinct stack of layers that speak of them."""
    listed = list(pairs)
    layers = {id(layer): layer for pair in listed for layer in pair.layers}.values()
    words = {word for layer in layers for word in layer.values} - SETTINGS - STRUCTURE
    _check_stacks(listed, SCORING | words, _check_stack, problems)
    named = any(adapter and not is_reference(adapter) for adapter in (layer.values.get("adapter") for layer in layers))
    if (
        named or words or any("device" in layer.values for layer in layers)
    ):  # of the user's own classes nothing is known
        _check_stacks(listed, OF_KINDS | words, _check_kind, problems)
    if any("types" in layer.values.get("reader", {}) for layer in layers):
        _check_stacks(listed, OF_READERS, _check_types, problems)
    if any(layer.values.get("format") == OF_TASKS for layer in layers):
        _check_tasks(listed, problems)


def _check_tasks(pairs: Sequence[Pair], problems: Problems) -> None:
    """Ask whoever reads tasks: what they are is known where they are served.

    Tasks and agents are looked at apart: the combinations of a hundred of each are 10,000.
    """
    offer = registry.find(registry.READERS, OF_TASKS)
    assert offer is not None, "it is ours"
    mistakes, tasks = offer.load().mistakes(), [pair for pair in pairs if pair.dataset.is_task]

    def check_task(settings: Settings, pair: Pair, told: Problems) -> None:
        _tell(mistakes.in_task(settings, pair), settings, told)

    def check_agent(settings: Settings, _: Pair, told: Problems) -> None:
        _tell(mistakes.in_agent(settings), settings, told)

    _check_stacks(pairs, OF_TASK_SERVERS, check_task, problems)
    _check_stacks(tasks, OF_AGENTS, check_agent, problems)


def _check_kind(settings: Settings, _: Pair, problems: Problems) -> None:
    missing = list(ownwords.missing(settings))
    _tell(missing or settings.kind.mistakes(settings), settings, problems)
    if not missing:
        _tell(devicefiles.mistakes(settings), settings, problems)


def _check_types(settings: Settings, _: Pair, problems: Problems) -> None:
    """Check the types of tables that we read ourselves: what ``reader`` means to a user's own is the user's."""
    types = settings.reader.get("types")
    offer = registry.find(registry.READERS, settings.format)
    if offer is not None and offer.is_ours and types is not None:
        _tell(_mistakes_in_types(types, settings.id_column), settings, problems)


def _mistakes_in_types(types: Any, id_column: str | None) -> Iterator[tuple[str, str]]:
    if not isinstance(types, dict):
        yield "reader.types", f"{found(types)}; accepted: columns with {some(CELL_KINDS)}"
        return
    for column, kind in types.items():
        if kind not in CELL_KINDS:
            yield f"reader.types.{column}", f"{found(kind)}; {accepted(str(kind), CELL_KINDS)}"
        elif column == id_column:
            yield f"reader.types.{column}", "found the id_column; accepted: other columns, for an id is text"


def _tell(mistakes: Iterable[tuple[str, str]], settings: Settings, problems: Problems) -> None:
    for key, text in mistakes:
        if layer := settings.origins.get(key.partition(".")[0]):
            where = place_in(layer, key)
        else:  # what is not there is missed by whoever asks for the kind
            layer = settings.origins["adapter"]
            where = place(layer.source, line_of(layer, "adapter"), key)
        problems.add(f"{where}: {text}")


def _check_stacks(
    pairs: Iterable[Pair], words: frozenset[str], check: Callable[[Settings, Pair, Problems], None], problems: Problems
) -> None:
    seen: set[tuple[int, ...]] = set()
    speaking: dict[int, bool] = {}
    for pair in pairs:
        for layer in pair.layers:
            if id(layer) not in speaking:
                speaking[id(layer)] = not words.isdisjoint(layer.values)
        stack = tuple([id(layer) for layer in pair.layers if speaking[id(layer)]])
        if stack not in seen:
            seen.add(stack)
            check(resolve([layer for layer in pair.layers if speaking[id(layer)]]), pair, problems)


def _check_stack(settings: Settings, pair: Pair, problems: Problems) -> None:
    used = {spec.use for spec in settings.metrics}
    for name in plugin_names(settings.post_process_plugin):
        if name in used:  # else it is nobody's business but the program's
            where = place_in(settings.origins["post_process_plugin"], "post_process_plugin")
            _check_name(name, where, registry.METRICS, pair.root, problems)
    names = [spec.name for spec in settings.metrics]
    for name in sorted({name for name in names if names.count(name) > 1}):
        where = place_in(settings.origins["metrics"], "metrics")
        problems.add(
            f"{where}: found two metrics called {name!r}; accepted: `name: …` in the parameters of one of them"
        )
    _tell(answering.mistakes(settings), settings, problems)
    _tell(_mistakes_in_judges(settings), settings, problems)
    rows = [row.name for row in answering.metric_rows(settings)]
    for metric in settings.gates:
        where = place_in(settings.origins[f"gates.{metric}"], f"gates.{metric}")
        if metric not in rows and not settings.kind.computes(settings):
            words = accepted(metric, rows) if rows else "it has no metrics"
            problems.add(f"{where}: the pair {PAIR} does not compute this metric; {words}", pair.id)
        else:
            for key, text in gatechecks.mistakes_in_gate(metric, settings, pair):
                problems.add(f"{place_in(settings.origins[key], key)}: {text}")


def _mistakes_in_judges(settings: Settings) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with a judge, which is a model with words of its own: its predictions come first."""
    for spec in settings.metrics:
        offer = registry.find(registry.METRICS, spec.use) if spec.use == answering.JUDGE else None
        for key, text in offer.load().mistakes(spec.params) if offer is not None and offer.is_ours else ():
            yield f"metrics.{spec.use}.{key}", text
