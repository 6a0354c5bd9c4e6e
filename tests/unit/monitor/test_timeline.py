"""What the events of a run come to."""

from __future__ import annotations

import pytest

from pytest_evalrun.monitor.timeline import MOST_SLOWEST, Events, Timeline


def happened(*events):
    """Each a second after the one before."""
    timeline = Timeline()
    for second, (kind, pair, worker, fields) in enumerate(events):
        time = f"2026-11-21T10:30:{second:02d}.000Z"
        timeline.take({"time": time, "event": kind, "pair": pair, "worker": worker, **fields})
    return timeline


def started(pair, worker="gw0"):
    return "item_started", pair, worker, {}


def ended(pair, worker="gw0", **fields):
    return "item_finished", pair, worker, {"outcome": "passed", "reused": False, "seconds": 2.0, **fields}


def test_what_started_and_did_not_end_runs():
    """The worker and the moments are those of its events; the model's loading is no part of its pace."""
    timeline = happened(started("s/a/x"), ("model_loaded", "s/a/x", "gw0", {}), started("s/b/x", "gw1"), ended("s/b/x"))
    assert list(timeline.running) == ["s/a/x"]
    running = timeline.running["s/a/x"]
    assert (running.worker, running.loaded - running.since) == ("gw0", 1.0)
    assert timeline.ended == {"s/b/x"}


def test_a_pair_that_runs_again_has_not_ended():
    """An item whose worker died is started once more."""
    timeline = happened(started("s/a/x"), ended("s/a/x", outcome="error"), started("s/a/x", "gw1"))
    assert timeline.ended == set()
    assert timeline.running["s/a/x"].worker == "gw1"


def test_failures_are_forgotten_when_the_pair_passes():
    """Only the last outcome counts."""
    failed = ended("s/a/x", outcome="failed")
    assert list(happened(failed).failed) == ["s/a/x"]
    assert happened(failed, ended("s/a/x")).failed == {}


def test_first_samples_are_told_for_their_launch_alone():
    """Under a name of their own: they do not take the place of what is known of the whole pair."""
    whole = [ended("s/a/x", outcome="failed", seconds=9.0), ("run_started", None, "controller", {"selected": 1})]
    failed = ended("s/a/x", outcome="failed", limit=10)
    timeline = happened(*whole, started("s/a/x"), failed)
    assert timeline.slowest == {"s/a/x": 9.0, "s/a/x (first 10 samples)": 2.0}
    assert list(timeline.failed) == ["s/a/x", "s/a/x (first 10 samples)"]
    assert timeline.ended == {"s/a/x"}
    timeline = happened(*whole, failed, ("run_started", None, "controller", {"selected": 1}))
    assert (timeline.slowest, list(timeline.failed)) == ({"s/a/x": 9.0}, ["s/a/x"])


def test_a_new_launch_begins_with_nothing_running():
    """What the launch before left unfinished does not run; what took long still took long."""
    events = [started("s/a/x"), ended("s/b/x"), ("run_started", None, "controller", {"selected": 3})]
    timeline = happened(*events)
    assert (timeline.running, timeline.ended, timeline.selected) == ({}, set(), 3)
    assert timeline.slowest == {"s/b/x": 2.0}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [({"gpus": [0, 1]}, "GPU 0,1"), ({"gpus": ["GPU-a1"]}, "GPU GPU-a1"), ({"device": "board"}, "board"), ({}, "slot")],
)
def test_a_slot_belongs_to_its_worker_until_it_is_freed(fields, shown):
    """What a worker holds is shown beside all that it runs."""
    taken = "slot_taken", "s/a/x", "gw0", fields
    assert happened(taken).slots == {"gw0": shown}
    assert happened(taken, ("slot_freed", None, "gw0", {})).slots == {}


def test_a_lost_worker_runs_nothing():
    """Its pairs wait for another one, its slot is free."""
    events = [started("s/a/x"), started("s/b/x", "gw1"), ("slot_taken", None, "gw0", {"gpus": [0]})]
    timeline = happened(*events, ("worker_lost", None, "controller", {"lost": "gw0"}))
    assert list(timeline.running) == ["s/b/x"]
    assert timeline.slots == {}


def test_reused_pairs_are_none_of_the_slow_ones():
    """Their seconds are those of another day; seconds that nobody measured are counted here."""
    timeline = happened(started("s/a/x"), ended("s/a/x", reused=True), started("s/b/x"), ended("s/b/x", seconds=None))
    assert timeline.slowest == {"s/b/x": 1.0}


def test_the_slowest_are_a_few():
    """However many pairs end, only the slowest are kept."""
    timeline = happened(*(ended(f"s/a/{i}", seconds=float(i)) for i in range(MOST_SLOWEST + 5)))
    assert set(timeline.slowest) == {f"s/a/{i}" for i in range(5, MOST_SLOWEST + 5)}


def test_events_are_read_once_wherever_they_stand(run, monkeypatch):
    """A worker's events are in its own file and, once its item ended, in the merged one."""
    run.start()
    events = Events(run.paths)
    assert events.look()
    run.item("echo/a/one")
    run.item("echo/a/two", "gw7")
    events.look()
    assert {pair: each.worker for pair, each in events.timeline.running.items()} == {
        "echo/a/one": "gw0",
        "echo/a/two": "gw7",
    }
    run.ended("echo/a/one")
    taken = []
    monkeypatch.setattr(events.timeline, "take", taken.append)
    events.look()
    assert [(event["event"], event["pair"]) for event in taken] == [("item_finished", "echo/a/one")]
    assert not events.look()


def test_damaged_lines_are_counted_and_the_others_read(run):
    """A line that is no event costs itself only."""
    run.start()
    run.item("echo/a/one")
    with run.paths.worker_events("gw0").open("ab") as file:
        file.write(
            b'{"torn": \n[1, 2]\n{"time": 5, "event": "item_started"}\n{"event": "x", "time": "never"}\n\xff\xfe\n'
        )
    run.item("echo/a/two")
    events = Events(run.paths)
    events.look()
    assert list(events.timeline.running) == ["echo/a/one", "echo/a/two"]
    assert events.damaged == {"events/gw0.jsonl": 3, "events": 2}
