"""What evalrun.yaml may say, and how a mistake in it is told."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.schema import SuiteModel
from pytest_evalrun.suite.validation import validated

WRONG = {
    "unknown key": (
        {"metricss": ["top1"]},
        "metricss: unknown key; did you mean 'metrics'? accepted: adapter, answer, api, api_key,",
    ),
    "unknown key of a model": (
        {"models": [{"nam": "a"}]},
        "models[0].nam: unknown key; did you mean 'name'? accepted: adapter,",
    ),
    "unknown key of a gate": (
        {"gates": {"top1": {"minn": 1}}},
        (
            "gates.top1.minn: unknown key; did you mean 'min'? accepted: baseline, by, confidence, max, max_drop, min, "
            "tier, when_unsure"
        ),
    ),
    "unknown key of preprocess": (
        {"models": [{"preprocess": {"sise": [1, 2]}}]},
        "models[0].preprocess.sise: unknown key; did you mean 'size'? accepted: color, dtype,",
    ),
    "unknown word": (
        {"preprocess": {"color": "grey"}},
        "preprocess.color: found 'grey'; accepted: 'rgb' or 'gray'",
    ),
    "not a mapping": ({"params": 5}, "params: found 5; accepted: a mapping"),
    "not a list": ({"models": "a"}, "models: found 'a'; accepted: list"),
    "not an entry": ({"models": ["a"]}, "models[0]: found 'a'; accepted: a mapping"),
    "number for text": ({"labels": 5}, "labels: found 5; accepted: text (a number needs quotes)"),
    "list for text": ({"labels": ["a"]}, "labels: found ['a']; accepted: text"),
    "empty text": ({"labels": ""}, "labels: found ''; accepted: text that is not empty"),
    "text for a number": ({"max_batch_size": "many"}, "max_batch_size: found 'many'; accepted: integer"),
    "yes for a number": ({"retries": True}, "retries: found True; accepted: a number"),
    "zero batch": ({"max_batch_size": 0}, "max_batch_size: found 0; accepted: greater than or equal to 1"),
    "several types": (
        {"preprocess": {"mean": "x"}},
        "preprocess.mean: found 'x'; accepted: number, or list",
    ),
    "share above one": ({"max_failed": 1.5}, "max_failed: found 1.5; accepted: a count such as 3, or a share"),
    "whole per cent": ({"max_failed": "100%"}, "max_failed: found '100%'; accepted: a count such as 3, or a share"),
    "negative count": ({"max_failed": -1}, "max_failed: found -1; accepted: a count such as 3"),
    "words for a count": ({"max_failed": ["x"]}, "max_failed: found ['x']; accepted: a count such as 3"),
    "yes for a count": ({"max_failed": True}, "max_failed: found True; accepted: a count such as 3"),
    "size without a unit": (
        {"log_limit": "much"},
        "log_limit: found 'much'; accepted: a size of 100kB or more such as",
    ),
    "unit that is none": ({"log_limit": "5XB"}, "log_limit: found '5XB'; accepted: a size of 100kB or more such as"),
    "no log at all": ({"log_limit": 0}, "log_limit: found 0; accepted: a size of 100kB or more such as 100MB"),
    "yes for a size": ({"log_limit": True}, "log_limit: found True; accepted: a size of 100kB or more such as"),
    "metric of two": (
        {"metrics": [{"a": {}, "b": {}}]},
        "metrics[0]: found {'a': {}, 'b': {}}; accepted: a name, ./file.py:Name",
    ),
    "metric that is a number": ({"metrics": [5]}, "metrics[0]: found 5; accepted: a name, ./file.py:Name"),
    "tag with a dash": ({"tags": ["a-b"]}, "tags[0]: found 'a-b'; accepted: a word of letters, digits and _"),
    "tag that does something": ({"tags": ["skip"]}, "tags[0]: found 'skip'; accepted: a word of letters"),
    "input outside": ({"in_subdir": "../x"}, "in_subdir: found '../x'; accepted: a directory inside the dataset"),
    "output outside": ({"out_subdir": "../x"}, "out_subdir: found '../x'; accepted: .NAME for a directory"),
    "no match": ({"overrides": [{"limit": 1}]}, "overrides[0].match: is missing"),
    "long value": ({"format": ["x" * 200]}, "format: found ['" + "x" * 78 + "…; accepted: text"),
}


def check(values):
    return validated(
        SuiteModel, values, lambda where: "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in where)[1:]
    )


@pytest.mark.parametrize(("values", "told"), WRONG.values(), ids=WRONG.keys())
def test_mistakes_name_key_value_and_what_is_accepted(values, told):
    """Each mistake is one line that holds its remedy."""
    with pytest.raises(ConfigError) as caught:
        check(values)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_told_at_once():
    """Nobody fixes a file one mistake a run."""
    with pytest.raises(ConfigError) as caught:
        check({"limit": 0, "nam": 1, "gates": {"a": 5}})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["gates.a", "limit", "nam"]


NORMAL = {
    "share": ({"max_failed": "5%"}, {"max_failed": 0.05}),
    "small share": ({"max_failed": 0.25}, {"max_failed": 0.25}),
    "count": ({"max_failed": "3"}, {"max_failed": 3}),
    "no failures": ({"max_failed": 0}, {"max_failed": 0}),
    "commas": ({"suffixes": "_y.bin, _uv.bin"}, {"suffixes": ["_y.bin", "_uv.bin"]}),
    "one import": ({"import": "a.yaml"}, {"import": ["a.yaml"]}),
    "metric without parameters": ({"metrics": [{"top1": None}]}, {"metrics": ["top1"]}),
    "environment": ({"env": {"N": 5}}, {"env": {"N": "5"}}),
    "extension": ({"discover": {"model_file_ext": "onnx"}}, {"discover": {"model_file_ext": ".onnx"}}),
    "unset": ({"limit": None}, {"limit": None}),
}


@pytest.mark.parametrize(("values", "normal"), NORMAL.values(), ids=NORMAL.keys())
def test_values_are_normalized(values, normal):
    """Only what was given is kept, in the form that the rest of the house expects."""
    assert check(values) == normal


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("100MB", 100_000_000),
        ("1GB", 10**9),
        ("1.5 GB", 1_500_000_000),
        ("512MiB", 512 << 20),
        ("200kB", 200_000),
        ("200K", 200_000),
        ("2T", 2 * 10**12),
        pytest.param(5_000_000, 5_000_000, id="an integer"),
        pytest.param("5000000", 5_000_000, id="an integer in an environment"),
    ],
)
def test_sizes_have_units(written, size):
    """As people write them, in YAML and in every text of a layer."""
    assert validated(SuiteModel, {"log_limit": written}, lambda _: "evalrun.yaml")["log_limit"] == size
