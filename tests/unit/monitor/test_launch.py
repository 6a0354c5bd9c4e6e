"""The last launch: how it stands, and how to carry it on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pytest_evalrun.monitor import launch
from pytest_evalrun.monitor.launch import LaunchFiles, limit_of, standing
from pytest_evalrun.rundir.configs import write_snapshot
from pytest_evalrun.rundir.sessions import SessionState
from pytest_evalrun.suite.pairs import Dataset, Pair, Task


@pytest.mark.parametrize(
    ("argv", "limit"),
    [
        (["--eval-limit", "5"], 5),
        (["--eval-limit=7"], 7),
        (["--eval-limit"], None),
        (["--eval-limit=x"], None),
        ([], None),
    ],
)
def test_the_limit_is_read_from_the_command(argv, limit):
    """Files of an evaluation of the first N samples are named after it."""
    assert limit_of(["pytest", *argv]) == limit


def test_a_session_stands_as_its_lock_says(run):
    """None, living, dead, ended."""
    assert standing(run.paths).word == "none"
    run.start()
    assert standing(run.paths).word == "live"
    run.die()
    assert standing(run.paths).word == "dead"
    run.start()
    run.end(clean=False)
    assert standing(run.paths).word == "ended"
    assert standing(run.paths).interrupted


def test_a_session_that_ends_just_now_is_not_called_dead(run, monkeypatch):
    """Its file is read before its lock is asked for: in between it may have ended."""
    run.start()
    real = launch.session_state
    answers = iter([lambda _: SessionState("dead", None), real])
    monkeypatch.setattr(launch, "session_state", lambda paths: next(answers)(paths))
    run.end()
    assert standing(run.paths).word == "ended"


def test_a_session_on_another_host_is_not_called_dead(run):
    """No lock tells of it here; its own words do once it ended."""
    run.start()
    run.die()
    content = json.loads(run.paths.session_json.read_text())
    run.paths.session_json.write_text(json.dumps(content | {"host": "elsewhere"}))
    assert standing(run.paths).word == "unknown"
    run.paths.session_json.write_text(json.dumps(content | {"host": "elsewhere", "ended": "2026-11-21T10:30:15.000Z"}))
    assert standing(run.paths).word == "ended"


def test_the_pairs_are_those_of_the_newest_snapshot(run):
    """Skipped ones among them; an id may look like YAML."""
    files = LaunchFiles(run.paths)
    assert not files.look()
    for second, names in ((1, ["old"]), (2, ["one", "key: [x]", "pairs: |2-"])):
        pairs = tuple(Pair("echo", "/", Task("a", None, "/"), Dataset(name, "/"), ()) for name in names)
        suite = SimpleNamespace(name="echo", file="evalrun.yaml", pairs=pairs)
        write_snapshot(run.paths, datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), [suite], ["pytest"])
    assert files.look()
    assert files.pairs == ("echo/a/one", "echo/a/key: [x]", "echo/a/pairs: |2-")
    assert not files.look()


def test_a_snapshot_of_another_kind_names_no_pairs(run):
    """They are shown by the task list all the same."""
    run.paths.configs.mkdir()
    (run.paths.configs / "20260101_000000.yaml").write_text("pairs: one\n")
    files = LaunchFiles(run.paths)
    files.look()
    assert files.pairs == ()
