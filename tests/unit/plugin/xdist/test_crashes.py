"""What becomes of an item whose worker died: run again, over, an error, or not touched at all."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.plugin.launch import LaunchDir
from pytest_evalrun.plugin.xdist.crashes import Lost, WorkerCrashes


@pytest.fixture
def launch(tmp_path):
    return LaunchDir(tmp_path / "launch")


def node(code="import os; os.kill(os.getpid(), 9)", name="gw0"):
    """A worker whose process ends as the code says; None where execnet keeps no process."""
    popen = subprocess.Popen([sys.executable, "-S", "-c", code]) if code is not None else None
    return SimpleNamespace(gateway=SimpleNamespace(id=name, _io=SimpleNamespace(popen=popen)))


GONE = SimpleNamespace(gateway=SimpleNamespace(id="gw0"))


@given(st.integers(0, 5))
def test_an_item_has_so_many_tries_more_than_one(retries):
    """Then it is an error."""
    losses = WorkerCrashes(None, retries)
    losses._launch = SimpleNamespace(read=lambda name: None)
    found = []
    for _ in range(retries + 1):
        losses.started("a")
        found.append(losses.of("a", GONE, None))
        assert losses.charged("a")
    assert found == [Lost.AGAIN] * retries + [Lost.ERROR]


def test_what_had_not_started_is_not_charged(launch):
    """However often: a worker that dies before it runs anything says nothing about the item that it was given."""
    losses = WorkerCrashes(launch, 0)
    assert [losses.of("a", GONE, None) for _ in range(3)] == [Lost.UNTOUCHED] * 3
    assert not losses.charged("a")
    losses.started("a")
    assert losses.of("a", GONE, None) is Lost.ERROR


def test_between_its_tries_an_item_is_untouched(launch):
    """It was given to another worker, which died before it began."""
    losses = WorkerCrashes(launch, 1)
    losses.started("a")
    assert losses.of("a", GONE, None) is Lost.AGAIN
    assert losses.of("a", GONE, None) is Lost.UNTOUCHED


def test_what_had_ended_is_over(launch):
    """Whatever its worker died of afterwards."""
    losses = WorkerCrashes(launch, 5)
    losses.started("a")
    losses.ended("a")
    assert losses.of("a", GONE, None) is Lost.OVER


def test_what_has_its_outcome_is_not_run_again(launch):
    """It would be counted twice: its teardown killed the worker, which is an error."""
    losses = WorkerCrashes(launch, 5)
    losses.started("a")
    losses.called("a")
    assert losses.of("a", GONE, None) is Lost.ERROR


def test_what_may_not_be_run_again_is_an_error(launch):
    """Ordinary tests."""
    losses = WorkerCrashes(launch, 5)
    losses.started("a")
    assert losses.of("a", GONE, None, again=False) is Lost.ERROR


def test_what_hung_is_not_run_again_and_says_why(launch):
    """Its worker left word before it gave up; the word is about that item alone."""
    launch.publish("hung-gw0.json", json.dumps({"nodeid": "a", "reason": "timed out after 3 s"}))
    losses = WorkerCrashes(launch, 5)
    for name in "ab":
        losses.started(name)
    assert losses.of("a", GONE, None) is Lost.ERROR
    assert losses.reason("a") == "timed out after 3 s; what it had predicted is kept"
    assert losses.of("b", GONE, None) is Lost.AGAIN


def test_a_worker_that_was_ended_for_its_time_is_a_hang(launch):
    """By faulthandler: exit code 1, and the item's time was up."""
    losses = WorkerCrashes(launch, 5)
    losses.started("a")
    assert losses.of("a", node("raise SystemExit(1)"), 0.0) is Lost.ERROR
    assert "timed out after 0 s" in losses.reason("a")
    losses.started("b")
    assert losses.of("b", node("raise SystemExit(1)"), 1e6) is Lost.AGAIN
    losses.started("c")
    assert losses.of("c", node("raise SystemExit(2)"), 0.0) is Lost.AGAIN


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "it was ended by SIGKILL, as the system does when memory runs out"),
        ("import os; os.kill(os.getpid(), 6)", "it was ended by SIGABRT"),
        ("import os; os._exit(3)", "it ended with exit code 3"),
        (None, "its connection was lost"),
    ],
)
def test_the_reason_names_what_the_system_says(launch, code, words):
    """Signal or exit code, and how often it happened."""
    losses = WorkerCrashes(launch, 1)
    losses.started("a")
    losses.of("a", node(code), None)
    end = words.removeprefix("it ").removeprefix("was ").removeprefix("ended with ")
    assert losses.brief("a") == f"worker died: {end}"
    assert losses.again("a") == f"its worker gw0 died: {words}; running again (1 of 1)"
    losses.started("a")
    losses.of("a", node(code, "gw7"), None)
    assert losses.reason("a") == f"its worker gw7 died: {words}, as 1 before it; what it had predicted is kept"


def test_what_never_ran_is_known():
    """In the order of the collection, and no more than fill a screen; where nothing is missing, nothing is said."""
    losses = WorkerCrashes(None, 1)
    losses.expected = dict.fromkeys("cab")
    losses.ended("a")
    assert losses.never_ran(losses.expected) == ["2 items never ran; the same command runs them:", "  c", "  b"]
    losses.ended("b")
    assert losses.never_ran(losses.expected) == ["1 item never ran; the same command runs them:", "  c"]
    losses.ended("c")
    assert losses.never_ran(losses.expected) == []
    losses.expected = dict.fromkeys(map(str, range(30)))
    assert losses.never_ran(losses.expected)[-2:] == ["  19", "  and 10 more"]
