"""What it costs to decide who does what next, and to lease a GPU for it: no pair is evaluated here."""

from __future__ import annotations

import heapq
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.harness import MODELS, Figure, Scale
from benchmarks.workload import SEED
from pytest_evalrun.planning.forecast import forecast
from pytest_evalrun.planning.pool import Pool
from pytest_evalrun.planning.work import Work
from pytest_evalrun.plugin.xdist.crashes import Lost
from pytest_evalrun.plugin.xdist.scheduler import Scheduler, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 8
MOST_GROWTH = 1.1
MOST_LEASE = 0.002
TESTS = Path(__file__).parents[1] / "tests"

# Run where the loader finds the tests' NVML library instead of a driver's.
LEASES = """\
import statistics, sys, time
from pathlib import Path
from pytest_evalrun.slots.gpus import Nvml
from pytest_evalrun.slots.visible import find_gpus
from pytest_evalrun.slots.leases import LeaseDirectory, Leases
from pytest_evalrun.slots.need import Need

nvml = Nvml()
found = find_gpus(nvml=nvml)
leases = Leases(LeaseDirectory(Path(sys.argv[1])), found.gpus, nvml)
spent = []
for _ in range(300):
    start = time.perf_counter()
    leases.try_acquire(Need(1, 40)).release()
    spent.append(time.perf_counter() - start)
print(statistics.median(spent))
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    few, many = scale.pairs, 10 * scale.pairs
    return [
        _growth("a run on paper", _played, few, many, scale.rounds),
        _growth("the scheduler", _scheduled, few, many, scale.rounds),
        _lease(place),
    ]


def _growth(what: str, spend: Callable[[list[Work]], float], few: int, many: int, rounds: int) -> Figure:
    """Cost per item among many against that among few, each the least of several: a pause is nobody's cost."""
    small, large = [], []
    for _ in range(max(rounds, 5)):
        small += [spend(_works(few)) for _ in range(many // few)]
        large.append(spend(_works(many)))
    found = (min(large) / many) / (min(small) / few)
    what = f"{what}: an item of {many:,} ({min(large) / many * 1e6:.0f} us) against one of {few:,}"
    shown = (f"{found:.2f} x", "", f"<= {MOST_GROWTH:g} x")
    return Figure(what, min(large), min(small), *shown, found <= MOST_GROWTH)


def _works(count: int) -> list[Work]:
    rng = random.Random(SEED)  # noqa: S311 - the same works each time are the point
    return [Work(place, f"m{place % MODELS}", rng.lognormvariate(3, 1), 20.0) for place in range(count)]


def _played(works: list[Work]) -> float:
    start = time.process_time()
    forecast(works, WORKERS, Pool())
    return time.process_time() - start


def _scheduled(works: list[Work]) -> float:
    """Every item sent to a worker that does nothing, and told to have ended when it is expected to."""
    start = time.process_time()
    units = [Unit((work.place,), work) for work in works]
    ids = [f"evals/evalrun.yaml::test_pair[{work.model}/d{work.place}]" for work in works]
    nodes = [_Node(f"gw{number}") for number in range(WORKERS)]
    scheduler = Scheduler(ids, units, Pool(), WORKERS, lost=lambda *_: Lost.ERROR, tick=lambda: None)
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, ids)
    scheduler.schedule()
    ended = _run_all(scheduler, nodes, works)
    if ended != len(works) or not scheduler.tests_finished:
        raise SystemExit(f"the scheduler sent {ended} of {len(works)} items")
    return time.process_time() - start


@dataclass(eq=False)
class _Node:
    """What the scheduler sees of a worker."""

    name: str
    shutting_down: bool = False
    sent: list[int] = field(default_factory=list)

    @property
    def gateway(self) -> Any:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.sent += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


def _run_all(scheduler: Scheduler, nodes: list[_Node], works: list[Work]) -> int:
    ended, now = 0, 0.0
    busy: list[tuple[float, int, int]] = []
    while True:
        for place, node in enumerate(nodes):
            for number in node.sent:
                index = number // (len(works) + 1)
                heapq.heappush(busy, (now + works[index].seconds, place, index))
            node.sent.clear()
        if not busy:
            return ended
        now, place, index = heapq.heappop(busy)
        scheduler.mark_test_complete(nodes[place], index)
        ended += 1


def _lease(place: Path) -> Figure:
    """One of eight GPUs, by the tests' NVML library: what a real driver takes comes on top."""
    sys.path.insert(0, str(TESTS))
    try:
        from nvml import FakeNvml
    finally:
        sys.path.remove(str(TESTS))
    host = FakeNvml(place).gpus(*[80] * 8)
    command = [sys.executable, "-c", LEASES, str(place / "slots")]
    spent = [float(_answer(command, os.environ | host.env)) for _ in range(3)]
    found = statistics.median(spent)
    shown = (f"{found * 1000:.2f} ms", "", f"<= {MOST_LEASE * 1000:.0f} ms")
    return Figure("lease and release of one GPU of eight", found, found, *shown, found <= MOST_LEASE)


def _answer(command: list[str], environ: dict[str, str]) -> str:
    return subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout
