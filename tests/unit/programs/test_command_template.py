"""What programs are told: words, shell, environment."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.programs.command_template import (
    arguments,
    as_text,
    environment,
    here,
    placeholders,
    planned_command,
)
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Cut, Dataset, Pair, Task
from pytest_evalrun.suite.settings import resolve

ODD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def pair(tmp_path, *layers, path="model.bin"):
    task = Task("t 1", str(tmp_path / path) if path else None, str(tmp_path))
    return Pair("s", str(tmp_path), task, Dataset("d", str(tmp_path / "d.csv")), layers)


def settings_of(command, **more):
    return resolve([Layer("suite", "evalrun.yaml", {"adapter": "command", "command": command} | more)])


@given(ODD)
def test_values_are_words(value):
    """A value stands in its word as it is, whatever it looks like; words are split before they are filled."""
    settings = settings_of("run --x={x} '{x} b' {{x}}")
    assert arguments(settings, {"x": value}) == ["run", f"--x={value}", f"{value} b", "{x}"]


@given(ODD)
def test_a_shell_gets_values_quoted(value):
    """With a shell a value is one word of its text, and is never run."""
    argv = arguments(settings_of("printf %s {x}; printf %s ${{HOME:+}}", shell=True), {"x": value})
    assert argv[:2] == ["sh", "-c"]
    assert shlex.split(argv[2].partition(";")[0] if ";" not in value else f"printf %s {shlex.quote(value)}")[2] == value
    assert argv[2].endswith("${HOME:+}")


def test_a_shell_runs_no_value(tmp_path):
    """What looks like a command arrives as text."""
    argv = arguments(settings_of("printf %s {x}", shell=True), {"x": "$(touch pwned)'; touch pwned"})
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "$(touch pwned)'; touch pwned"
    assert not list(tmp_path.iterdir())


def test_inputs_are_words_of_their_own():
    """``{inputs}`` becomes as many words as there are samples."""
    assert arguments(settings_of(["run", "{inputs}", "-v"]), {}, ["a b", "c"]) == ["run", "a b", "c", "-v"]
    assert arguments(settings_of("run {inputs}", shell=True), {}, ["a b", "c"])[2] == "run 'a b' c"


@pytest.mark.parametrize(
    ("value", "text"), [("a b", "a b"), (2, "2"), (0.5, "0.5"), (True, "true"), (None, ""), ([1, "x"], '[1, "x"]')]
)
def test_parameters_as_text(value, text):
    """Text is as it is, everything else as JSON has it."""
    assert as_text(value) == text


def test_placeholders(tmp_path, monkeypatch):
    """Paths are absolute; secrets in parameters are read only now."""
    monkeypatch.setenv("TOKEN", "hush")
    layer = Layer("suite", "x", {"adapter": "command", "params": {"key": "${TOKEN}"}, "max_batch_size": 9})
    values = placeholders(one := pair(tmp_path, layer), here(one, tmp_path / "out"), "0,1")
    assert values == {
        "key": "hush",
        "model": str(tmp_path / "model.bin"),
        "model_dir": str(tmp_path),
        "dataset": str(tmp_path / "d.csv"),
        "dataset_dir": str(tmp_path),
        "output": str(tmp_path / "out"),
        "gpus": "0,1",
        "batch_size": "9",
    }


def test_environment_of_the_seed(tmp_path):
    """By the names of task_run.sh; keys of a .run_config are handed over as they stand there, its own are not."""
    layers = (
        Layer("suite", "x", {"in_subdir": "yuv", "out_subdir": ".results"}),
        Layer("task .run_config", "y", {"suffixes": ["_y", "_uv"], "max_batch_size": 3, "env": {"FREE": "a b"}}),
        Layer("task .run_config", "y", {"env": {"REMOTE_TASK_HOME": "/data/", "CLEANUP_SHARED_MODELS": "2"}}),
    )
    told = environment(one := pair(tmp_path, *layers), here(one, Path("/out/t/d")), Path("/run/state_0_4"))
    assert told == {
        "FREE": "a b",
        "SUFFIXES": "_y,_uv",
        "MODEL_DIR": str(tmp_path),
        "REMOTE_WORK_DIR": "/data/task_t 1_d",
        "SHARED_MODEL_PATH": "/data/.model_cache/t 1_model.bin",
        "IN_SUBDIR": "yuv",
        "OUT_SUBDIR": "/out/t/d",
        "POST_PROCESS_PLUGIN": "",
        "MAX_BATCH_SIZE": "3",
        "RUN_STATE_NAME": "/run/state_0_4",
    }


@pytest.mark.parametrize(("given_", "told"), [(None, "/out"), (".r", "/out"), ("/abs", "/out"), ("out.wp", "out.wp")])
def test_out_subdir(tmp_path, given_, told):
    """A directory of each dataset is told by its name, everything else by its absolute path."""
    one = pair(tmp_path, Layer("suite", "x", {"out_subdir": given_}))
    assert environment(one, here(one, Path("/out")))["OUT_SUBDIR"] == told


def test_a_server_knows_no_dataset(tmp_path):
    """What differs between datasets is not told to a program that serves many."""
    told = environment(one := replace(pair(tmp_path, path=None)), here(one))
    assert not {"OUT_SUBDIR", "REMOTE_WORK_DIR", "RUN_STATE_NAME"} & told.keys()


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "run 5 '{x} b' {dataset} --out={output} ${KEY} '' {inputs}"),
        ({"shell": True}, "run 5 '{x} b' {dataset} --out={output} ${KEY} '' {inputs}"),
    ],
    ids=["words", "a shell"],
)
def test_a_command_before_it_is_run(tmp_path, more, shown):
    """What is known of a pair stands in it, and of secrets the names; what comes later stays as it was written."""
    command = "run {n} '{x} b' {dataset} --out={output} {key} '' {inputs}"
    values = {"adapter": "command", "command": command, "params": {"n": 5, "key": "${KEY}"}}
    one = pair(tmp_path, Layer("suite", "evalrun.yaml", values | more))
    expected = shown.replace("{dataset}", str(tmp_path / "d.csv"))
    assert planned_command(one).replace("'${KEY}'", "${KEY}") == expected


def test_a_pair_that_starts_no_program_has_no_command(tmp_path):
    """A Python model, and a pair whose shards have done everything; of shards, the ranges are known."""
    layer = Layer("suite", "evalrun.yaml", {"adapter": "command", "command": "run {low} {high}"})
    cut = replace(pair(tmp_path, layer), cuts=(Cut(0, 2, "0-2"), Cut(2, 4, "2-4")))
    assert planned_command(pair(tmp_path)) is None
    assert planned_command(cut) is None
    assert [planned_command(shard) for shard in cut.shards()] == ["run 0 2", "run 2 4"]
