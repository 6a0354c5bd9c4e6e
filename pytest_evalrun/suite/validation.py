"""Values against a model of :mod:`pytest_evalrun.suite.schema`; pydantic's errors in the words of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.fields import TAGS
from pytest_evalrun.suite.ownwords import layer_model, owner, parted, words_of_kind
from pytest_evalrun.suite.problems import accepted, found, some
from pytest_evalrun.suite.schema import SettingsModel
from pytest_evalrun.suite.settings import REFERENCES, is_reference, kind_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import ErrorDetails

    from pytest_evalrun.suite.loading import Where


def validated(model: type[BaseModel], values: Mapping[str, Any], place: Callable[[Where], str]) -> dict[str, Any]:
    """The values as the model normalizes them, only those that were given.

    Raises ConfigError with a line for every problem; ``place`` says where a value stands.
    """
    common, of_kinds = parted(model, values)
    told = _unknown_kind(model, values)
    unknown = len(told)
    checked = _checked(model, common, (), told, "python")
    for where, kind, words in of_kinds:
        into: Any = checked
        for key in where if len(told) == unknown else ():
            into = into[key]
        into |= _checked(layer_model(kind), words, where, told, "json")
    if checked.get("prompts"):
        checked["prompts"] = _prompts(checked["prompts"], told)
    if len(told) > unknown:
        raise ConfigError("\n".join(f"{place(where)}: {text}" for where, text in told))
    return checked


def _prompts(named: Mapping[str, Any], told: list[tuple[Where, str]]) -> dict[str, Any]:
    """Check each of several prompts as the one of a pair is, by the kind that has the word."""
    kind = owner("prompt")
    assert kind is not None, "a kind of ours has it"
    checked = {}
    for name, value in named.items():
        wrong: list[tuple[Where, str]] = []
        checked[name] = _checked(layer_model(kind), {"prompt": value or {}}, (), wrong, "json").get("prompt", {})
        told += [(("prompts", name, *where[1:]), text) for where, text in wrong]
    return checked


def _unknown_kind(model: type[BaseModel], values: Any) -> list[tuple[Where, str]]:
    """Told before the words that only that kind would know, and elsewhere where nothing else is wrong."""
    adapter = values.get("adapter") if issubclass(model, SettingsModel) and isinstance(values, dict) else None
    if not isinstance(adapter, str) or is_reference(adapter) or adapter in kind_names():
        return []
    return [
        (("adapter",), f"found the unknown name {adapter!r}; {accepted(adapter, [*kind_names()])}, {some(REFERENCES)}")
    ]


def _checked(
    model: type[BaseModel], values: Any, inside: Where, told: list[tuple[Where, str]], mode: str
) -> dict[str, Any]:
    """The values that were given; what is wrong with them goes to ``told``, and nothing is left of them.

    A model of somebody else's may hold what JSON does not know: ``mode`` "json" leaves builtins.
    """
    try:
        return model.model_validate(values).model_dump(mode=mode, exclude_unset=True, by_alias=True)
    except ValidationError as error:
        told += [((*inside, *where), text) for where, text in _problems(error, model, values)]
        return {}


def _problems(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any]) -> list[tuple[Where, str]]:
    """Make one text a place: where several types would do, pydantic reports each of them."""
    wanted: dict[Where, list[str]] = {}
    told: list[tuple[Where, str]] = []
    for details in error.errors(include_url=False):
        where, value = _resolve(details, values)
        if details["type"] == "extra_forbidden":
            told.append((where, f"unknown key; {accepted(str(where[-1]), _keys(model, where[:-1], values))}"))
        elif details["type"] == "missing":
            told.append((where, "is missing"))
        elif where in wanted:
            wanted[where].append(_wanted(details))
        else:
            wanted[where] = [_wanted(details)]
            told.append((where, found(value)))
    return [
        (where, f"{text}; accepted: {', or '.join(wanted[where])}" if where in wanted else text) for where, text in told
    ]


def _resolve(details: ErrorDetails, values: Any) -> tuple[Where, Any]:
    """The way to the value in question; what pydantic adds of its own (names of types) leads nowhere in the values."""
    where: Where = ()
    for key in details["loc"]:
        if key in TAGS:
            continue
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            if details["type"] == "missing":
                return (*where, key), None
            break
        where = (*where, key)
    return where, values


def _wanted(details: ErrorDetails) -> str:
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    if details["type"] == "string_type":
        return "text (a number needs quotes)" if isinstance(details["input"], int | float) else "text"
    if details["type"] == "string_too_short":
        return "text that is not empty"
    if details["type"] in {"model_type", "dict_type"}:
        return "a mapping"
    text = details["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return text.partition(", unable to parse")[0]


def _keys(model: Any, where: Where, values: Any) -> list[str]:
    """List what a mapping may hold, by its way from the top: with the words of its kind, where that is said."""
    adapter = None
    for key in where:
        adapter, values = values.get("adapter", adapter) if isinstance(values, dict) else adapter, values[key]
        if isinstance(key, int):
            continue
        field = _fields(model).get(str(key))
        # A mapping from the user's own names (gates) to models has no field of that name: it is the model already.
        model = _model_in(field.annotation) if field is not None else model
    names = [name for name in _fields(model) if not name.startswith("_")]
    return [*names, *words_of_kind(values.get("adapter", adapter))] if issubclass(model, SettingsModel) else names


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in getattr(annotation, "__args__", ()) if (model := _model_in(part))), None)
