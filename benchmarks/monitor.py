"""What `evalrun monitor` costs while it watches a large run, in a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.events import CONTROLLER, EventWriter, MainLog
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.rundir.state import RunningState
from pytest_evalrun.rundir.tasklist import Status, TaskList
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = 8
TASKS = 100
BATCHES = 20
INTERVAL = 0.5
WARM_UP = 3.0
SECONDS = 15.0
WINDOW = (120, 40)
_WATCH = (
    "import sys, pathlib; from pytest_evalrun.monitor import monitor;"
    f" monitor(pathlib.Path(sys.argv[1]), {INTERVAL}, once=False, as_json=False, stream=sys.stdout)"
)


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Eight pairs run, a few end each second, and the files change as they do in a real run."""
    pairs = scale.pairs * 10
    run = SyntheticRun(place / "run", pairs)
    try:
        start, used = _watched(run)
    finally:
        run.close()
    share = used / start
    what = f"processor share of `evalrun monitor` on {pairs:,} pairs at {1 / INTERVAL:g} Hz"
    return [Figure(what, used, start, f"{share:.2%}", f"{share:.2%}", "<= 3 %", share <= 0.03)]


def _watched(run: SyntheticRun) -> tuple[float, float]:
    """Seconds on the wall and of the processor, the start left out."""
    import psutil

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", WINDOW[1], WINDOW[0], 0, 0))
    command = [sys.executable, "-c", _WATCH, str(run.paths.root)]
    environ = os.environ | {"TERM": "xterm-256color"}
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True)
    os.close(slave)
    drawn = _Drain(master)
    process = psutil.Process(child.pid)
    try:
        run.go_on(WARM_UP)
        before, start = sum(process.cpu_times()[:2]), time.perf_counter()
        run.go_on(SECONDS)
        spent = time.perf_counter() - start, sum(process.cpu_times()[:2]) - before
    finally:
        child.terminate()
        child.wait()
    if b"Running (8)" not in drawn.data:
        raise SystemExit(f"the monitor did not draw the run:\n{drawn.data[-2000:]!r}")
    return spent


class _Drain(threading.Thread):
    """Reads what is drawn, as a terminal would."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self.data = b""
        self._fd = fd
        self.start()

    def run(self) -> None:
        try:
            while data := os.read(self._fd, 1 << 16):
                self.data = (self.data + data)[-1_000_000:]
        except OSError:
            pass  # the last one who could draw is gone
        finally:
            os.close(self._fd)


class SyntheticRun:
    """A run directory that changes as that of a living session does, written by the writers of a real one."""

    def __init__(self, root: Path, pairs: int) -> None:
        root.mkdir(parents=True)
        self.paths = RunPaths(root)
        self._names = [(f"noop/m{i // (pairs // TASKS)}", f"d{i % (pairs // TASKS)}") for i in range(pairs)]
        write_atomic(self.paths.run_json, json.dumps({"format": 1}))
        self._session = open_session(self.paths, ["pytest", "evals", "-n", str(RUNNING)])
        self._tasks = TaskList(self._groups())
        self._log = MainLog(self.paths.main_log)
        self._merged = EventWriter(self.paths.events, CONTROLLER)
        self._merged.write("run_started", argv=["pytest"], run_id=self._session.run_id, pid=os.getpid())
        self._workers = [EventWriter(self.paths.worker_events(f"gw{i}"), f"gw{i}") for i in range(RUNNING)]
        self._copies = [EventWriter(self.paths.events, f"gw{i}") for i in range(RUNNING)]
        self._next = 0
        self._batch = 0
        self._now: dict[int, int] = {}
        for _ in range(pairs // 2):
            self._end_one()
        self._write_tasks()

    def _groups(self) -> list[tuple[str, str, list[str]]]:
        groups: dict[str, list[str]] = {}
        for task, dataset in self._names:
            groups.setdefault(task, []).append(dataset)
        return [(task, "", datasets) for task, datasets in groups.items()]

    def go_on(self, seconds: float) -> None:
        """Ten rounds a second: every running pair's state changes, and one pair in two rounds ends."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._batch += 1
            for index in self._now.values():
                self._write_state(index)
            if self._batch % 2:
                self._end_one()
            if not self._batch % 3:
                self._write_tasks()
            time.sleep(0.1)

    def _end_one(self) -> None:
        """The next worker ends its pair and begins another; one in a hundred fails."""
        worker = self._next % RUNNING
        if worker in self._now:
            task, dataset = self._names[self._now[worker]]
            outcome = "failed" if self._next % 100 == 0 else "passed"
            told = {"outcome": outcome, "reused": False, "reason": "new", "seconds": 0.1 + self._next % 7}
            for events in (self._workers[worker], self._copies[worker]):
                events.write("item_finished", f"{task}/{dataset}", **told)
            self._tasks.set(task, dataset, Status.FAILED if outcome == "failed" else Status.COMPLETED)
            self._log.write("INFO", f"✓ passed: {task}/{dataset}: new")
        self._begin(worker)

    def _begin(self, worker: int) -> None:
        index = self._now[worker] = self._next % len(self._names)
        self._next += 1
        task, dataset = self._names[index]
        self._workers[worker].write("item_started", f"{task}/{dataset}")
        self._tasks.set(task, dataset, Status.RUNNING)
        self._log.write("TASK", f"start: {task}/{dataset}")

    def _write_state(self, index: int) -> None:
        task, dataset = self._names[index]
        path = self.paths.pair(PairKey("noop", task.removeprefix("noop/"), dataset)).state
        batch = self._batch % BATCHES + 1
        write_atomic(path, RunningState(batch, BATCHES, 3, 4, 0, 0, int(time.time()), 4, 4 * BATCHES).render())

    def _write_tasks(self) -> None:
        self._tasks.write(self.paths.task_list, nullcontext())

    def close(self) -> None:
        for file in (self._log, self._merged, *self._workers, *self._copies):
            file.close()
        self._session.close(clean=True)
