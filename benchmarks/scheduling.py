"""How early a run of uneven pairs ends, by whose order: ours, xdist's load, xdist's worksteal; and what ours costs."""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarks import scheduling_cost, workload
from benchmarks.harness import Figure, Scale, Timed
from benchmarks.oracle import oracle
from pytest_evalrun.rundir.layout import WorkDir

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.workload import Workload

# What a run takes at best, by its workers: as long as the costs of the machinery are no part of the answer.
SECONDS = {2: 15.0, 8: 12.0}
OFF = ("--eval-scheduler", "off")
ORDERS = {"ours": (), "load": OFF, "worksteal": (*OFF, "--dist", "worksteal")}
MOST = 1.10
MOST_GAP = 0.005


@dataclass(frozen=True)
class Seen:
    """What the events of one run say of it: seconds, of each load too; ``gaps`` lie between two items of a worker."""

    makespan: float
    loads: tuple[float, ...]
    gaps: tuple[float, ...]


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Real runs of sleeping models, the second time, when their durations are known; then the scheduler alone."""
    figures: list[Figure] = []
    gaps: list[float] = []
    for workers, seconds in SECONDS.items():
        work = workload.read().to_last(seconds, workers)
        directory = workload.write_suite(place / f"n{workers}", work)
        seen = _alternate(directory, work, workers, scale.rounds)
        figures += [*_makespans(seen, work, workers), _loads(seen, work, workers)]
        gaps += [gap for one in seen["ours"] for gap in one.gaps]
    return [*figures, _gap(gaps), *scheduling_cost.measure(scale, place)]


def _alternate(directory: Path, work: Workload, workers: int, rounds: int) -> dict[str, list[Seen]]:
    """One run to learn from, then each order in turn, and again: a busy minute weighs on all of them."""
    _run(directory, work, workers, ())
    seen: dict[str, list[Seen]] = {name: [] for name in ORDERS}
    for _ in range(rounds):
        for name, args in ORDERS.items():
            seen[name].append(_run(directory, work, workers, args))
    return seen


def _run(directory: Path, work: Workload, workers: int, args: tuple[str, ...]) -> Seen:
    """Everything evaluated once more, in a run directory of its own; the history stays."""
    loads = directory / "loads.txt"
    loads.unlink(missing_ok=True)
    command = ("-n", str(workers), "--eval-fresh", "--eval-run", "new", *args)
    Timed(directory, command, keep=True).run()
    run = WorkDir(directory / "outputs/default").latest.resolve()
    seen = _seen(run / "events.jsonl", len(work.seconds))
    counted = len(loads.read_text().splitlines())
    if len(seen.loads) != counted:
        raise SystemExit(f"{run}: the models counted {counted} loads, the events tell of {len(seen.loads)}")
    shutil.rmtree(run)
    return seen


def _seen(path: Path, pairs: int) -> Seen:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    started, finished = (_of(events, f"item_{what}") for what in ("started", "finished"))
    if len(started) != pairs or [event["outcome"] for event in finished] != ["passed"] * pairs:
        raise SystemExit(f"{path}: {len(started)} items started, {len(finished)} ended; expected {pairs} that passed")
    makespan = max(map(_moment, finished)) - min(map(_moment, started))
    loads = tuple(event["seconds"] for event in _of(events, "model_loaded"))
    return Seen(makespan, loads, tuple(_gaps(started, finished)))


def _of(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def _moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _gaps(started: list[dict[str, Any]], finished: list[dict[str, Any]]) -> list[float]:
    """From the end of an item to the start of the next one on the same worker."""
    gaps = []
    for worker in {event["worker"] for event in started}:
        starts = sorted(_moment(event) for event in started if event["worker"] == worker)
        ends = sorted(_moment(event) for event in finished if event["worker"] == worker)
        gaps += [start - end for end, start in zip(ends, starts[1:], strict=False)]
    return gaps


# ------------------------------------------------------------------ rows


def _makespans(seen: dict[str, list[Seen]], work: Workload, workers: int) -> list[Figure]:
    what = f"{len(work.seconds)} uneven pairs, {len(work.loads)} models, -n {workers}: makespan against"
    ours, load, steal = (statistics.median(one.makespan for one in runs) for runs in seen.values())
    best, loads = oracle(work, workers)
    bound = work.bound(workers)
    rivals = {"load": load, "worksteal": steal, f"oracle ({loads} loads)": best}
    return [
        Figure(f"{what} bound", ours, bound, f"{ours / bound:.2f} x", "", f"<= {MOST:.2f} x", ours <= MOST * bound),
        *(
            Figure(f"{what} {name}", ours, rival, f"{ours / rival:.2f} x", "", "", True)
            for name, rival in rivals.items()
        ),
    ]


def _loads(seen: dict[str, list[Seen]], work: Workload, workers: int) -> Figure:
    """The most that any of our runs needed; for the others what is usual. The seconds are those of all loads."""
    most = max(len(one.loads) for one in seen["ours"])
    load, steal = (statistics.median(len(one.loads) for one in seen[name]) for name in ("load", "worksteal"))
    allowed = len(work.loads) + 2 * (workers - 1)
    what = f"  model loads at -n {workers} (load {load:g}, worksteal {steal:g}), and their seconds"
    ours, theirs = (statistics.median(sum(one.loads) for one in seen[name]) for name in ("ours", "load"))
    return Figure(what, ours, theirs, str(most), "", f"<= {allowed}", most <= allowed)


def _gap(gaps: list[float]) -> Figure:
    """The median; as seconds the 95 % quantile, so that pauses are not hidden."""
    found = statistics.median(gaps)
    worst = statistics.quantiles(gaps, n=20)[-1]
    what = f"an item's end to the next one's start on its worker, {len(gaps)} times"
    shown = (f"{found * 1000:.1f} ms", "", f"<= {MOST_GAP * 1000:.0f} ms")
    return Figure(what, worst, worst, *shown, found <= MOST_GAP)
