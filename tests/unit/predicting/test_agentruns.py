"""Runs that AgentBench's assigner has begun count; what ours are is written beside the predictions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from pytest_evalrun.datasets.protocol import Sample
from pytest_evalrun.predicting.agentruns import begun_directory, config_text, open_files, take_over_runs
from pytest_evalrun.predicting.work import PairWork
from pytest_evalrun.rundir.agentoverall import read_overall
from pytest_evalrun.rundir.agentruns import finished_runs
from pytest_evalrun.rundir.aside import STALE, set_aside
from pytest_evalrun.rundir.markers import write_fingerprint
from pytest_evalrun.rundir.predictions import PredictionsFile

HISTORY = [{"role": "user", "content": "go"}, {"role": "agent", "content": "ls"}, {"role": "user", "content": "done"}]


def run(index, status="completed", result=None, **more):
    """A line of an assigner's runs.jsonl."""
    output = {"index": index, "status": status, "result": result, "history": HISTORY}
    time = {"timestamp": 1_700_000_000_000, "str": "2023-11-14 22:13:20"}
    return {"index": index, "error": None, "info": None, "output": output, "time": time} | more


def samples_of(*indices, each=1):
    return [Sample(i, str(x), {"index": x}, None, g) for i, x in enumerate(indices) for g in range(each)]


@pytest.fixture
def work_of(shop, context):
    """``work_of(count, **words)``: the work of an agent's pair, its predictions opened anew."""

    def make(count, **words):
        pair = shop.pair("os", "agent", format="agentbench", reference=None)
        (layer,) = pair.layers
        pair = replace(pair, layers=(replace(layer, values={**layer.values, **words}),))
        paths = context.paths.pair(pair.key)
        progress = PredictionsFile(paths.predictions, words.get("generations", 1)).open(context.disk, count)
        return PairWork(pair, paths, progress, context, range(count))

    return make


@pytest.fixture
def begun(shop):
    """``begun(*lines)``: an assigner's output directory of the pair; texts stand there as they are."""

    def write(*lines):
        directory = shop.root / "outputs" / "2024" / "agent" / "os"
        directory.mkdir(parents=True, exist_ok=True)
        texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
        (directory / "runs.jsonl").write_text("".join(texts))
        return directory

    return write


def kept(work):
    return {line.id: line for line in PredictionsFile(work.paths.predictions).as_kept()}


def test_finished_indices_are_not_asked_again(work_of, begun):
    """A run that has ended is its sample's answer: its status and result, what was said, and when."""
    work = work_of(3)
    directory = begun(run(7, result={"result": True}), run("x", "task limit reached"))
    assert take_over_runs(work, samples_of(7, 8, "x"), directory) == 2
    lines = kept(work)
    assert [work.progress.is_done(place) for place in range(3)] == [True, False, True]
    assert lines["7"].prediction == {"status": "completed", "result": {"result": True}}
    assert lines["7"].detail == {"index": 7, "turns": 1, "history": HISTORY, "ended": 1_700_000_000.0}
    assert lines["x"].prediction["status"] == "task limit reached"
    assert take_over_runs(work_of(3), samples_of(7, 8, "x"), directory) == 0


LEFT = {
    "torn": ['{"index": 1, "error"'],
    "glued": ['{"index": 1, "err' + json.dumps(run(2)) + "\n"],
    "task error": [run(1, "task error")],
    "running": [run(1, "running")],
    "an index that has gone": [run(99)],
    "a text for a number": [run("1")],
    "failed": [run(1, error="AGENT_FAILED")],
}


@pytest.mark.parametrize("lines", LEFT.values(), ids=LEFT)
def test_what_has_no_end_is_asked(work_of, begun, lines):
    """Torn lines, faults of the environment and samples of other data are left out, and the rest is taken."""
    work = work_of(3)
    take_over_runs(work, samples_of(1, 2, 3), begun(run(3), *lines))
    assert not work.progress.is_done(0)
    assert work.progress.is_done(2)


def test_what_was_left_out_is_said(work_of, begun, context, monkeypatch):
    """The log of the pair says how many lines were left out, and why."""
    said = []
    monkeypatch.setattr(context, "say", said.append)
    directory = begun(run(1), run(2, "task error"), run(99), "{\n")
    take_over_runs(work_of(2), samples_of(1, 2), directory)
    assert said == [
        f"{directory}: 1 damaged line left out",
        f"{directory}: 1 run left out in which the environment failed: the samples are asked",
        f"{directory}: 1 run left out of indices that the task does not have",
    ]


def test_several_generations_take_a_run_each(work_of, begun):
    """One run is one answer: a second generation is asked unless there is a second run, also the second time."""
    directory = begun(run(1, result="a"), run(2), run(1, result="b"), run(1, result="c"))
    work = work_of(4, generations=2)
    assert take_over_runs(work, samples_of(1, 2, each=2), directory) == 3
    again = work_of(4, generations=2)
    assert take_over_runs(again, samples_of(1, 2, each=2), directory) == 0
    assert [again.progress.is_done(place) for place in range(4)] == [True, True, True, False]


def test_runs_of_other_settings_are_not_taken(work_of, begun, context):
    """Once something of the pair has changed, nobody knows what the assigner's runs were made with."""
    work = work_of(1)
    write_fingerprint(context.disk, work.paths.fingerprint, {"model": "old"}, "launch")
    set_aside(work.paths, STALE)
    assert take_over_runs(work, samples_of(1), begun(run(1))) == 0


@pytest.mark.parametrize("task", [None, "os-std"])
def test_directory_is_the_pairs_own(work_of, begun, task):
    """It is found by the names of agent and task below the suite's ``takeover``, and by nothing else."""
    directory = begun(run(1))
    assert begun_directory(work_of(1, takeover="outputs/2024", task=task).pair) == directory
    assert begun_directory(work_of(1, takeover="outputs/2025", task=task).pair) is None
    assert begun_directory(work_of(1).pair) is None


def test_our_files_begin_with_what_there_is(work_of, begun):
    """What was taken over, or lost in a crash, is in runs.jsonl before anything is asked, once, at its own time."""
    work = work_of(3)
    take_over_runs(work, samples_of(3, 1, 2), begun(run(1), run(2)))
    for _ in range(2):
        open_files(work, lambda results: len(results)).close()
    runs = [json.loads(line) for line in work.paths.agent.runs.read_text().splitlines()]
    assert [one["index"] for one in runs] == [1, 2]
    assert runs[0]["time"]["timestamp"] == 1_700_000_000_000
    assert list(finished_runs(work.paths.agent.directory))[1].history == HISTORY
    assert read_overall(work.paths.agent.overall)["custom"] == 2


def test_config_says_what_was_run_and_no_key(work_of, monkeypatch):
    """config.yaml has AgentBench's shape, the settings as they are written, and no key in any form."""
    monkeypatch.setenv("KEY", "sk-0123456789")
    words = {
        "model": "gpt",
        "base_url": "http://h/v1",
        "concurrency": 4,
        "headers": {"Authorization": "Bearer abc", "X-Api-Key": "${KEY}"},
    }
    work = work_of(1, controller="http://h:5000/t/secret-token/api", task="os-std", task_concurrency=5, **words)
    text = config_text(work.pair, work.paths.agent.directory)
    assert not any(secret in text for secret in ("abc", "sk-0", "secret-token"))
    assert yaml.safe_load(text) == {
        "assignments": [{"agent": "agent", "task": "os-std"}],
        "concurrency": {"agent": {"agent": 4}, "task": {"os-std": 5}},
        "definition": {
            "agent": {
                "agent": {
                    "module": "./model.py:Model",
                    "parameters": words | {"headers": {"Authorization": "***", "X-Api-Key": "${KEY}"}},
                }
            },
            "task": {
                "os-std": {
                    "module": "agentbench",
                    "parameters": {"name": "os-std", "controller": "http://h:5000/t/***/api"},
                }
            },
        },
        "output": str(work.paths.agent.directory),
    }


def test_limits_that_nobody_set_are_not_in_the_config(work_of):
    """AgentBench's form has numbers there."""
    work = work_of(1, controller="http://h:5000/api")
    text = config_text(work.pair, work.paths.agent.directory)
    assert yaml.safe_load(text)["concurrency"] == {"agent": {}, "task": {}}
