"""The models of ``schema`` for people and editors: what is written below each key, and a JSON Schema of it all."""

from __future__ import annotations

import ast
import inspect
import sys
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pytest_evalrun import registry
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.schema import DatasetEntry, ModelEntry, OverrideEntry, SuiteModel
from pytest_evalrun.suite.settings import BY_REFERENCE, kind_named, kind_names

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where settings may stand, besides the file itself.
PLACES = (ModelEntry, DatasetEntry, OverrideEntry)
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def suite_schema(*, ours: bool = False) -> dict[str, Any]:
    """The JSON Schema of ``evalrun.yaml`` with the words of all kinds that are installed, or of our own alone.

    Each key has its description. What no schema can say (files that must be there, names of metrics, what fits
    together, whose word a word is) only a collection finds.
    """
    schema = schema_of(SuiteModel)
    inner = schema["$defs"]
    for name, kind in own_models(ours=ours).items():
        own = schema_of(kind)
        inner |= own.pop("$defs", {})
        for part in (schema, *(inner[model.__name__] for model in PLACES)):
            for key, field in own["properties"].items():
                told = {**field, "description": f"{field['description']} Of adapter {name}.".strip()}
                other = part["properties"].get(key)
                part["properties"][key] = told if other is None else _either(other, told)
    one = {key: value for key, value in schema["properties"]["prompt"].items() if key != "description"}
    schema["properties"]["prompts"]["additionalProperties"] = {"anyOf": [one, {"type": "null"}]}
    return {"$schema": DIALECT, **_plain(schema)}


def _either(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What two kinds of models call by one name, with what each means by it."""
    parts = [part for field in (one, other) for part in field.get("anyOf", [field])]
    return {"anyOf": parts, "description": f"{one['description']} {other['description']}"}


def own_models(*, ours: bool) -> dict[str, type[BaseModel]]:
    """Names of kinds → the model of their words; a kind that is broken is passed over."""
    found: dict[type[BaseModel], list[str]] = {}
    for name in sorted(kind_names() | {BY_REFERENCE}):
        with suppress(ConfigError):
            offer = registry.find(registry.ADAPTERS, name)
            model = kind_named(name).schema() if offer is not None and (offer.is_ours or not ours) else None
            if model is not None:
                found.setdefault(model, []).append(name)
    return {", ".join(names): model for model, names in found.items()}


def schema_of(top: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model, with the text below each field as its description."""
    schema = top.model_json_schema(by_alias=True)
    models = {model.__name__: model for model in _models(top)}
    for name, part in {top.__name__: schema, **schema.get("$defs", {})}.items():
        _describe(part, models[name])
    return schema


def _describe(part: dict[str, Any], model: type[BaseModel]) -> None:
    texts = field_texts(model)
    names = {info.alias: name for name, info in model.model_fields.items() if info.alias}
    for key, field in part.get("properties", {}).items():
        field["description"] = texts.get(names.get(key, key), "")


def field_texts(cls: type) -> dict[str, str]:
    """Field → the text that stands below it in the source, of a class and those that it inherits from.

    Read from the source where somebody asks: kept at run time they would cost every start of pytest.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ != "builtins" and not base.__module__.startswith("pydantic"):
            found |= dict(_texts(base))
    return found


def _texts(cls: type) -> Iterator[tuple[str, str]]:
    tree = ast.parse(inspect.getsource(sys.modules[cls.__module__]))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            for field, text in pairwise(node.body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    yield ast.unparse(field.target), " ".join(str(text.value.value).split())


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all that stand in its fields."""

    def inside(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _models(annotation)
        for part in getattr(annotation, "__args__", ()):
            yield from inside(part)

    yield model
    for info in model.model_fields.values():
        yield from inside(info.annotation)


def _plain(node: Any) -> Any:
    """Without what pydantic adds of its own: titles made of names, and defaults that only mean "not given"."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if not (key == "default" and value is None)}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    return {key: _plain(value) for key, value in kept.items()}
