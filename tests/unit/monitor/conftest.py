"""A run that a test lets happen step by step, written by the writers of a real one."""

from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext

import pytest

from pytest_evalrun.monitor.reader import SnapshotReader
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.events import CONTROLLER, EventWriter, MainLog
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.rundir.state import RunningState
from pytest_evalrun.rundir.tasklist import Status, TaskList
from pytest_evalrun.suite.names import safe_name, shard_of
from pytest_evalrun.suite.pairs import Cut, PairKey

ARGV = ["/bin/pytest", "evals", "-n", "2"]


class LivingRun:
    """``tasks`` maps task directories to their datasets."""

    def __init__(self, root, tasks):
        root.mkdir(parents=True)
        (root.parent / "latest").symlink_to(root.name)
        self.paths = RunPaths(root)
        write_atomic(self.paths.run_json, '{"format": 1}')
        self.tasks = TaskList((task, "", datasets) for task, datasets in tasks.items())
        self.log = MainLog(self.paths.main_log)
        self.controller = EventWriter(self.paths.events, CONTROLLER)
        self.session = None
        self.write_tasks()

    def start(self, argv=ARGV, **fields):
        self.session = open_session(self.paths, argv)
        self.controller.write("run_started", argv=argv, run_id=self.session.run_id, pid=os.getpid(), **fields)
        self.log.write("INFO", f"run {self.paths.root.name} started by process {os.getpid()}")
        return self

    def die(self):
        """The kernel frees the lock; nothing is written."""
        self.session._lock.close()

    def end(self, clean=True):
        self.controller.write("run_finished", clean=clean)
        self.session.close(clean)

    def write_tasks(self):
        self.tasks.write(self.paths.task_list, nullcontext())

    def worker(self, name):
        return EventWriter(self.paths.worker_events(name), name)

    def item(self, pair, worker="gw0"):
        self.worker(worker).write("item_started", pair)
        self._set(shard_of(pair)[0], Status.RUNNING)

    def ended(self, pair, outcome="passed", worker="gw0", seconds=1.0, reused=False, note="new"):
        told = {"outcome": outcome, "reused": reused, "reason": "new", "seconds": seconds}
        for events in (self.worker(worker), EventWriter(self.paths.events, worker)):
            events.write("item_finished", pair, **told)
        if shard_of(pair)[1] is not None:
            return
        bad = outcome in ("failed", "error")
        stands = Status.PENDING if outcome == "skipped" else Status.COMPLETED
        self._set(pair, Status.FAILED if bad else stands)
        self.log.write("ERROR" if bad else "INFO", f"{'✗' if bad else '✓'} {outcome}: {pair}: {note}")

    def _set(self, pair, status):
        task, _, dataset = pair.rpartition("/")
        self.tasks.set(task, dataset, status)
        self.write_tasks()

    def files(self, pair):
        pair, shard = shard_of(pair)
        suite, _, rest = pair.partition("/")
        task, _, dataset = rest.rpartition("/")
        key = PairKey(safe_name(suite), safe_name(task), safe_name(dataset))
        return self.paths.pair(key) if shard is None else self.paths.shard(key, Cut(0, 0, shard))

    def state(self, pair, batch=3, batches=10, within=5, size=20, failed=1, retried=2, when=None):
        when = int(time.time()) if when is None else when
        state = RunningState(batch, batches, within, size, failed, retried, when, size, batches * size)
        write_atomic(self.files(pair).state, state.render())

    def result(self, pair, value=0.5, status="passed"):
        suite, _, rest = pair.partition("/")
        task, _, dataset = rest.rpartition("/")
        content = {
            "suite": suite,
            "task": task,
            "dataset": dataset,
            "status": status,
            "metrics": {"top1": {"value": value, "n": 10, "low": value, "high": value, "better": "higher"}},
            "samples": {"total": 10, "predicted": 10, "failed": 0, "reused": 0},
            "seconds": {"total": 1.0},
            "gates": [],
            "fingerprint": {},
            "environment": {},
        }
        write_atomic(self.files(pair).result, json.dumps(content))


@pytest.fixture
def run(tmp_path):
    """Two tasks of three datasets each; its session has not begun."""
    datasets = ["one", "two", "three"]
    run = LivingRun(tmp_path / "work" / "20261121_103015", {"echo/a": datasets, "echo/dir/b": datasets})
    yield run
    if run.session is not None:
        run.session.close(True)


@pytest.fixture
def make_run(tmp_path):
    """Runs of other tasks."""
    return lambda tasks, name="run": LivingRun(tmp_path / name, tasks)


@pytest.fixture
def reader(run):
    return SnapshotReader(run.paths)
