"""Writes docs/reference.md: every word that a user may write, from the models and docstrings that define them.

``make docs`` calls it; a test fails where the page is not what this makes.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import MISSING, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun import registry
from pytest_evalrun.adapters.protocol import Adapter, Detailed
from pytest_evalrun.cli import app
from pytest_evalrun.datasets.protocol import Reader, Sample
from pytest_evalrun.engines.dlcconfig import ELSEWHERE, DlcModel
from pytest_evalrun.metrics.protocol import Metric
from pytest_evalrun.plugin.fixtures import EvaluationResult, Fixtures
from pytest_evalrun.plugin.options import OPTIONS
from pytest_evalrun.predicting.boards import HeldBoard
from pytest_evalrun.rundir.predictions import Line
from pytest_evalrun.rundir.results import Result
from pytest_evalrun.slots.gpus import Gpu
from pytest_evalrun.suite.jsonschema import field_texts, own_models, schema_of, suite_schema
from pytest_evalrun.suite.pairs import Dataset, Pair, Task
from pytest_evalrun.suite.settings import BY_REFERENCE, Settings, kind_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_evalrun.registry import Offer

# In the one schema of all kinds it says whose word a word is; here the heading does.
OF_KIND = re.compile(r" Of adapter [a-z, ]+\.$")
ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
HEAD = """# Reference

Made by `make docs` from the models and docstrings that define these words; `evalrun schema` prints the JSON Schema of
`evalrun.yaml`, which editors check and complete by:

    # yaml-language-server: $schema=evalrun.schema.json          after: evalrun schema > evalrun.schema.json
"""


def page() -> str:
    schema = suite_schema(ours=True)
    settings = {key for key in schema["properties"] if key in Settings.__dataclass_fields__}
    pages = (metrics_page(), fixtures_page(), options_page(), dlc_page())
    sections = (HEAD, *suite_keys(schema, settings), *(part for made in pages for part in made))
    return "\n".join(sections).rstrip() + "\n"


def suite_keys(schema: Mapping[str, Any], settings: set[str]) -> Iterator[str]:
    """evalrun.yaml: what only the file itself may say, the settings of every layer, and what lies inside of both."""
    properties, inner = schema["properties"], schema["$defs"]
    yield (
        "## evalrun.yaml\n\nKeys of the file itself. A setting (below) may stand here, with a model, with a dataset or "
        "in an override.\n"
    )
    yield table(schema, {key: properties[key] for key in properties if key not in settings})
    yield "\n## Settings\n"
    yield (
        "In YAML by these names; in a `.run_config` and in the environment in capitals, `MAX_BATCH_SIZE=8` and "
        "`EVALRUN_MAX_BATCH_SIZE=8`, those that are one value; all by `--eval-set KEY=VALUE`, what lies inside by "
        "`--eval-set gates.top1.min=0.9`.\n"
    )
    yield table(schema, {key: properties[key] for key in properties if key in settings}, defaults(Settings))
    for names, model in own_models(ours=True).items():
        kinds = [kind_named(name) for name in names.split(", ")]
        yield f"\n### Words of {' and '.join(map(adapter_word, names.split(', ')))}\n"
        yield " ".join(first_line(kind) for kind in kinds) + "\n"
        yield table(schema, schema_of(model)["properties"], defaults(kinds[0].Own))
    yield "\n### Kinds of data\n"
    yield markdown(("format", "what it is", "`reader:`"), readers())
    for name, heading in INNER.items():
        own = {key: value for key, value in inner[name]["properties"].items() if key not in settings}
        yield f"\n### {heading}\n"
        yield table(schema, own if name in ENTRIES else inner[name]["properties"])


def adapter_word(name: str) -> str:
    return "`adapter: ./file.py:Name`" if name == BY_REFERENCE else f"`adapter: {name}`"


INNER = {
    "DiscoverModel": "`discover:`",
    "ModelEntry": "An entry of `models:` (and every setting)",
    "DatasetEntry": "An entry of `datasets:` (and every setting)",
    "OverrideEntry": "An entry of `overrides:` (and every setting)",
    "GateModel": "A gate",
    "GateRulesModel": "`gate_rules:`",
    "PreprocessModel": "`preprocess:`",
    "AnswerModel": "`answer:`, or each of several by name",
    "JsonAnswerModel": "`json:` of an answer",
    "OutputModel": "`output:`",
    "ResultsModel": "`results:`",
    "DeviceEntry": "An entry of `devices:`",
    "BatchSystemModel": "`batch_system:`",
    "RayModel": "`ray:`",
}
ENTRIES = frozenset({"ModelEntry", "DatasetEntry", "OverrideEntry"})


def defaults(cls: type) -> dict[str, str]:
    """What holds where nothing is said, of fields for which that is a value."""
    shown = {field.name: field.default for field in fields(cls) if field.default not in (MISSING, None, (), False)}
    return {name: code(value) for name, value in shown.items()}


def readers() -> Iterator[tuple[str, str, str]]:
    for name, offer in sorted(ours(registry.READERS).items()):
        reader = offer.load()
        yield f"`{name}`", first_line(reader), ", ".join(f"`{word}`" for word in sorted(reader.accepted))


def ours(group: str) -> dict[str, Offer]:
    """What this package offers by name; others may be installed beside it."""
    found = {name: registry.find(group, name) for name in registry.names(group)}
    return {name: offer for name, offer in found.items() if offer is not None and offer.is_ours}


def table(schema: Mapping[str, Any], keys: Mapping[str, Any], default: Mapping[str, str] | None = None) -> str:
    known = default or {}
    rows = []
    for key, field in keys.items():
        text = field.get("description", "")
        if not text:
            sys.exit(f"{key}: no text below its field in the schema")
        told = OF_KIND.sub("", text) if text.count(" Of adapter ") < 2 else text  # two kinds may have one word
        rows.append((f"`{key}`", accepted(field, schema), known.get(key, ""), told))
    if default is None:
        return markdown(("key", "value", "meaning"), [(key, value, text) for key, value, _, text in rows])
    return markdown(("key", "value", "default", "meaning"), rows)


def accepted(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a key takes, in a few words."""
    if "$ref" in field:
        return "mapping"
    if "enum" in field:
        return " \\| ".join(f"`{word}`" for word in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if parts := field.get("anyOf") or field.get("oneOf"):
        words = [accepted(part, schema) for part in parts if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    kind = field.get("type")
    if isinstance(kind, list):
        return accepted({"anyOf": [{"type": one} for one in kind]}, schema)
    if kind == "array":
        one = accepted(field.get("items", {}), schema).partition(",")[0]
        return f"list of {PLURALS.get(one, 'values')}"
    if kind in ("integer", "number"):
        return "number" + limits(field)
    return {"string": "text", "boolean": "`true` \\| `false`", "object": "mapping", None: "any"}[kind]


PLURALS = {
    "text": "texts",
    "text or number": "texts or numbers",
    "number": "numbers",
    "mapping": "mappings",
    "any": "values",
}


def limits(field: Mapping[str, Any]) -> str:
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
    return "".join(f", {sign} {field[name]}" for name, sign in signs if name in field)


def metrics_page() -> Iterator[str]:
    yield "\n## Metrics\n\nEach value comes with n and a 95 % interval. Parameters are written as in `topk: {k: 3}`.\n"
    rows = []
    for name, offer in sorted(ours(registry.METRICS).items()):
        made = offer.load()
        parameters = inspect.signature(made).parameters.values()
        shown = ", ".join(f"`{one.name}={one.default!r}`" for one in parameters if one.name not in ("args", "kwargs"))
        rows.append((f"`{name}`", shown, first_line(made)))
    yield markdown(("name", "parameters", "what it is"), rows)


def fixtures_page() -> Iterator[str]:
    yield "\n## Fixtures\n"
    names = [name for name in vars(Fixtures) if not name.startswith("_")]
    rows = [(f"`{name}`", first_line(getattr(Fixtures, name))) for name in names]
    yield markdown(("fixture", "what a test gets"), rows)
    for cls, title in CLASSES:
        rows = list(members(cls))
        yield f"\n### {title}\n\n{first_line(cls) if field_texts(cls) else prose(inspect.getdoc(cls) or '')}\n"
        if rows:
            yield markdown(("name", "what it is"), rows)


CLASSES = (
    (EvaluationResult, "`evaluation`"),
    (Result, "`evaluation.result`"),
    (Line, "A line of `evaluation.predictions`, and of the file of predictions"),
    (Pair, "`pair`"),
    (Task, "`pair.task`"),
    (Dataset, "`pair.dataset`"),
    (Gpu, "One of `gpus`"),
    (HeldBoard, "`device`"),
    (Sample, "`Sample`: what models are asked with"),
    (Adapter, "Your own `adapter`"),
    (Detailed, "`Detailed`: an answer with more to keep (`pytest_evalrun.adapters.protocol`)"),
    (Reader, "Your own `format`"),
    (Metric, "Your own metric, as a class (a function scores one sample)"),
)


# What other rooms call, and no test of a user needs.
INTERNAL = frozenset(
    {"dumps", "peek", "shards", "free", "give_up", "reconnect", "to_json", "key", "comes_back", "settings"}
    | {"is_shard", "is_cut", "label", "share", "ranges", "positions"}
)


def members(cls: type) -> Iterator[tuple[str, str]]:
    """Fields, properties and methods that are public and have a text."""
    for name, text in field_texts(cls).items():
        yield f"`{name}`", text
    for name, member in inspect.getmembers_static(cls):
        is_value = isinstance(member, property | cached_property)
        made = getattr(member, "fget", None) or getattr(member, "func", member)
        if name.startswith("_") or name in INTERNAL or not inspect.isfunction(made) or not made.__doc__:
            continue
        yield f"`{name}`" if is_value else f"`{name}{signature(made)}`", first_line(made)


def signature(function: Any) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return f"({', '.join(str(one.replace(annotation=one.empty)) for one in parameters)})"


def options_page() -> Iterator[str]:
    yield (
        "\n## Options of pytest\n\nEach has an ini key of the same name, `eval_workdir` for `--eval-workdir`; the "
        "command line wins.\n"
    )
    rows = []
    for option in OPTIONS:
        value = " \\| ".join(option.choices) or option.metavar or ""
        default = "" if option.default in (None, False, []) else code(option.default)
        rows.append((f"`{option.flag}`", value, default, f"{option.help}."))
    yield markdown(("option", "value", "default", "meaning"), rows)
    yield "\n## Commands\n\n`evalrun COMMAND --help` has the options of each.\n"
    commands = import_module("typer.main").get_command(app).commands
    rows = [(f"`evalrun {name}`", sentence(command.help)) for name, command in commands.items() if not command.hidden]
    yield markdown(("command", "what it does"), rows)


def dlc_page() -> Iterator[str]:
    yield f"\n## The file of `--eval-dlc-config`\n\n{first_line(DlcModel)}\n"
    schema, own = schema_of(DlcModel), DlcModel.model_fields.items()
    known = {key: code(str(field.default).lower()) for key, field in own if isinstance(field.default, int)}
    yield table(schema, schema["properties"], known)
    yield "\nRefused, with what says it here:\n"
    yield markdown(("key of OpenCompass", "here"), [(f"`{key}`", f"{why}.") for key, why in ELSEWHERE.items()])


def first_line(thing: Any) -> str:
    """The first paragraph of a docstring, as one line."""
    return sentence(inspect.getdoc(thing))


def sentence(text: str | None) -> str:
    return " ".join(prose((text or "").split("\n\n")[0]).split())


def prose(text: str) -> str:
    """Docstrings are reStructuredText; a page is Markdown."""
    return ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", text).replace("``", "`")


def code(value: Any) -> str:
    return f"`{value}`"


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = tuple(head)
    lines = (columns, ("---",) * len(columns), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
