"""The live session: files that only the launching process writes, right while it runs and after it ended."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.rundir.events import EventWriter
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.live import LiveRun, existing_run, open_run, plugin_of
from pytest_evalrun.rundir.processes import ProcessLog
from pytest_evalrun.rundir.runs import skipped_in
from pytest_evalrun.rundir.sessions import session_state
from pytest_evalrun.rundir.tasklist import Status, read_task_list
from pytest_evalrun.rundir.tasklock import TaskListLock
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Suite, Task

ARGV = ["pytest", "evals", "--eval-set", "params.key=hunter22222222"]


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path, monkeypatch):
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))


@pytest.fixture
def suite(tmp_path):
    """Two tasks with two datasets each, and one that is skipped."""
    layer = Layer("suite", "evalrun.yaml", {"params": {"key": "${TOKEN}"}, "post_process_plugin": "judge"})
    root = str(tmp_path / "evals")

    def pair(task, dataset, skip=None):
        return Pair("letters", root, Task(task, None, root), Dataset(dataset, f"/{dataset}"), (layer,), skip=skip)

    pairs = [pair(task, dataset) for task in ("a", "dir/任务") for dataset in ("one", "two")]
    return Suite("letters", f"{root}/evalrun.yaml", root, (*pairs, pair("a", "three", "too slow")))


@pytest.fixture
def start(tmp_path, suite):
    """``start()``: a live session; those that the test leaves open are closed."""
    runs = []

    def make(wanted="latest", suites=(suite,)):
        said = []
        live = LiveRun(WorkDir(tmp_path / "work"), wanted, suites, ARGV, said.append)
        runs.append(live)
        return SimpleNamespace(live=live, paths=live.paths, said=said)

    yield make
    for live in runs:
        if session_state(live.paths).word == "live":
            live.close(clean=True)


def states(paths):
    return {f"{task}/{dataset}": status.name for (task, dataset), status in read_task_list(paths.task_list).items()}


def wait_for(check):
    """Until a thread has done what it does several times a second."""
    end = time.monotonic() + 10
    while not check() and time.monotonic() < end:
        time.sleep(0.01)
    assert check()


def test_a_session_from_start_to_end(start, suite):
    """States as pairs start and end; process files while it lives, and none afterwards."""
    session = start()
    live, paths = session.live, session.paths
    assert states(paths) == dict.fromkeys(
        ["letters/a/one", "letters/a/two", "letters/dir/任务/one", "letters/dir/任务/two"], "PENDING"
    )
    assert paths.task_list.read_text().startswith("*letters/a|judge|2\n")
    assert paths.main_pid.read_text() == f"{os.getpid()}\n"

    one, two, three, _, _ = suite.pairs
    for pair in (one, two, three):
        live.started(pair)
    wait_for(lambda: states(paths)["letters/a/one"] == "RUNNING")
    live.finished(one, "passed", worker="gw0", status=Status.COMPLETED, note="new")
    live.finished(two, "failed", worker="gw0", status=Status.FAILED, note="gate breached")
    wait_for(lambda: states(paths)["letters/a/two"] == "FAILED" and paths.failed_tasks.exists())
    assert paths.failed_tasks.read_text() == "letters/a/two\n"
    live.close(clean=True)

    assert list(states(paths).values()) == ["COMPLETED", "FAILED", "PENDING", "PENDING"]
    assert not paths.main_pid.exists()
    assert not paths.running_pids.exists()
    assert session_state(paths).word == "ended"
    events = [json.loads(line) for line in paths.events.read_text().splitlines()]
    assert [event["event"] for event in events] == ["run_started", "run_finished"]
    log = paths.main_log.read_text()
    assert "[TASK] start: letters/dir/任务/one" in log
    assert "[ERROR] ✗ failed: letters/a/two: gate breached" in log
    assert log.rstrip().endswith("[INFO] run ended")


def test_the_next_session_carries_on(start, suite):
    """In the same run, with the states that pairs have there; what ran when it was killed is pending."""
    first = start()
    first.live.started(suite.pairs[0])
    first.live.finished(suite.pairs[0], "passed", worker="gw0", status=Status.COMPLETED, note="")
    first.live.started(suite.pairs[1])
    first.live.close(clean=False)
    second = start()
    assert second.paths == first.paths
    assert list(states(second.paths).values()) == ["COMPLETED", "PENDING", "PENDING", "PENDING"]
    second.live.close(clean=True)
    assert start("new").paths != first.paths


def test_pairs_that_say_nothing_of_themselves_stand_as_before(start, suite):
    """An item that only looks at a pair starts and ends without changing how it stands."""
    session = start()
    pair = suite.pairs[0]
    session.live.started(pair)
    session.live.finished(pair, "passed", worker="gw0", status=Status.COMPLETED, note="")
    session.live.started(pair)
    session.live.finished(pair, "failed", worker="gw0", status=None, note="")
    session.live.close(clean=True)
    assert states(session.paths)["letters/a/one"] == "COMPLETED"


def test_who_is_skipped_is_noted_with_the_reason(start, suite):
    """By its suite from the start, in its turn at the end; other suites' are kept, and who is wanted again is not."""
    one, two, three, *_ = suite.pairs
    held = replace(suite.pairs[-1], suite="numbers")
    first = start(suites=(suite, replace(suite, name="numbers", pairs=(held,))))
    noted = {"letters/a/three": "too slow", "numbers/a/three": "too slow"}
    assert skipped_in(first.paths) == noted
    first.live.started(two)
    first.live.finished(two, "skipped", worker="gw0", status=Status.PENDING, note="no board")
    first.live.finished(three, "skipped", worker="gw0", status=None, note="a user's own test")
    first.live.close(clean=True)
    assert skipped_in(first.paths) == noted | {"letters/a/two": "no board"}
    assert states(first.paths)["letters/a/two"] == "PENDING"
    again = start(suites=(replace(suite, pairs=(one, two, three)),))
    assert skipped_in(again.paths) == {"numbers/a/three": "too slow"}


def test_one_session_at_a_time(start):
    """A second one is refused; the first goes on."""
    session = start()
    with pytest.raises(RunBusy, match=str(os.getpid())):
        start()
    assert session_state(session.paths).word == "live"


def test_a_damaged_task_list_is_made_again(start):
    """With a warning to the user and in the log."""
    first = start()
    first.live.close(clean=True)
    first.paths.task_list.write_bytes(b"\xff torn")
    second = start()
    assert list(states(second.paths).values()) == ["PENDING"] * 4
    assert "was damaged" in second.said[0]
    assert "[WARNING] .task_list was damaged" in second.paths.main_log.read_text()


def test_events_of_workers_are_merged(start, suite):
    """When an item of theirs ends, when they are lost, and at the end."""
    session = start()
    workers = {name: EventWriter(session.paths.worker_events(name), name) for name in ("gw0", "gw1", "gw2")}
    for name, writer in workers.items():
        writer.write("item_started", f"of {name}")

    def merged():
        lines = [json.loads(line) for line in session.paths.events.read_text().splitlines()]
        return [event["pair"] or event["event"] for event in lines]

    session.live.finished(suite.pairs[0], "passed", worker="gw1", status=Status.PENDING, note="")
    session.live.worker_lost("gw0", "killed by signal 9")
    assert merged() == ["run_started", "of gw1", "of gw0", "worker_lost"]
    session.live.close(clean=True)
    assert merged()[4:] == ["of gw2", "run_finished"]
    assert "[ERROR] worker gw0 was lost: killed by signal 9" in session.paths.main_log.read_text()
    for writer in workers.values():
        writer.close()


def test_processes_that_live_are_named(start, suite):
    """Those of workers, for whoever must signal them; the launching one is not its own worker."""
    session = start()
    log = ProcessLog(session.paths.processes("gw0"))
    for pid in (os.getpid(), os.getppid(), 2**22 + 1):
        log.add(pid)
    log.close()
    assert session.live.workers() == [os.getppid()]
    session.live.started(suite.pairs[0])
    wait_for(lambda: session.paths.running_pids.exists())
    assert session.paths.running_pids.read_text() == f"{os.getpid()}\n{os.getppid()}\n"


def test_no_secret_is_written_down(start, suite, monkeypatch):
    """Neither from the command line nor from what items say; not in any file of the run."""
    monkeypatch.setenv("TOKEN", "hunter22222222")
    session = start()
    session.live.finished(suite.pairs[0], "error", worker="gw0", status=Status.FAILED, note="bad key hunter22222222")
    session.live.close(clean=True)
    written = [path for path in session.paths.root.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert [path.name for path in written if b"hunter" in path.read_bytes()] == []
    assert "bad key ***" in session.paths.main_log.read_text()


def test_a_launch_is_on_record(start, suite, tmp_path):
    """Its snapshot, the suite's place relative to the run, and the directories that models write to outside of it."""
    session = start()
    session.live.claim([])
    session.live.claim(["/data/out"])
    content = json.loads(session.paths.run_json.read_text())
    assert (session.paths.root / content["suites"]["letters"]).resolve() == (tmp_path / "evals/evalrun.yaml").resolve()
    assert content["directories"] == ["/data/out"]
    (snapshot,) = session.paths.configs.iterdir()
    assert yaml.safe_load(snapshot.read_text())["argv"][0] == "pytest"


def test_a_full_disk_ends_no_session(start, suite, monkeypatch):
    """The task list is written again as soon as the disk takes it."""
    session = start()
    tried = []
    monkeypatch.setattr(session.live.tasks, "write", lambda path, lock: bool(tried.append(path)))
    session.live.started(suite.pairs[0])
    wait_for(lambda: len(tried) >= 2)  # the first for the item that started, the second because that one failed
    monkeypatch.undo()
    wait_for(lambda: states(session.paths)["letters/a/one"] == "RUNNING")


def test_who_was_skipped_costs_no_session_its_end(start, suite):
    """Where the note of it cannot be written, the log says so."""
    session = start()
    session.live.started(suite.pairs[0])
    session.live.finished(suite.pairs[0], "skipped", worker="gw0", status=Status.PENDING, note="no board")
    session.paths.run_json.write_text("{")
    session.live.close(clean=True)
    log = session.paths.main_log.read_text()
    assert "who was skipped could not be noted" in log
    assert "run ended" in log


def test_a_lock_that_is_held_is_told_and_waited_out(start, suite, monkeypatch):
    """Another program that keeps the task list's lock costs a line in log and terminal, not the session.

    The thread that meets it does not write to the terminal itself.
    """
    session = start()

    def held(path, lock):
        raise ConfigError("task_list.lock: another process holds the lock")

    monkeypatch.setattr(session.live.tasks, "write", held)
    session.live._write_tasks()
    session.live._write_tasks()
    assert session.said == []
    session.live.started(suite.pairs[0])
    monkeypatch.undo()
    session.live.close(clean=True)
    (line,) = session.said
    assert line.startswith("task_list.lock: another process holds the lock; ")
    assert "[ERROR] task_list.lock: another process holds the lock" in session.paths.main_log.read_text()


def test_a_place_of_the_lock_that_is_not_ours_is_told(start, tmp_path):
    """At once, once, and the task list is kept all the same."""
    TaskListLock(tmp_path / "work").directory.symlink_to(tmp_path)
    session = start()
    (line,) = session.said
    assert "is not trusted with the lock of the task list: it is a symbolic link; " in line
    session.live.close(clean=True)
    assert session.said == [line]
    assert states(session.paths)["letters/a/one"] == "PENDING"
    assert not (tmp_path / "work" / "task_list.lock").exists()


def test_an_existing_run_is_held_for_a_moment(start, tmp_path):
    """For what writes summaries alone: it needs a run, and nobody else on it."""
    workdir = WorkDir(tmp_path / "work")
    with pytest.raises(ConfigError, match="there is no run yet"), existing_run(workdir, "latest", []):
        pass
    session = start()
    with pytest.raises(RunBusy), existing_run(workdir, "latest", []):
        pass
    session.live.close(clean=True)
    with existing_run(workdir, "latest", []) as paths:
        assert paths == session.paths
        assert session_state(paths).word == "live"
    assert session_state(paths).word == "ended"


def test_a_run_of_a_newer_version_is_left_alone(start, tmp_path):
    """It is refused before anything is written to it."""
    session = start()
    session.live.close(clean=True)
    session.paths.run_json.write_text('{"format": 99}')
    before = session.paths.session_json.read_bytes()
    for opening in (open_run, lambda workdir, wanted: existing_run(workdir, wanted, []).__enter__()):
        with pytest.raises(ConfigError, match="newer version"):
            opening(WorkDir(tmp_path / "work"), "latest")
    assert session.paths.session_json.read_bytes() == before


LAYERS = {
    "none": ([{}], ""),
    "one": ([{"post_process_plugin": "judge"}], "judge"),
    "the last that says it": ([{"post_process_plugin": "judge"}, {"post_process_plugin": "other"}, {}], "other"),
    "unset": ([{"post_process_plugin": "judge"}, {"post_process_plugin": None}], ""),
}


@pytest.mark.parametrize(("layers", "plugin"), LAYERS.values(), ids=LAYERS)
def test_the_plugin_column(layers, plugin):
    """What POST_PROCESS_PLUGIN names, as the highest layer says it."""
    stack = tuple(Layer("suite", "x", values) for values in layers)
    assert plugin_of(Pair("s", "/", Task("t", None, "/"), Dataset("d", "/d"), stack)) == plugin


@pytest.mark.parametrize("fault", ["point_latest", "write_snapshot", "add_manifest"])
def test_a_run_that_cannot_be_opened_is_given_back(start, monkeypatch, fault):
    """Its lock, its thread and its files: the same process may try again."""

    def fail(*_, **__):
        raise OSError(28, "No space left on device", "x")

    threads = threading.active_count()
    with monkeypatch.context() as patched:
        patched.setattr(f"pytest_evalrun.rundir.live.{fault}", fail)
        with pytest.raises(OSError, match="No space"):
            start()
    assert threading.active_count() == threads
    assert start().said == []


def test_what_fails_before_the_first_item_gives_the_run_back(start, monkeypatch):
    """To name the places that models write to comes after the run was opened."""
    threads = threading.active_count()
    live = start().live
    monkeypatch.setattr("pytest_evalrun.rundir.live.add_manifest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), live.kept():
        live.claim(["/out"])
    monkeypatch.undo()
    assert threading.active_count() == threads
    assert session_state(live.paths).word == "ended"
    assert start().live.session.unclean is False


def test_a_run_is_named_where_suites_agree(start, suite):
    """A suite that names runs names those that are new; where two want it otherwise, none does."""
    named = replace(suite, run_name="exp-{TIMESTAMP_DATE}")
    assert start("new", (named, suite)).paths.root.name.startswith("exp-2")
    other = replace(suite, name="other", run_name="{TIMESTAMP}")
    assert not start("new", (named, other)).paths.root.name.startswith("exp-")
