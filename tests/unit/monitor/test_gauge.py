"""How far a running pair is, and how fast."""

from __future__ import annotations

import json
import os
import time

import pytest

from pytest_evalrun.monitor.gauge import Gauge, places
from pytest_evalrun.rundir.durable import write_atomic

PAIR = "echo/dir/b/one"


def gauge(run, since=0.0, limit=None):
    return Gauge(places(run.paths, PAIR, limit), since)


def stamp(run, seconds):
    os.utime(run.files(PAIR).state, (seconds, seconds))


def test_the_state_is_read_when_it_was_replaced(run):
    """Nothing is read of a file that is what it was."""
    found = gauge(run)
    assert found.look(0.0)
    assert found.state is None
    assert (found.share, found.rate) == (0.0, None)
    run.state(PAIR, batch=3, batches=10, within=5, size=20)
    assert found.look(0.0)
    assert found.state.current_batch == 3
    assert found.share == pytest.approx(0.225)
    assert not found.look(0.0)


def test_the_rate_is_that_of_the_last_changes(run):
    """Samples of whole batches and of the one at hand, over the time between the files."""
    found = gauge(run)
    for second, batch in ((110, 1), (120, 2), (130, 3)):
        run.state(PAIR, batch=batch, within=20, size=20, when=second)
        stamp(run, second)
        found.look(100.0)
    assert found.rate == pytest.approx(2.0)


def test_the_state_of_an_earlier_launch_says_nothing(run):
    """A pair that begins again has the file of the last time until its first batch."""
    run.state(PAIR, when=1000)
    found = gauge(run, since=2000.5)
    found.look(2000.5)
    assert found.state is None
    run.state(PAIR, when=2000)
    found.look(2000.5)
    assert found.state is not None


def test_a_damaged_state_is_said_to_be(run):
    """What was known before stays; a whole one mends it."""
    found = gauge(run)
    run.state(PAIR)
    found.look(0.0)
    run.files(PAIR).state.write_bytes(b"\xff RUNNING_CURRENT_BATCH=many")
    found.look(0.0)
    assert found.damaged
    assert found.state is not None
    run.state(PAIR, batch=4, when=int(time.time()) + 1)
    found.look(0.0)
    assert not found.damaged


def test_a_limited_evaluation_has_a_state_of_its_own(run):
    """The newer of the two is the one that runs."""
    run.state(PAIR, batch=9)
    stamp(run, 100)
    limited = run.files(PAIR).state.with_name("one.limit-5.state")
    limited.write_text(run.files(PAIR).state.read_text().replace("CURRENT_BATCH=9", "CURRENT_BATCH=2"))
    found = gauge(run, limit=5)
    found.look(0.0)
    assert found.state.current_batch == 2
    assert found.logs[0].name == "one.limit-5.log"


@pytest.mark.parametrize("pair", ["../a/one", "echo/../one", "echo/a/..", "one", "echo/a/\udc80", ""])
def test_a_name_that_no_pair_has_leads_nowhere(run, pair):
    """A damaged file must not make anybody read outside the run."""
    assert places(run.paths, pair, None) == []
    found = Gauge(places(run.paths, pair, None), 0.0)
    found.look(0.0)
    assert found.state is None


def test_odd_numbers_are_no_share_above_one(run):
    """A state of nothing at all, and one that says more than all."""
    found = gauge(run)
    run.state(PAIR, batch=0, batches=0, within=0, size=0)
    found.look(0.0)
    assert found.share == 0.0
    run.state(PAIR, batch=99, batches=10, within=5, size=20)
    found.look(0.0)
    assert found.share == 1.0


def test_sessions_of_an_agent(run):
    """What an agent's sessions wait for is read of its file, for as long as there is one."""
    found = gauge(run)
    file = run.files(PAIR).agent.sessions
    assert found.sessions(100.0) is None
    rows = [{"id": 1, "since": 90.0, "waiting_for": "the agent"}, {"id": 2, "since": 95, "waiting_for": "environment"}]
    write_atomic(file, json.dumps({"controller": "http://h/api", "sessions": rows}), private=True)
    found.look(0.0)
    assert found.sessions(100.0).text == "2 sessions, 1 waits for the agent, 1 for the environment, longest 10 s"
    file.write_text('{"sessions": [')
    found.look(0.0)
    assert found.sessions(100.0) is None
    write_atomic(file, json.dumps({"sessions": rows[:1]}))
    found.look(0.0)
    assert found.sessions(100.0).sessions == 1
    file.unlink()
    found.look(0.0)
    assert found.sessions(100.0) is None
