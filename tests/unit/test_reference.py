"""docs/reference.md and the JSON Schema say what holds: they are made from what is checked, and kept fresh."""

from __future__ import annotations

import runpy
from pathlib import Path

import jsonschema
import pytest
import yaml

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.jsonschema import suite_schema
from pytest_evalrun.suite.schema import SuiteModel
from pytest_evalrun.suite.validation import validated

ROOT = Path(__file__).parents[2]
SUITES = sorted(file for place in ("evals", "examples") for file in (ROOT / place).rglob("evalrun.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = suite_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_page_is_fresh():
    """Whoever changes a key, a metric, a fixture or an option runs `make docs`."""
    made = runpy.run_path(str(ROOT / "tools" / "reference.py"))
    assert made["page"]() == made["PAGE"].read_text(encoding="utf-8"), "docs/reference.md is stale: make docs"


def test_every_key_is_described(validator):
    """An editor shows a text for each key, wherever it stands."""
    parts = [validator.schema, *validator.schema["$defs"].values()]
    silent = [key for part in parts for key, field in part["properties"].items() if not field.get("description")]
    assert silent == []


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.parent.name)
def test_suites_hold_by_the_schema(validator, file):
    """What the plugin takes, an editor does not complain about."""
    assert list(validator.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))) == []


WORDS = [
    pytest.param({"metrics": "top1, macro_f1"}, True, id="words with commas"),
    pytest.param({"metrics": ["top1", {"topk": {"k": 3}}, {"top1": None}]}, True, id="a metric with parameters"),
    pytest.param({"tags": "int8", "import": "../common.yaml"}, True, id="one for a list"),
    pytest.param({"max_failed": "5%"}, True, id="a share"),
    pytest.param({"max_failed": 3}, True, id="a count"),
    pytest.param({"max_failed": -1}, False, id="a count below 0"),
    pytest.param({"env": {"N": 3, "NAME": "x"}}, True, id="numbers as texts"),
    pytest.param({"command": ["python", "w.py", 3]}, True, id="numbers in a command"),
    pytest.param({"timeout": None, "results": None}, True, id="unset"),
    pytest.param({"gates": {"top1": {"min": 0.9}}}, True, id="gate"),
    pytest.param({"gates": {"top1": {"mni": 0.9}}}, False, id="inner key"),
    pytest.param({"metrcis": ["top1"]}, False, id="unknown key"),
    pytest.param({"ask": "sample"}, False, id="unknown word"),
    pytest.param({"max_batch_size": 0}, False, id="too small"),
    pytest.param({"gpus": True}, False, id="a boolean for a number"),
    pytest.param({"devices": [{"name": "b1", "port": 70000}]}, False, id="too large"),
    pytest.param({"devices": "boards.yaml"}, True, id="a file of boards"),
    pytest.param({"prompts": {"plain": None, "few": {"fewshot": {"from": "dev.jsonl"}}}}, True, id="prompts by name"),
    pytest.param({"prompts": {"few": {"fewshot": {"form": "dev.jsonl"}}}}, False, id="inner key of a prompt"),
    pytest.param({"datasets": [{"format": "agentbench", "task": "os"}]}, True, id="a dataset without path"),
    pytest.param({"overrides": [{"limit": 3}]}, False, id="an override without match"),
]


@pytest.mark.parametrize(("written", "good"), WORDS)
def test_schema_and_plugin_agree(validator, written, good):
    """The schema takes and refuses what the plugin takes and refuses."""
    assert validator.is_valid(written) is good
    if good:
        validated(SuiteModel, written, str)
    else:
        with pytest.raises(ConfigError):
            validated(SuiteModel, written, str)
