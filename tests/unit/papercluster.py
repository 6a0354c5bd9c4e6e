"""A cluster on paper, with a clock of its own, and jobs that write what a test wants: no process, no file but ours."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_evalrun.engines.dispatch import Dispatch
from pytest_evalrun.engines.protocol import Handle, Job, JobState, Phase, Resources
from pytest_evalrun.rundir.jobfiles import JobFile, JobItem
from pytest_evalrun.rundir.jobs import JobStore
from pytest_evalrun.suite.clusters import ClusterWords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_evalrun.engines.attempts import JobUnit


@dataclass
class PaperCluster:
    """Holds jobs until a test says what becomes of them; ``away`` and ``refusal`` are raised by every question."""

    name: str = "paper"
    throttles: bool = False
    remarks: tuple[str, ...] = ()
    states: dict[Handle, JobState] = field(default_factory=dict)
    submitted: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    polls: int = 0
    away: Exception | None = None
    refusal: Exception | None = None
    hidden: set[str] = field(default_factory=set)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def check(self, jobs: Sequence[Job]) -> None:
        pass

    def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:
        if self.away is not None:
            raise self.away
        if self.refusal is not None:
            raise self.refusal
        self.submitted.append((tuple(job.name for job in jobs), at_once))
        handles = [Handle(str(next(self._ids)), job.name) for job in jobs]
        self.states |= dict.fromkeys(handles, JobState(Phase.WAITING))
        return handles

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        self.polls += 1
        if self.away is not None:
            raise self.away
        return {handle: self.states.get(handle, JobState(Phase.GONE)) for handle in handles}

    def cancel(self, handles: Sequence[Handle]) -> None:
        if self.away is not None:
            raise self.away
        self.cancelled += [handle.name for handle in handles]

    def find(self, names: Sequence[str]) -> list[Handle]:
        if self.away is not None:
            raise self.away
        return [handle for handle in self.states if handle.name in names and handle.name not in self.hidden]

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:
        return ""

    def close(self) -> None:
        pass

    def set(self, name: str, phase: Phase, code: int | None = None, reason: str = "") -> None:
        """Let the cluster say this of a job from now on."""
        handle = next(handle for handle in self.states if handle.name == name)
        self.states[handle] = JobState(phase, code, node="n1", reason=reason)


class Launch:
    """A dispatch on paper: ``turn`` is a second later."""

    def __init__(
        self, root: Path, cluster: PaperCluster, *, at_once: int = 2, retries: int = 1, now: float = 0.0
    ) -> None:
        self.cluster, self.now = cluster, now
        self.said: list[str] = []
        self.made: list[tuple[str, int, tuple[str, ...]]] = []
        self.store = JobStore(root / "engine" / "jobs.json", ClusterWords(cluster.name))
        self.all_here = True
        self.undivided = False
        self.dispatch = Dispatch(
            cluster,
            self.store,
            self.make,
            at_once=at_once,
            retries=retries,
            say=self.said.append,
            read=lambda _unit, _attempt: self.all_here,
            whole=self.whole,
            clock=self.clock,
        )

    @contextmanager
    def whole(self) -> Iterator[None]:
        """While ``undivided`` nothing may break in."""
        self.undivided = True
        yield
        self.undivided = False

    def clock(self) -> float:
        return self.now

    def make(self, unit: JobUnit, attempt: int) -> Job:
        paths = self.store.attempt_paths(unit.name, attempt)
        JobFile("run", unit.name, attempt, "/", None, unit.items, "0", "3.11").write(paths.job)
        self.made.append((unit.name, attempt, tuple(item.id for item in unit.items)))
        return Job(f"{unit.name}-{attempt}", unit.name, paths.script, paths.log, unit.resources)

    def turn(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.dispatch.step(self.now)


def items_of(*names: str) -> tuple[JobItem, ...]:
    """Items by their ids; ``a:p`` is the item ``a`` of the pair ``p``."""
    return tuple(JobItem(name.partition(":")[0], name.partition(":")[2] or None) for name in names)


GPU = Resources(gpus=1)
