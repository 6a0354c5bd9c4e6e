"""What a worker holds, and what a result was made with."""

from __future__ import annotations

import json
import os
from importlib.metadata import version

import pytest

from pytest_evalrun.errors import EvalrunWarning
from pytest_evalrun.evaluation import fingerprint
from pytest_evalrun.evaluation.context import Launch
from pytest_evalrun.evaluation.logs import ItemLog


def test_a_launch_travels_as_json():
    """What the launching process says arrives as it was."""
    launch = Launch("/run", "/work", "id", mode="infer", fresh=True, distrust="2026-01-01T00:00:00Z")
    assert Launch.from_json(json.loads(json.dumps(launch.to_json()))) == launch


def test_one_cache_for_each_kind_of_hashes(context, tmp_path):
    """By content and by stat; each is made once."""
    file = tmp_path / "a"
    file.write_text("content")
    assert context.hashes.of("content") is context.hashes.of("content")
    assert context.hashes.of("stat").file(file).startswith("stat:")
    assert not context.hashes.of("content").file(file).startswith("stat:")


def test_warnings_are_in_the_log_too(context, tmp_path):
    """And shown by pytest at the end; without a log they are only shown."""
    with pytest.warns(EvalrunWarning, match="odd"):
        context.warn("odd")
    context.log = ItemLog(None)
    context.log.open(tmp_path / "a.log")
    with pytest.warns(EvalrunWarning, match="very odd"):
        context.warn("very odd")
    context.log.close()
    assert (tmp_path / "a.log").read_text().endswith("] warning: very odd\n")


def test_what_is_said_holds_no_secret(evaluator, tmp_path):
    """Values of secrets are blanked before they are written."""
    context = evaluator.context(secrets=("hunter22222222",))
    context.log = ItemLog(None)
    context.log.open(tmp_path / "a.log")
    context.say("token hunter22222222")
    context.log.close()
    assert (tmp_path / "a.log").read_text().endswith("] token ***\n")


def test_a_worker_whose_launcher_lives_goes_on(evaluator):
    """Only when it is gone the worker ends; who was launched by nobody goes on for ever, as under nohup."""
    for launcher in (os.getppid(), None):
        evaluator.context(launcher=launcher).check_launcher()
    with pytest.raises(KeyboardInterrupt, match="gone"):
        evaluator.context(launcher=-1).check_launcher()


def test_what_is_shown_can_be_written(context):
    """Half of a character, as in a file name that is no UTF-8, would end a distributed session."""
    assert context.shown("任务 \udcff") == "任务 \\udcff"


def test_hashes_are_shared_within_a_second_or_two(shop, evaluator, monkeypatch):
    """`item_done` commits once a second, however short the pairs are."""
    from pytest_evalrun.evaluation import context as module

    file = shop.root / "weights.bin"
    os.utime(file, (1, 1))
    monkeypatch.setattr("pytest_evalrun.rundir.hashes.RACY_NS", -(10**18))
    one = evaluator.context()
    one.hashes.of("content").file(file)
    committed = []
    monkeypatch.setattr(one.hashes.of("content"), "commit", lambda: committed.append(1))
    one.item_done()
    assert committed == []
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 5)
    one.item_done()
    one.item_done()
    assert committed == [1]


def test_what_could_not_be_synced_is_told(evaluator):
    """A disk that fails at the very end is not silent."""
    context = evaluator.context()
    context.disk._keep(OSError(5, "Input/output error"), "/run/a")
    with pytest.warns(EvalrunWarning, match="not synced to disk: .*Input/output error"):
        context.close()


def test_the_environment_names_what_is_installed():
    """Python, platform, and the libraries that are there, with their versions."""
    found = fingerprint.environment_now()
    assert found["libraries"]["numpy"] == version("numpy")
    assert "torch" not in found["libraries"] or version("torch")
    assert {"python", "platform"} < found.keys()


CHANGES = {
    "nothing": ({}, None),
    "upgraded": ({"numpy": "1.0"}, f"numpy 1.0 became {version('numpy')}"),
    "gone": ({"torch": "2.0"}, "torch 2.0 became (none)"),
}


@pytest.mark.parametrize(("then", "words"), CHANGES.values(), ids=CHANGES)
def test_changes_of_libraries_in_words(then, words, monkeypatch):
    """What differs, and nothing else."""
    now = {"libraries": {"numpy": version("numpy")}}
    monkeypatch.setattr(fingerprint, "environment_now", lambda: now)
    assert fingerprint.environment_changes({"libraries": now["libraries"] | then}) == words


def test_a_library_that_came(monkeypatch):
    """A result of before knows nothing of it; one without an environment knows nothing at all."""
    monkeypatch.setattr(fingerprint, "environment_now", lambda: {"libraries": {"numpy": "2.0"}})
    assert fingerprint.environment_changes({"libraries": {}}) == "numpy (none) became 2.0"
    assert fingerprint.environment_changes({}) == "numpy (none) became 2.0"
