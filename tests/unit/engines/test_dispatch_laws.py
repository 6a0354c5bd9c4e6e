"""What holds of a launch's units whatever the cluster does, and whenever the launch dies."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from papercluster import items_of

from pytest_evalrun.engines.attempts import JobUnit
from pytest_evalrun.engines.dispatch import Dispatch
from pytest_evalrun.engines.protocol import ClusterAway, Handle, Job, JobState, Phase, Resources
from pytest_evalrun.rundir.jobfiles import JobFile, JobItem
from pytest_evalrun.rundir.jobs import JobStore, is_current
from pytest_evalrun.suite.clusters import ClusterWords

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = ClusterWords("wild")
CLASSES = (Resources(), Resources(gpus=1), Resources(gpus=4))
# Far more turns of a launch than it can need with these items, each of which dies as often as it may.
MANY = 3000


class Killed(BaseException):
    """The launch dies here and now."""


@dataclass
class Process:
    """A job as it really is; ``said`` is what the cluster says of it."""

    handle: Handle
    file: Path
    share: int
    batch: int
    said: JobState = field(default_factory=lambda: JobState(Phase.WAITING))
    alive: bool = False
    items: tuple[str, ...] = ()
    lines: list[tuple[str, object]] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int]:
        return self.file.parent.parent.name, int(self.file.parent.name)


class WildCluster:
    """Does whatever a test wants, and notes where it was asked for what it must never be asked for."""

    name = "wild"
    remarks = ()

    def __init__(self, jobs_json: Path, *, throttles: bool, finds: bool) -> None:
        self.jobs_json, self.throttles, self.finds = jobs_json, throttles, finds
        self.jobs: dict[str, Process] = {}
        self.away = False
        self.accident = ""
        self._batches = 0

    def check(self, jobs: Sequence[Job]) -> None:
        assert jobs

    def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:
        """``accident`` is what happens, once: not heard, heard and not answered, the launch dies before or after."""
        assert at_once >= 1
        assert self.throttles or len(jobs) <= at_once
        noted = {unit.living.name for unit in JobStore(self.jobs_json, WORDS).units.values() if unit.living is not None}
        assert {job.name for job in jobs} <= noted, "a name was not on disk"
        accident, self.accident = self.accident, ""
        self._fail(accident == "deaf" or self.away, dies=accident == "dies before")
        self._batches += 1
        for job in jobs:
            assert job.name not in self.jobs, "submitted twice"
            handle = Handle(f"{len(self.jobs)}", job.name)
            self.jobs[job.name] = Process(handle, job.script.with_name("job.json"), at_once, self._batches)
        self._fail(accident == "mute", dies=accident == "dies after")
        return [self.jobs[job.name].handle for job in jobs]

    def _fail(self, away: bool, *, dies: bool = False) -> None:
        if dies:
            raise Killed
        if away:
            raise ClusterAway("no answer")

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        self._fail(self.away)
        return {handle: self.jobs[handle.name].said for handle in reversed(handles) if handle.name in self.jobs}

    def cancel(self, handles: Sequence[Handle]) -> None:
        self._fail(self.away)
        for handle in handles:
            job = self.jobs[handle.name]
            if not job.said.phase.is_end:
                job.said, job.alive = JobState(Phase.CANCELLED), False

    def find(self, names: Sequence[str]) -> list[Handle]:
        self._fail(self.away)
        return [job.handle for name, job in reversed(self.jobs.items()) if self.finds and name in names]

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:
        return ""

    def close(self) -> None:
        pass

    def may_start(self, job: Process) -> bool:
        others = (other for other in self.jobs.values() if other.batch == job.batch)
        return job.said.phase is Phase.WAITING and sum(_runs(other) for other in others) < job.share

    def start(self, job: Process) -> None:
        """A node runs the script: a job that nobody waits for leaves, one that ran before goes on where it was."""
        job.said, job.alive = JobState(Phase.RUNNING, node="n1"), True
        if not is_current(self.jobs_json, *job.key):
            job.said, job.alive = JobState(Phase.FAILED, code=75), False
            return
        over = {name for kind, name in job.lines if kind == "item"}
        job.items = tuple(item.id for item in JobFile.read(job.file).items if item.id not in over)

    def end(self, job: Process, code: int) -> None:
        job.lines.append(("ended", code))
        job.said, job.alive = JobState(Phase.DONE if code == 0 else Phase.FAILED, code=code), False


def _runs(job: Process) -> bool:
    return job.said.phase is Phase.RUNNING


class Session:
    """A launch: what it selects is ``due`` until it is told, each item once."""

    def __init__(self, cluster: WildCluster, due: dict[str, JobItem], at_once: int, retries: int, now: float) -> None:
        self.cluster, self.due, self.now = cluster, due, now
        self.store = JobStore(cluster.jobs_json, WORDS)
        self.dispatch = Dispatch(
            cluster,
            self.store,
            self.make,
            at_once=at_once,
            retries=retries,
            say=lambda text: None,
            read=self.read,
            clock=lambda: self.now,
        )
        self._read: dict[tuple[str, int], int] = {}
        self.done: set[str] = set()

    def begin(self) -> None:
        adopted = {item.id for unit in self.dispatch.adopt(self.due) for item in unit.items}
        assert adopted <= self.due.keys()
        left = [item for name, item in self.due.items() if name not in adopted]
        cut = [tuple(left[at : at + 3]) for at in range(0, len(left), 3)]
        names = [self.store.next_unit_name() for _ in cut]
        self.dispatch.start(
            JobUnit(name, items, CLASSES[at % len(CLASSES)], seconds=float(at))
            for at, (name, items) in enumerate(zip(names, cut, strict=True))
        )

    def make(self, unit: JobUnit, attempt: int) -> Job:
        paths = self.store.attempt_paths(unit.name, attempt)
        assert unit.items
        noted = self.store.units[unit.name].attempts if unit.name in self.store.units else ()
        assert not paths.job.exists() or attempt not in [one.number for one in noted], "made twice"
        JobFile("run", unit.name, attempt, "/", None, unit.items, "0", "3.11").write(paths.job)
        return Job(f"{unit.name}-{attempt}", unit.name, paths.script, paths.log, unit.resources)

    def read(self, unit: JobUnit, attempt: int) -> bool:
        """What an attempt has written, from where it was read last; an item that is not due is not for us."""
        job = next((job for job in self.cluster.jobs.values() if job.key == (unit.name, attempt)), None)
        if job is None:
            return True
        at = self._read.get(job.key, 0)
        self._read[job.key] = len(job.lines)
        for kind, what in job.lines[at:]:
            if kind == "begun":
                self.dispatch.begun(unit.name)
            elif kind == "start":
                self.dispatch.started(unit.name, str(what))
            elif kind == "ended":
                self.dispatch.ended(unit.name, int(str(what)))
            elif str(what) in self.due:
                self.dispatch.reported(unit.name, [str(what)])
                del self.due[str(what)]
                self.done.add(str(what))
        return True

    def turn(self, seconds: float) -> None:
        self.now += seconds
        for unit, attempt in self.dispatch.open():
            self.read(unit, attempt)
        self.dispatch.step()
        for name, reason in self.dispatch.take_failures().items():
            assert name in self.due, f"{name} ended twice"
            assert reason
            del self.due[name]


class Launches(RuleBasedStateMachine):
    """One launch after another on a cluster on which anything may happen."""

    @initialize(
        throttles=st.booleans(),
        finds=st.booleans(),
        at_once=st.integers(1, 4),
        retries=st.integers(0, 2),
        pairs=st.lists(st.integers(0, 6), min_size=1, max_size=14),
    )
    def begin(self, throttles: bool, finds: bool, at_once: int, retries: int, pairs: list[int]) -> None:
        self.directory = tempfile.TemporaryDirectory()
        jobs_json = Path(self.directory.name) / "engine" / "jobs.json"
        self.cluster = WildCluster(jobs_json, throttles=throttles, finds=finds)
        self.at_once, self.retries = at_once, retries
        named = sorted((pair, at) for at, pair in enumerate(pairs))
        self.items = {item.id: item for pair, at in named for item in items_of(f"i{at}:p{pair}" if pair else f"i{at}")}
        self.session = Session(self.cluster, dict(self.items), at_once, retries, 0.0)
        self.session.begin()

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.finish()
            self.directory.cleanup()

    # ------------------------------------------------------------------ the launch

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 40.0]))
    def turn(self, seconds: float) -> None:
        if self.session.dispatch.fatal is not None:
            self.next_launch()
        try:
            self.session.turn(seconds)
        except Killed:
            self.next_launch()

    @rule()
    def next_launch(self) -> None:
        """The launch was killed at whatever it did; the same command again."""
        left = {name: item for name, item in self.items.items() if name not in self.session.done}
        self.items = left
        self.session = Session(self.cluster, dict(left), self.at_once, self.retries, self.session.now)
        self.session.begin()

    @rule(accident=st.sampled_from(["deaf", "mute", "dies before", "dies after"]))
    def submit_fails(self, accident: str) -> None:
        self.cluster.accident = accident

    @rule()
    def cluster_goes_away_or_comes_back(self) -> None:
        self.cluster.away = not self.cluster.away

    # ------------------------------------------------------------------ jobs

    @rule(data=st.data())
    def start_jobs(self, data: st.DataObject) -> None:
        for job in self.cluster.jobs.values():
            if self.cluster.may_start(job) and data.draw(st.booleans()):
                self.cluster.start(job)
                if job.alive and data.draw(st.integers(0, 19)):
                    job.lines.append(("begun", ""))

    def alive(self) -> list[Process]:
        return [job for job in self.cluster.jobs.values() if job.alive]

    @precondition(lambda self: hasattr(self, "cluster") and self.alive())
    @rule(
        data=st.data(),
        steps=st.integers(1, 4),
        midway=st.booleans(),
        code=st.sampled_from([None, 0, 0, 1, 75, 78, -9]),
    )
    def job_goes_on(self, data: st.DataObject, steps: int, midway: bool, code: int | None) -> None:
        """It runs items, and may end in the middle of one, or as it should; a zombie writes on all the same."""
        job = data.draw(st.sampled_from(self.alive()))
        for name in job.items[:steps]:
            job.lines += [("start", name), ("item", name)]
        job.items = job.items[steps:]
        if job.items and midway:
            job.lines.append(("start", job.items[0]))
        if code is not None and not job.said.phase.is_end:
            self.cluster.end(job, code)

    @precondition(lambda self: hasattr(self, "cluster") and self.alive())
    @rule(
        data=st.data(),
        phase=st.sampled_from([Phase.LOST, Phase.PREEMPTED, Phase.TIME, Phase.MEMORY, Phase.CANCELLED, Phase.GONE]),
    )
    def cluster_ends(self, data: st.DataObject, phase: Phase) -> None:
        """One that is lost or forgotten may live on."""
        job = data.draw(st.sampled_from(self.alive()))
        job.said = JobState(phase)
        job.alive = phase in (Phase.LOST, Phase.GONE) and data.draw(st.booleans())

    @precondition(lambda self: hasattr(self, "cluster") and self.alive())
    @rule(data=st.data())
    def cluster_requeues(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.alive()))
        if _runs(job):
            job.said, job.alive = JobState(Phase.WAITING), False

    # ------------------------------------------------------------------ laws

    @invariant()
    def never_more_at_once(self) -> None:
        """Jobs that the cluster runs are counted, but those of which a launch could not learn."""
        if hasattr(self, "cluster"):
            running = [job for job in self.cluster.jobs.values() if _runs(job)]
            if not self.cluster.finds:
                known = {life.name for life in self.session.dispatch._lives.values() if life.handle is not None}
                running = [job for job in running if job.handle.name in known]
            assert len(running) <= self.at_once

    @invariant()
    def a_next_launch_would_know(self) -> None:
        """Whatever this launch holds is on disk, with its handle."""
        if hasattr(self, "session"):
            noted = JobStore(self.cluster.jobs_json, WORDS).units
            for name, life in self.session.dispatch._lives.items():
                if life.handle is not None and life.has_slot:
                    living = noted[name].living
                    assert living is not None
                    assert living.handle == life.handle.id

    def finish(self) -> None:
        """From now on all goes well: the launch ends, and every item was told."""
        self.cluster.away, self.cluster.accident = False, ""
        for _ in range(MANY):
            dispatch = self.session.dispatch
            if dispatch.is_over or dispatch.fatal is not None:
                break
            self.session.turn(1.0)
            self.never_more_at_once()
            for job in self.cluster.jobs.values():
                if job.alive and not job.said.phase.is_end:
                    job.lines += [("item", name) for name in job.items]
                    self.cluster.end(job, 0)
                elif self.cluster.may_start(job):
                    self.cluster.start(job)
                    job.lines += [("begun", "")] if job.alive else []
        assert self.session.dispatch.is_over or self.session.dispatch.fatal is not None
        assert not self.session.due or self.session.dispatch.fatal is not None


TestLaunches = Launches.TestCase
TestLaunches.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_job_that_ran_and_was_forgotten_is_lost():
    """Whoever forgets it names no node either: its unit goes on, and is not waited for as if there were news."""
    launches = Launches()
    try:
        launches.begin(throttles=False, finds=False, at_once=1, retries=0, pairs=[0])
        launches.turn(0.1)
        (job,) = launches.cluster.jobs.values()
        launches.cluster.start(job)
        launches.turn(5.0)
        job.said, job.alive = JobState(Phase.GONE), False
    finally:
        launches.teardown()
    assert len(launches.cluster.jobs) == 2
