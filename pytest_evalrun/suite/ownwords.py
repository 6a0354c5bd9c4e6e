"""The words that kinds of models add to evalrun.yaml: whose they are, and whether they may stand where they do."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pytest_evalrun import registry
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.fields import UNSET
from pytest_evalrun.suite.problems import place_in, some
from pytest_evalrun.suite.schema import (
    SETTINGS,
    STRUCTURE,
    DatasetEntry,
    ModelEntry,
    OverrideEntry,
    SettingsModel,
    SuiteModel,
)
from pytest_evalrun.suite.settings import BY_REFERENCE, is_reference, kind_named, kind_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import BaseModel

    from pytest_evalrun.suite.layers import Layer
    from pytest_evalrun.suite.loading import Where
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.problems import Problems
    from pytest_evalrun.suite.settings import ModelKind, Settings

# Layers of files, in which a word that means nothing is a mistake; those of a launch are for all of its suites.
_WRITTEN = frozenset({"suite", "model entry", "dataset entry", "override"})
_ENTRIES: dict[str, type[SettingsModel]] = {
    "models": ModelEntry,
    "datasets": DatasetEntry,
    "overrides": OverrideEntry,
}


def kinds(first: Iterable[str] = ()) -> Iterator[tuple[str, type[ModelKind]]]:
    """Go through all kinds by name: ``first`` ones, ours, and then others, imported only when it is their turn.

    One that cannot be had is passed over: who asks for it is told elsewhere.
    """
    names = kind_names() | {BY_REFERENCE}
    asked = [BY_REFERENCE if is_reference(name) else name for name in first if is_reference(name) or name in names]
    ours = sorted(names, key=lambda name: (not _is_ours(name), name))
    for name in dict.fromkeys((*asked, *ours)):
        try:
            yield name, kind_named(name)
        except ConfigError:
            continue


def _is_ours(name: str) -> bool:
    try:
        offer = registry.find(registry.ADAPTERS, name)
    except ConfigError:
        return False
    return offer is not None and offer.is_ours


def owner(word: str, first: Iterable[str] = ()) -> type[ModelKind] | None:
    """Find the kind that has a word beside the settings of all kinds."""
    if word in SETTINGS or word in STRUCTURE:
        return None
    return next((kind for _, kind in kinds(first) if word in kind.words()), None)


def owners(word: str) -> list[str]:
    """The names of all kinds that have a word."""
    return sorted(name for name, kind in kinds() if word in kind.words())


def words_of_kind(adapter: Any) -> frozenset[str]:
    """The words that only the kind behind an ``adapter`` has; those of all our kinds where that is not known."""
    if isinstance(adapter, str):
        try:
            return kind_named(adapter).words()
        except ConfigError:
            pass
    return frozenset(word for name, kind in kinds() if _is_ours(name) for word in kind.words())


def run_config_words(adapters: Iterable[Any]) -> frozenset[str]:
    """List what may stand in a .run_config of suites that name these kinds; scripts use words of ours otherwise."""
    named = {name for name in adapters if isinstance(name, str) and name in kind_names() and not _is_ours(name)}
    return frozenset(word for name in named for word in words_of_kind(name))


def layer_model(kind: type[ModelKind]) -> type[BaseModel]:
    """The model of what a single layer may say of a kind's words: nothing is missing yet."""
    model = kind.schema()
    assert model is not None, "asked of kinds that have words"
    return _without_required(model) if any(field.is_required() for field in model.model_fields.values()) else model


@cache
def _without_required(model: type[BaseModel]) -> type[BaseModel]:
    from pydantic import create_model

    required = {name: field for name, field in model.model_fields.items() if field.is_required()}
    fields = {name: (Annotated[field.annotation, field], UNSET) for name, field in required.items()}
    return create_model(model.__name__, __base__=model, **fields)  # type: ignore[call-overload, no-any-return]


def parted(model: type[BaseModel], values: Any) -> tuple[Any, list[tuple[Where, type[ModelKind], dict[str, Any]]]]:
    """The values without the words of kinds, and these: the way to where they stand, whose they are, the words."""
    found: list[tuple[Where, type[ModelKind], dict[str, Any]]] = []
    if not (issubclass(model, SettingsModel) and isinstance(values, dict)):
        return values, found
    return _part(model, values, (), values.get("adapter"), found), found


def _part(
    model: type[SettingsModel], values: Mapping[str, Any], where: Where, adapter: Any, found: list[Any]
) -> dict[str, Any]:
    adapter = values.get("adapter", adapter)
    own: dict[type[ModelKind], dict[str, Any]] = {}
    left: dict[str, Any] = {}
    for key, value in values.items():
        if key in SETTINGS:
            left[key] = value
        elif kind := owner(key, [adapter] if isinstance(adapter, str) else ()):
            own.setdefault(kind, {})[key] = value
        elif model is SuiteModel and (entry := _ENTRIES.get(key)) and isinstance(value, list):
            left[key] = [
                _part(entry, each, (*where, key, index), adapter, found) if isinstance(each, dict) else each
                for index, each in enumerate(value)
            ]
        else:
            left[key] = value
    found += [(where, kind, words) for kind, words in own.items()]
    return left


def check_kind(adapter: str) -> None:
    """Raises ConfigError where a kind cannot be had, or where its words are taken by settings of all kinds."""
    taken = kind_named(adapter).words() & (SETTINGS | STRUCTURE)
    if taken:
        offer = registry.find(registry.ADAPTERS, adapter)
        raise ConfigError(f"{offer}: its settings {some(sorted(taken))} are those of all kinds; accepted: other names")


def missing(settings: Settings) -> Iterator[tuple[str, str]]:
    """List the words without which a kind cannot be, where a pair has none."""
    model = settings.kind.schema()
    if model is not None:
        names = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
        yield from (
            (name, f"is missing; adapter {settings.adapter} needs it") for name in sorted(names - settings.words.keys())
        )


def check_words(pairs: Iterable[Pair], file: str, problems: Problems) -> None:
    """Complain of words of a kind that no pair below them is of. What an imported file says may be for other suites.

    Where a launch chose another adapter, the suite's own words are left alone.
    """
    asked: dict[int, tuple[Layer, set[str]]] = {}
    for pair in pairs:
        speaking = [layer for layer in pair.layers if _speaks(layer, file)]
        if speaking:
            named = next((layer for layer in reversed(pair.layers) if layer.values.get("adapter")), None)
            adapter = named.values["adapter"] if named is not None and named.kind in _WRITTEN else ""
            for layer in speaking:
                asked.setdefault(id(layer), (layer, set()))[1].add(adapter)
    for layer, adapters in asked.values():
        for word in sorted(layer.values.keys() - SETTINGS - STRUCTURE):
            where = place_in(layer, word)
            if (
                "" not in adapters
                and not any(word in words_of_kind(name) for name in adapters)
                and where not in problems
            ):
                names = owners(word)
                listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
                whose = f"`{word}` is a word of the {'kinds' if names[1:] else 'kind'} {listed}"
                problems.add(f"{where}: {whose}; this is {some(sorted(adapters), 5)}")


def _speaks(layer: Layer, file: str) -> bool:
    return layer.source == file and layer.kind in _WRITTEN and not (layer.values.keys() <= SETTINGS | STRUCTURE)
