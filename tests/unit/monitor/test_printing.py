"""The run in words that stay."""

from __future__ import annotations

import io
import json
import time

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor import monitor, printing
from pytest_evalrun.rundir.durable import write_atomic


def told(run, **how):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code = monitor(run.paths.root, 0.1, **({"once": False, "as_json": False} | how), stream=stream)
    stream.seek(0)
    return code, stream.read()


def test_once_is_one_page(run):
    """Of a run that lives, and there is no waiting for its end."""
    run.start()
    run.item("echo/a/one")
    code, text = told(run, once=True)
    assert code == 0
    assert "Running (1)" in text
    assert "\x1b" not in text


def test_json_is_one_object(run):
    """On one line, for programs."""
    run.start()
    code, text = told(run, as_json=True)
    assert (code, json.loads(text)["session"]) == (0, "live")
    assert text.count("\n") == 1


def test_a_run_that_ended_shows_its_summary(run):
    """What failed, the tables, where they are, and how to go on with what is left."""
    run.start()
    run.ended("echo/a/one")
    run.ended("echo/a/two", "failed", note="1 gate breached")
    run.result("echo/a/one", 0.75)
    run.result("echo/a/two", 0.25, "failed")
    run.end(clean=False)
    code, text = told(run)
    assert code == 0
    assert "interrupted" in text
    assert "✗ echo/a/two  1 gate breached" in text
    assert "echo: top1" in text
    assert "0.7500" in text
    assert f"summary: {run.paths.summary}/summary.md" in text
    assert text.endswith("carry on with: pytest evals -n 2\n")


def test_the_tables_are_of_what_the_launch_worked_on(make_run):
    """As in the terminal of that launch; the run may have more."""
    run = make_run({"echo/a": ["one"], "other/a": ["one"]}).start(selected=1, expected={"echo/a/one": 1.0})
    run.ended("echo/a/one")
    run.result("echo/a/one", 0.75)
    run.result("other/a/one", 0.25)
    run.end()
    _, text = told(run)
    assert "echo: top1" in text and "other: top1" not in text
    assert "also in summary.md: other (1 pair)" in text


def test_suites_that_cannot_be_seen_from_here_do_not_empty_the_tables(run):
    """A run on a shared file system: its pairs are not gone because this machine lacks their suite."""
    run.paths.run_json.write_text('{"format": 1, "suites": {"echo": "../../no/evalrun.yaml"}}')
    run.start()
    run.ended("echo/a/one")
    run.result("echo/a/one", 0.75)
    run.end()
    assert "0.7500" in told(run)[1]


def test_a_dead_run_is_told_once(run):
    """Nobody can press a key into a pipe: exit code 1."""
    run.start()
    run.die()
    code, text = told(run)
    assert code == printing.DIED
    assert text.count("carry on with:") == 1


def test_lines_come_as_they_are_written(run, monkeypatch):
    """The log's new ones, and how far it is when something ended; then the summary, or that it died."""
    steps = iter([lambda: run.ended("echo/a/one", note="new"), lambda: None, run.die])
    monkeypatch.setattr(printing.time, "sleep", lambda _: next(steps)())
    run.start()
    code, text = told(run)
    assert code == printing.DIED
    assert text.count("✓ passed: echo/a/one: new") == 2  # as it came, and on the last page
    assert "16 %  1/6  about" not in text
    assert text.count("16 %  1/6  ✓ 1 completed") == 1
    assert "DEAD" in text


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    """By name."""
    with pytest.raises(ConfigError, match="is not a run directory"):
        monitor(tmp_path, 0.5, once=True, as_json=False, stream=io.StringIO())


def test_sessions_of_an_agent_stand_below_its_pair(run):
    """A page tells how many sessions a running pair has, what they wait for, and how long the longest lasts."""
    run.start()
    run.item("echo/a/one")
    rows = [{"id": None, "since": time.time() - 12.2, "waiting_for": "a slot"}, "no row"]
    write_atomic(run.files("echo/a/one").agent.sessions, json.dumps({"sessions": rows}))
    _, text = told(run, once=True)
    assert "1 session, 1 waits for a slot, longest 12 s" in text
    _, text = told(run, as_json=True)
    assert json.loads(text)["running"][0]["sessions"]["slot"] == 1
