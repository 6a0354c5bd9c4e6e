"""What `evalrun view` costs while browsers watch a large run."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, environment
from benchmarks.monitor import TASKS, SyntheticRun
from pytest_evalrun.monitor.web.pages import ServedPage
from pytest_evalrun.rundir.results import TIMING, Result
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from pathlib import Path

WATCHERS = 10
WARM_UP = 8.0
SECONDS = 30.0
_VIEW = "from pytest_evalrun.cli import main; main()"


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Ten pages are open on a run of which eight pairs run, and a few end each second.

    The page itself is made again so seldom that its share of the processor is known without waiting for it.
    """
    pairs = scale.pairs * 10
    run = SyntheticRun(place / "run", pairs)
    _write_results(run, pairs)
    try:
        start, used = _watched(run)
        page, pause = _page_again(run)
    finally:
        run.close()
    share = used / start + page / pause
    what = f"processor share of `evalrun view` on {pairs:,} pairs, {WATCHERS} watchers"
    again = f"processor seconds of its page, made again every {pause:.0f} s at most"
    return [
        Figure(what, used, start, f"{share:.2%}", f"{share:.2%}", "<= 3 %", share <= 0.03),
        Figure(again, page, pause, f"{page / pause:.2%}", f"{page / pause:.2%}", "<= 1.5 %", page / pause <= 0.015),
    ]


def _write_results(run: SyntheticRun, pairs: int) -> None:
    """Every pair has one, as if the run was made once more."""
    for number in range(pairs):
        task, dataset = divmod(number, pairs // TASKS)
        key = PairKey("noop", f"m{task}", f"d{dataset}")
        value = 0.5 + number % 50 / 100
        found = {"value": value, "n": 100, "low": value - 0.05, "high": value + 0.05, "better": "higher"}
        gate = {"metric": "top1", "kind": "min", "limit": 0.6, "value": value, "by": value - 0.6, "holds": value >= 0.6}
        result = Result(
            *key,
            status="passed" if gate["holds"] else "failed",
            metrics={"top1": found, "f1": found},
            samples={"total": 100, "predicted": 100, "failed": 0, "reused": 0},
            seconds={"total": 1.0, "p50": 0.01 + number % 7 / 100, "p95": 0.1},
            gates=[gate],
            fingerprint={"prediction": {"model": "0" * 64}, "score": {"metrics": {}}},
            environment={"python": "3.12"},
            timing=TIMING,
        )
        path = run.paths.pair(key).result
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.dumps())


def _watched(run: SyntheticRun) -> tuple[float, float]:
    """Seconds on the wall and of the processor while it is watched, the start and the first page left out."""
    import psutil

    command = [sys.executable, "-c", _VIEW, "view", str(run.paths.root)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
    try:
        assert child.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)(/t/[^/]+)/", child.stdout.readline())
        if found is None:
            raise SystemExit("the view did not say where it is")
        watchers = [_Page(int(found[1]), found[2]) for _ in range(WATCHERS)]
        process = psutil.Process(child.pid)
        while not all(watcher.snapshots for watcher in watchers):
            run.go_on(WARM_UP)
        before, start = sum(process.cpu_times()[:2]), time.perf_counter()
        run.go_on(SECONDS)
        spent = time.perf_counter() - start, sum(process.cpu_times()[:2]) - before
    finally:
        child.terminate()
        child.wait()
    if any(not watcher.snapshots for watcher in watchers):
        raise SystemExit("a watcher saw nothing")
    return spent


def _page_again(run: SyntheticRun) -> tuple[float, float]:
    """Processor seconds for the page once more, and how many seconds pass at least until it is made again."""
    page = ServedPage(run.paths, lambda _: lambda _: None)
    page.sections(1)
    run.go_on(1.0)
    started = time.thread_time()
    page.sections(2)
    return time.thread_time() - started, page.pause


class _Page(threading.Thread):
    """Does what the page in a browser does: follows the events, and asks for its sections when results changed."""

    def __init__(self, port: int, base: str) -> None:
        super().__init__(daemon=True)
        self.snapshots = 0
        self._port = port
        self._base = base
        self.start()

    def run(self) -> None:
        try:
            self._ask("/").read()
            for line in self._ask("/api/events"):
                self.snapshots += line.startswith(b"event: snapshot")
                if line.startswith(b"event: results"):
                    self._ask("/api/page").read()
        except OSError:
            pass  # the server has ended

    def _ask(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("GET", f"{self._base}{path}")
        return connection.getresponse()
