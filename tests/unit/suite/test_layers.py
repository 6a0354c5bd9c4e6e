"""Layers that are not YAML: .run_config, script, environment, command line, --eval-set."""

from __future__ import annotations

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.runconfig import (
    command_line_layer,
    environment_layers,
    eval_set_layer,
    run_config_layer,
    script_layer,
)

SCRIPT = """\
#!/bin/bash
# What the board's evaluation starts from.
set -euo pipefail

MODEL_FILE_EXT=.bin
IN_SUBDIR=${IN_SUBDIR:-yuv}   # the input
export MAX_BATCH_SIZE="${MAX_BATCH_SIZE:-16}"
OUT_SUBDIR='.results'
SCRIPT_DIR="$(cd "$(dirname "$0")" && pwd)"
SUFFIXES=$OTHER
RUN_STATE_NAME=.state
LABELS=(a b)
REFERENCE=`date`
REMOTE_TASK_HOME=/mnt/nvme
RETRIES="open
echo started
LIMIT=5
"""


def written(tmp_path, text, name=".run_config"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_run_config_is_typed_and_knows_its_lines(tmp_path):
    """KEY=VALUE lines are settings with the types of the schema; unknown keys go to the program."""
    text = "# comment\n\nMAX_BATCH_SIZE=4\nexport SUFFIXES='_y.bin,_uv.bin'\nMY_KEY=a=b\n\n\nOUT_SUBDIR=\nPARAMS=x\n"
    layer = run_config_layer(written(tmp_path, text), "task .run_config")
    assert layer.kind == "task .run_config"
    assert layer.values == {
        "max_batch_size": 4,
        "suffixes": ["_y.bin", "_uv.bin"],
        "env": {"MY_KEY": "a=b", "PARAMS": "x"},
    }
    assert layer.lines == {"max_batch_size": 3, "suffixes": 4, "env.MY_KEY": 5, "env.PARAMS": 9}


def test_run_config_is_never_expanded(tmp_path):
    """A .run_config is data: neither variables nor commands mean anything in it."""
    layer = run_config_layer(written(tmp_path, 'A=$(touch x)\nB="${HOME}"\nC=`ls`\n'), "task .run_config")
    assert layer.values == {"env": {"A": "$(touch x)", "B": "${HOME}", "C": "`ls`"}}


def test_no_run_config_is_no_layer(tmp_path):
    """Most directories have none."""
    assert run_config_layer(str(tmp_path / ".run_config"), "task .run_config") is None


def test_empty_run_config_says_nothing(tmp_path):
    """A file that says nothing changes nothing."""
    assert run_config_layer(written(tmp_path, ""), "task .run_config").values == {}


RUN_CONFIG_WRONG = {
    "value": ("A=1\n\nMAX_BATCH_SIZE=many\n", ":3: MAX_BATCH_SIZE: found 'many'; accepted: integer"),
    "word": ("FINGERPRINT=md5\n", ":1: FINGERPRINT: found 'md5'; accepted: 'content' or 'stat'"),
    "no equals": ("A=1\nMAX_BATCH_SIZE\n", ":2: found 'MAX_BATCH_SIZE'; accepted: KEY=VALUE"),
    "no assignment": ("rm -rf /\n", ":1: found 'rm -rf /'; accepted: KEY=VALUE"),
}


@pytest.mark.parametrize(("text", "told"), RUN_CONFIG_WRONG.values(), ids=RUN_CONFIG_WRONG.keys())
def test_mistakes_in_a_run_config_name_file_and_line(tmp_path, text, told):
    """A mistyped .run_config is a usage error, not a silent default."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        run_config_layer(path, "task .run_config")
    assert str(caught.value).startswith(path + told)


def test_run_config_that_is_a_directory_is_told(tmp_path):
    """What cannot be read is named."""
    (tmp_path / ".run_config").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        run_config_layer(str(tmp_path / ".run_config"), "task .run_config")


def test_script_gives_its_leading_assignments(tmp_path):
    """Lines before the first command are read as far as they need no shell; the script itself is the program."""
    layer = script_layer(written(tmp_path, SCRIPT, "eval.sh"))
    assert layer.kind == "script"
    assert layer.values == {
        "command": ["bash", str(tmp_path / "eval.sh"), "{dataset_dir}"],
        "model_file_ext": ".bin",
        "in_subdir": "yuv",
        "max_batch_size": 16,
        "out_subdir": ".results",
        "env": {"REMOTE_TASK_HOME": "/mnt/nvme", "RUN_STATE_NAME": ".state"},
    }
    assert layer.lines["in_subdir"] == 6


def test_missing_script_is_told(tmp_path):
    """A script that is not there cannot be the lowest layer."""
    with pytest.raises(ConfigError, match="the script cannot be read"):
        script_layer(str(tmp_path / "eval.sh"))


def test_environment_is_a_layer_a_variable():
    """Both families of names are read; the plugin's own win; other variables and empty ones mean nothing."""
    environ = {
        "EVALRUN_LIMIT": "5",
        "EVALRUN_SUFFIXES": "a,b",
        "EVALRUN_REQUIRE_ALL": "1",
        "EVALRUN_PARAMS": "x",
        "EVALRUN_RETRIES": "",
        "MAX_BATCH_SIZE": "8",
        "EVALRUN_MAX_BATCH_SIZE": "9",
        "MODEL_FILE_EXT": "bin",
        "CLEANUP_SHARED_MODELS": "2",
        "LIMIT": "7",
    }
    layers = environment_layers(environ)
    assert {layer.source: dict(layer.values) for layer in layers} == {
        "CLEANUP_SHARED_MODELS": {"env": {"CLEANUP_SHARED_MODELS": "2"}},
        "MODEL_FILE_EXT": {"model_file_ext": ".bin"},
        "MAX_BATCH_SIZE": {"max_batch_size": 8},
        "EVALRUN_LIMIT": {"limit": 5},
        "EVALRUN_MAX_BATCH_SIZE": {"max_batch_size": 9},
        "EVALRUN_SUFFIXES": {"suffixes": ["a", "b"]},
    }
    assert [layer.source for layer in layers].index("MAX_BATCH_SIZE") < len(layers) - 2


def test_mistakes_in_the_environment_name_their_variables():
    """All of them at once."""
    with pytest.raises(ConfigError) as caught:
        environment_layers({"EVALRUN_LIMIT": "x", "MAX_BATCH_SIZE": "0"})
    assert str(caught.value).splitlines() == [
        "MAX_BATCH_SIZE: found '0'; accepted: greater than or equal to 1",
        "EVALRUN_LIMIT: found 'x'; accepted: integer",
    ]


def test_command_line_option_is_checked():
    """An option that is a setting follows the same schema."""
    assert command_line_layer("--eval-suffixes", "suffixes", "a,b").values == {"suffixes": ["a", "b"]}
    with pytest.raises(ConfigError, match=r"^--eval-batch-size: found 0; accepted: greater than or equal to 1$"):
        command_line_layer("--eval-batch-size", "max_batch_size", 0)


def test_eval_set_reads_values_as_yaml_and_keys_with_dots():
    """Items add up, also inside one mapping."""
    items = ["limit=5", "gates.top1.min=0.9", "gates.top1.max=1", "params.t=1e-3", "params.on=no", "metrics=[a, b]"]
    layer = eval_set_layer(items)
    assert layer.kind == layer.source == "--eval-set"
    assert layer.values == {
        "limit": 5,
        "gates": {"top1": {"min": 0.9, "max": 1.0}},
        "params": {"t": 0.001, "on": "no"},
        "metrics": ["a", "b"],
    }


def test_eval_set_may_hold_equals_signs_and_nothing():
    """Only the first equals sign parts; no value is null."""
    assert eval_set_layer(["params.a=b=c", "limit="]).values == {"params": {"a": "b=c"}, "limit": None}


EVAL_SET_WRONG = {
    "no equals": ("limit", "found 'limit'; accepted: KEY=VALUE"),
    "no key": ("=5", "found '=5'; accepted: KEY=VALUE"),
    "empty part": ("gates..min=1", "accepted: KEY=VALUE"),
    "unknown": ("limt=5", "unknown key 'limt'; did you mean 'limit'? accepted: adapter,"),
    "no setting": ("models=[]", "unknown key 'models'; did you mean 'model'? accepted: adapter,"),
    "keys of a scalar": ("limit.x=5", "limit has no keys; accepted: limit=VALUE"),
    "wrong value": ("limit=many", "found 'many'; accepted: integer"),
    "unknown inside": ("gates.top1.minn=1", "unknown key; did you mean 'min'?"),
    "not YAML": ("params.x=[1", "not YAML"),
    "tag": ("params.x=!!python/name:os.system x", "found the tag"),
}


@pytest.mark.parametrize(("item", "told"), EVAL_SET_WRONG.values(), ids=EVAL_SET_WRONG.keys())
def test_mistakes_in_eval_set_quote_the_item(item, told):
    """The item is named as it was given."""
    with pytest.raises(ConfigError) as caught:
        eval_set_layer([item])
    assert str(caught.value).startswith(f"--eval-set {item}")
    assert told in str(caught.value)
