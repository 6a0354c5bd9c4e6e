"""The jobs of a run on a cluster: what each is called there, where it runs, how long it waited, and for what."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_evalrun.monitor.follow import signature
from pytest_evalrun.monitor.launch import standing
from pytest_evalrun.monitor.renderer import duration
from pytest_evalrun.report.text import columns
from pytest_evalrun.rundir.enginepaths import EnginePaths
from pytest_evalrun.rundir.jobs import CUT, DONE, FAILED, LEFT, RUNNING, WAITING, read_jobs
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_evalrun.monitor.follow import Signature
    from pytest_evalrun.rundir.jobs import JobRecord, UnitRecord
    from pytest_evalrun.rundir.layout import RunPaths

HEADER = ("unit", "job", "state", "node", "queued", "ran", "items", "why")
# The states of a unit in the order in which they are told; a unit is ours, so these are no words of a cluster's.
WORDS = {RUNNING: "running", WAITING: "waiting", DONE: "done", FAILED: "failed", CUT: "cut into others", LEFT: "left"}
OURS = "to be submitted"


@dataclass(frozen=True)
class ShownJob:
    """The last job of a unit; ``job`` is the cluster's name for it, None where there is none yet.

    ``state`` is the cluster's word as the launch last heard it, ``reason`` the cluster's own: why it waits, or why it
    ended. ``queued`` and ``ran`` are seconds, up to now where they have not ended; ``done`` of the ``items`` are
    reported.
    """

    unit: str
    attempt: int
    job: str | None = None
    state: str = OURS
    node: str = ""
    queued: float | None = None
    ran: float | None = None
    done: int = 0
    items: int = 0
    gpus: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        """The unit, and which attempt it is from the second on."""
        return self.unit if self.attempt == 1 else f"{self.unit}/{self.attempt}"

    def cells(self) -> tuple[str, ...]:
        """Its row under ``HEADER``."""
        times = ("-" if seconds is None else duration(seconds) for seconds in (self.queued, self.ran))
        done = f"{self.done}/{self.items}"
        return self.name, self.job or "-", self.state, self.node or "-", *times, done, one_line(self.reason)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ShownJobs:
    """All jobs of a run: what runs comes first, what waits next.

    ``saved`` (ISO 8601, UTC) is when the launch last wrote of them; ``live``: it is still there, and nothing is newer.
    """

    engine: str
    saved: str
    live: bool
    counts: Mapping[str, int]
    jobs: tuple[ShownJob, ...]

    @property
    def title(self) -> str:
        """Where they are, and how many units are in each state."""
        when = "" if self.live else f" at {one_line(self.saved)}"
        told = ", ".join(f"{self.counts[state]} {word}" for state, word in WORDS.items() if self.counts[state])
        return f"Jobs on {one_line(self.engine)}{when} ({told or 'none'})"

    @property
    def living(self) -> tuple[ShownJob, ...]:
        """Those of units that are not over."""
        return self.jobs[: self.counts[RUNNING] + self.counts[WAITING]]

    def to_json(self) -> dict[str, Any]:
        counts = {state: self.counts[state] for state in WORDS}
        jobs = [job.to_json() for job in self.jobs]
        return {"engine": self.engine, "saved": self.saved, "live": self.live, "counts": counts, "jobs": jobs}


class JobsFile:
    """Follows ``jobs.json`` of a run: read again only where it was written anew."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._file = EnginePaths(paths).jobs_json
        self._seen: Signature | None = None
        self._record: JobRecord | None = None

    def look(self, now: float | None) -> ShownJobs | None:
        """None where the run has no jobs, or nothing can be read of them; ``now`` as for ``shown_jobs``."""
        seen = signature(self._file)
        if seen != self._seen:
            self._record, self._seen = read_jobs(self._paths), seen
        try:
            return None if self._record is None else shown_jobs(self._record, now)
        except (TypeError, ValueError):
            return None  # somebody edited it: numbers that are none


def jobs_of(paths: RunPaths) -> ShownJobs | None:
    """Read the jobs of a run once, as they stand now; None where it has none."""
    return JobsFile(paths).look(time.time() if standing(paths).word == "live" else None)


def shown_jobs(record: JobRecord, now: float | None) -> ShownJobs:
    """Tell how the jobs of a record stand; ``now`` is Unix time, None where no launch lives that would know more."""
    order = list(WORDS)
    units = sorted(record.units, key=lambda unit: order.index(unit.state) if unit.state in WORDS else len(order))
    moment = _unix(record.saved) if now is None else now
    jobs = tuple(_shown(unit, moment) for unit in units)
    counts = Counter(unit.state for unit in units)
    return ShownJobs(record.engine.engine, record.saved, now is not None, counts, jobs)


def job_lines(jobs: Iterable[ShownJob]) -> list[str]:
    """A table for people, its head first; nothing where there are no jobs."""
    rows = [job.cells() for job in jobs]
    return columns([HEADER, *rows], right=(4, 5, 6)) if rows else []


def _shown(unit: UnitRecord, now: float | None) -> ShownJob:
    last = unit.attempts[-1] if unit.attempts else None
    facts = ShownJob(unit.name, unit.current, done=unit.items - unit.left, items=unit.items, gpus=unit.gpus)
    if last is None:
        return facts
    if unit.state == WAITING and last.over:
        return replace(facts, reason=f"again after {last.phase}{f': {last.reason}' if last.reason else ''}")
    return replace(
        facts,
        attempt=last.number,
        job=None if last.handle is None else str(last.handle),
        # Its job has told everything, and nobody waited for the cluster to say that it is over.
        state=WORDS[DONE] if unit.state == DONE and last.ended is None else str(last.phase),
        node=str(last.node),
        queued=_between(last.submitted, last.started or last.ended, now),
        ran=_between(last.started, last.ended, now),
        reason=str(last.reason),
    )


def _between(begin: str | None, end: str | None, now: float | None) -> float | None:
    """Seconds from one time to another, up to now where that has not come; None where the first has not."""
    since = _unix(begin)
    until = now if end is None else _unix(end)
    return None if since is None or until is None else max(0.0, until - since)


def _unix(told: str | None) -> float | None:
    try:
        return datetime.fromisoformat(told).timestamp() if told else None
    except (TypeError, ValueError):
        return None
