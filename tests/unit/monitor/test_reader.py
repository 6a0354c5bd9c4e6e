"""From the files of a run to a snapshot."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.monitor import tasks
from pytest_evalrun.monitor.reader import MOST_FAILED, SnapshotReader
from pytest_evalrun.plugin.lastline import LaunchProgress
from pytest_evalrun.rundir.runs import note_skipped
from pytest_evalrun.rundir.tasklist import Status


def test_progress_is_over_the_selected_pairs(run, reader):
    """Where the launch says how many; what an earlier one completed is not its work."""
    run.ended("echo/a/one")
    run.start(selected=2)
    run.item("echo/a/two")
    run.state("echo/a/two", batch=6, batches=10, within=0, size=20)
    progress = reader.look().progress
    assert (progress.done, progress.selected) == (0, 2)
    assert progress.share == pytest.approx(0.25)
    run.ended("echo/a/two")
    progress = reader.look().progress
    assert (progress.done, progress.selected, progress.share) == (1, 2, 0.5)
    assert progress.left is not None


SHARDS = [f"echo/a/one/{low}-{low + 10}" for low in range(0, 40, 10)]


def test_shards_are_parts_of_their_pair(run, reader):
    """Progress counts every item, done are pairs, and what runs is told once: by its shards, each with its state."""
    run.start(selected=1, expected=dict.fromkeys([*SHARDS, "echo/a/one"], 10.0))
    for worker, shard in enumerate(SHARDS[:2]):
        run.item(shard, f"gw{worker}")
        run.state(shard, batch=6, batches=10, within=0, size=20)
    snapshot = reader.look()
    assert [(each.pair, each.share) for each in snapshot.running] == [(shard, 0.5) for shard in SHARDS[:2]]
    assert (snapshot.counts[Status.RUNNING], snapshot.counts[Status.PENDING]) == (1, 0)
    assert snapshot.progress.share == pytest.approx(1 / 5)
    for shard in SHARDS:
        run.ended(shard)
    snapshot = reader.look()
    assert snapshot.running == ()
    assert (snapshot.progress.done, snapshot.progress.selected, snapshot.progress.share) == (0, 1, 0.8)
    run.item("echo/a/one")
    run.ended("echo/a/one")
    progress = reader.look().progress
    assert (progress.done, progress.share, progress.left) == (1, 1.0, 0.0)


def test_what_was_not_selected_does_not_wait(run, reader):
    """It is told apart, and its task does not count it; what is done of it stays done."""
    run.tasks.set("echo/dir/b", "one", Status.COMPLETED)
    run.write_tasks()
    run.start(selected=2, expected={"echo/a/one": 1.0, "echo/a/two": 1.0})
    snapshot = reader.look()
    assert (snapshot.counts[Status.PENDING], snapshot.counts[Status.COMPLETED]) == (2, 1)
    content = snapshot.to_json()
    assert content["counts"]["deselected"] == 3
    assert content["tasks"][0]["datasets"] == {"one": "pending", "two": "pending", "three": "deselected"}
    run.ended("echo/a/one")
    assert reader.look().counts[Status.PENDING] == 1


def test_the_list_may_be_behind_the_events(run, reader):
    """As many pairs run as are shown to run."""
    run.start(selected=6)
    run.worker("gw0").write("item_started", "echo/a/one")
    snapshot = reader.look()
    assert len(snapshot.running) == snapshot.counts[Status.RUNNING] == 1
    assert sum(snapshot.counts.values()) == 6
    run.item("echo/a/one")
    run.worker("gw0").write("item_finished", "echo/a/one", outcome="passed", reused=False, seconds=1.0)
    counts = reader.look().counts
    assert (counts[Status.RUNNING], counts[Status.COMPLETED], counts[Status.PENDING]) == (0, 1, 5)
    run.controller.write("worker_lost", lost="gw1")
    run.item("echo/a/two", "gw1")
    run.controller.write("worker_lost", lost="gw1")
    counts = reader.look().counts
    assert (counts[Status.RUNNING], counts[Status.PENDING]) == (0, 5)


def test_the_time_left_is_the_terminals(run, reader, monkeypatch):
    """Both are told what was expected of each item and when it started and ended."""
    expected = {"echo/a/one": 10.0, "echo/a/two": 10.0, "echo/a/three": 60.0}
    run.start(selected=3, expected=expected)
    progress = LaunchProgress(3, lambda _: None, True, time.time, expected)
    run.item("echo/a/one")
    progress.started("echo/a/one")
    assert progress.line().endswith(f"left ~{reader.look().progress.left:.0f}s")
    assert reader.look().progress.left == pytest.approx(80, abs=5)


def test_a_name_with_a_secret_in_it_is_no_other_pair(run, reader):
    """The snapshot of a launch shows it blanked; the list and the events have it as it is."""
    run.paths.configs.mkdir()
    lines = ["echo/a/one", "echo/a/***", "echo/a/three", "echo/dir/b/one", "echo/dir/b/two", "echo/dir/b/three"]
    text = "pairs: |2-\n" + "".join(f"  {line}\n" for line in lines)
    (run.paths.configs / "20261121_103015.yaml").write_text(f"format: 1\n{text}")
    note_skipped(run.paths, {"echo/a/slow": "too slow", "other/a/one": "of another launch"})
    run.start(selected=6, expected=dict.fromkeys([*lines], 1.0))
    snapshot = reader.look()
    assert (snapshot.skipped, snapshot.counts[Status.PENDING]) == (1, 6)
    assert snapshot.to_json()["counts"]["deselected"] == 0


def test_progress_is_over_the_list_where_nobody_says_more(run, reader):
    """Completed and failed of all."""
    run.start()
    run.ended("echo/a/one")
    run.ended("echo/a/two", "failed")
    progress = reader.look().progress
    assert (progress.done, progress.selected) == (2, 6)


def test_reused_pairs_promise_nothing_about_the_time_left(run, reader):
    """They took none; the time left is told once something was done."""
    run.start(selected=6)
    run.item("echo/a/one")
    run.ended("echo/a/one", reused=True)
    assert reader.look().progress.left is None


def test_a_pair_whose_events_were_lost_runs_all_the_same(run, reader):
    """The task list knows of it, if not who runs it."""
    run.start()
    run.tasks.set("echo/a", "one", Status.RUNNING)
    run.write_tasks()
    run.state("echo/a/one")
    (running,) = reader.look().running
    assert (running.pair, running.worker, running.state.current_batch) == ("echo/a/one", "", 3)


def test_a_run_that_ended_runs_nothing(run, reader):
    """Whatever its last events were."""
    run.start()
    run.item("echo/a/one")
    assert len(reader.look().running) == 1
    run.end()
    snapshot = reader.look()
    assert (snapshot.standing.word, snapshot.running) == ("ended", ())


def test_it_carries_on_with_the_run(run, reader):
    """A run that died is shown as alive again when somebody carries on."""
    run.start()
    run.item("echo/a/one")
    run.die()
    dead = reader.look()
    assert (dead.standing.word, dead.death.command) == ("dead", "pytest evals -n 2")
    assert [each.pair for each in dead.running] == ["echo/a/one"]
    run.tasks.stop_running()
    run.write_tasks()
    run.start()
    snapshot = reader.look()
    assert (snapshot.standing.word, snapshot.death, snapshot.running) == ("live", None, ())


def test_failures_have_their_reasons_newest_first(run, reader):
    """The note of the log where there is one; of what only the list knows, the name."""
    run.tasks.set("echo/dir/b", "one", Status.FAILED)
    run.start()
    run.ended("echo/a/one", "error", note="RuntimeError: boom")
    run.ended("echo/a/two", "failed", note="echo/a/two: 1 gate breached")
    assert [(each.pair, each.outcome, each.reason) for each in reader.look().failed] == [
        ("echo/a/two", "failed", "1 gate breached"),
        ("echo/a/one", "error", "RuntimeError: boom"),
        ("echo/dir/b/one", "failed", ""),
    ]


def test_what_was_reset_has_not_failed(run, reader):
    """The list of the next launch says so."""
    run.start()
    run.ended("echo/a/one", "failed")
    assert len(reader.look().failed) == 1
    run.end()
    run.tasks.set("echo/a", "one", Status.PENDING)
    run.write_tasks()
    run.start()
    again = SnapshotReader(run.paths)
    assert again.look().failed == ()


def test_failures_are_shown_up_to_a_number(make_run):
    """All of them are counted."""
    run = make_run({"echo/a": [f"d{i}" for i in range(MOST_FAILED + 10)]})
    for i in range(MOST_FAILED + 10):
        run.tasks.set("echo/a", f"d{i}", Status.FAILED)
    run.write_tasks()
    snapshot = SnapshotReader(run.paths).look()
    assert len(snapshot.failed) == MOST_FAILED
    assert snapshot.counts[Status.FAILED] == MOST_FAILED + 10


def test_damaged_files_are_told_and_the_rest_is_shown(run, reader):
    """Each by its name; a line that is no event, a state that says nothing, a session of nobody."""
    run.start()
    run.item("echo/a/one")
    reader.look()
    run.paths.task_list.write_text("rubbish")
    run.paths.session_json.write_text("{")
    run.files("echo/a/one").state.parent.mkdir(parents=True)
    run.files("echo/a/one").state.write_text("?")
    with run.paths.worker_events("gw0").open("a") as file:
        file.write("?\n")
    snapshot = reader.look()
    assert [problem.partition(" ")[0] for problem in snapshot.problems] == [
        ".task_list",
        "session.json",
        "events/gw0.jsonl:",
        "the",
    ]
    assert [each.pair for each in snapshot.running] == ["echo/a/one"]
    assert sum(snapshot.counts.values()) == 6


def test_a_refresh_parses_no_list(run, reader, monkeypatch):
    """Nothing that is done again and again may grow with the number of pairs."""
    run.start()
    reader.look()
    monkeypatch.setattr(tasks, "parse", lambda _: pytest.fail("the list was parsed"))
    run.item("echo/a/one")
    run.ended("echo/a/one")
    assert reader.look().counts[Status.COMPLETED] == 1


def test_a_newer_format_is_refused_and_nothing_is_changed(run):
    """It may mean anything."""
    run.paths.run_json.write_text('{"format": 2}')
    before = sorted(path.name for path in run.paths.root.iterdir())
    with pytest.raises(ConfigError, match=r"written by a newer version \(format 2\)"):
        SnapshotReader(run.paths)
    assert sorted(path.name for path in run.paths.root.iterdir()) == before


def test_a_run_that_is_removed_ends_the_watch(run, reader):
    """With a word; there is nothing left to show."""
    reader.look()
    shutil.rmtree(run.paths.root)
    with pytest.raises(ConfigError, match="is gone"):
        reader.look()


def test_another_host_is_asked_for_signs_of_life(run, reader):
    """No lock tells from here whether it lives."""
    run.start()
    run.item("echo/a/one")
    run.die()
    content = json.loads(run.paths.session_json.read_text())
    run.paths.session_json.write_text(json.dumps(content | {"host": "elsewhere"}))
    snapshot = reader.look()
    assert snapshot.standing.word == "unknown"
    assert 0 <= snapshot.quiet < 600
    assert len(snapshot.running) == 1


def test_it_is_one_object_of_json(run, reader):
    """Everything that a frame shows, and every pair."""
    run.start(selected=6)
    run.item("echo/a/one")
    run.state("echo/a/one")
    run.ended("echo/a/two", "failed", note="1 gate breached")
    reader.look()
    reader.tasks.set_skipped(["echo/a/slow"])
    content = json.loads(json.dumps(reader.look().to_json()))
    assert (content["format"], content["session"]) == (1, "live")
    assert content["counts"] == {"pending": 4, "running": 1, "completed": 0, "failed": 1, "skipped": 1, "deselected": 0}
    assert content["progress"]["selected"] == 6
    assert content["running"][0]["state"]["retry_count"] == 2
    assert content["failed"][0]["reason"] == "1 gate breached"
    assert content["tasks"][0] == {
        "task": "echo/a",
        "datasets": {"one": "running", "two": "failed", "three": "pending", "slow": "skipped"},
    }
