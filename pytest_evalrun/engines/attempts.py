"""A unit on its way through a cluster: which attempt is the current one, and what it has said so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_evalrun.engines.protocol import Handle, JobState, Phase, Resources
from pytest_evalrun.rundir.jobs import RUNNING, WAITING, AttemptRecord, UnitRecord
from pytest_evalrun.rundir.lines import utc_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_evalrun.engines.protocol import Job
    from pytest_evalrun.rundir.jobfiles import JobItem


@dataclass(frozen=True)
class JobUnit:
    """Items that are one job; ``seconds`` are expected."""

    name: str
    items: tuple[JobItem, ...]
    resources: Resources = field(default_factory=Resources)
    seconds: float = 0.0


class UnitStanding(StrEnum):
    """Where a unit is."""

    QUEUED = "queued"
    """With us: not submitted yet, or not again."""
    DOUBTFUL = "doubtful"
    """Its name was noted, and whether the cluster has the job is not known: a launch died, or was not answered."""
    SUBMITTED = "submitted"
    ENDED = "ended"
    """The cluster says that its job is over; what that means is seen once all that it wrote was read."""
    LEAVING = "leaving"
    """Nothing is wanted of its job any more; until the cluster says that it is over, it has its slot."""
    APART = "apart"
    """Its job is of a launch that had selected other items: it has its slot, and is for such a launch to adopt."""
    OVER = "over"


HAVE_SLOTS = (UnitStanding.DOUBTFUL, UnitStanding.SUBMITTED, UnitStanding.LEAVING, UnitStanding.APART)
FOR_NOBODY = (UnitStanding.LEAVING, UnitStanding.APART, UnitStanding.OVER)


class UnitLife:
    """What is known of one unit; it changes as the cluster and the job tell."""

    def __init__(self, unit: JobUnit, deaths: Mapping[str, int] | None = None, idle: int = 0) -> None:
        self.unit = unit
        self.left: dict[str, JobItem] = {item.id: item for item in unit.items}
        self.deaths: dict[str, int] = dict(deaths or {})
        self.idle = idle
        self.standing = UnitStanding.QUEUED
        self.attempt = 1
        self.job: Job | None = None
        size = len(unit.items)
        self.record = UnitRecord(unit.name, size, size, unit.seconds, resources=asdict(unit.resources))
        self._clear()

    def _clear(self) -> None:
        """Forget what the attempt before has said."""
        self.handle: Handle | None = None
        self.state = JobState(Phase.WAITING)
        self.begun = False
        self.running: dict[str, None] = {}
        self.code: int | None = None
        self.refusal = ""
        self.over_since: float | None = None
        self.doubted = False
        self.cancelling = False
        self.cancelled = False
        self.asked_at = float("-inf")
        self.name, self.batch, self.share = "", 0, 0

    @property
    def name_of_job(self) -> str:
        """The job, for people: by the cluster's own name where there is one."""
        return f"job {self.handle.id}" if self.handle is not None else f"job {self.name}"

    @property
    def has_slot(self) -> bool:
        """Whether its job may run, now or later, without being asked again."""
        return self.standing in HAVE_SLOTS

    @property
    def runs(self) -> bool:
        """By what the cluster says, or by what the job itself has said since the cluster was last asked."""
        return self.begun or self.state.phase is Phase.RUNNING

    @property
    def is_told(self) -> bool:
        """Whether the job has said that it ends, and all that it was to say before."""
        return self.code is not None and not self.left

    def named(self, job: Job, batch: int, share: int) -> None:
        """Note that an attempt is about to be submitted."""
        self.job, self.name, self.batch, self.share = job, job.name, batch, share
        self.standing = UnitStanding.DOUBTFUL
        self._note(AttemptRecord(self.attempt, job.name, batch=batch, share=share))

    def submitted(self, handle: Handle) -> None:
        self.handle, self.doubted = handle, False
        if self.standing not in FOR_NOBODY:
            self.standing, self.state, self.over_since = UnitStanding.SUBMITTED, JobState(Phase.WAITING), None
        self._change(handle=handle.id, submitted=utc_time())

    def asked(self, now: float) -> None:
        """We are about to ask for the end of its job."""
        self.cancelled, self.asked_at = True, now
        self._change(cancelled=True)

    def begins(self) -> None:
        """Its job runs, whatever an earlier start of the same job has said last."""
        self.begun, self.code = True, None
        self.running.clear()

    def moved(self, state: JobState) -> bool:
        """Take what the cluster says; returns whether it is news."""
        state = replace(state, node=state.node or self.state.node)  # of an end not every cluster says where it was
        if state == self.state:
            return False
        changed: dict[str, object] = {"phase": str(state.phase), "code": state.code, "reason": state.reason}
        changed["node"] = state.node
        last = self._last()
        if state.phase is Phase.RUNNING and (last is None or last.started is None):
            changed["started"] = utc_time()
        if state.phase.is_end:
            changed["ended"] = utc_time()
        self.state = state
        self._change(**changed)
        return True

    def reported(self, ids: Iterable[str]) -> None:
        for name in ids:
            self.running.pop(name, None)
            self.deaths.pop(name, None)
            if self.left.pop(name, None) is not None:
                self.idle = 0
        self.record = replace(self.record, left=len(self.left), idle=self.idle)

    def refused(self) -> None:
        """Go back into our queue as if it had never been submitted: the cluster did not take it."""
        self.standing = UnitStanding.QUEUED

    def again(self) -> None:
        """Go back into our queue, for an attempt that has only what is left."""
        self._settle()
        self.attempt += 1
        self.unit = replace(self.unit, items=tuple(self.left.values()))
        self.standing, self.job = UnitStanding.QUEUED, None
        self._clear()
        self._refresh()

    def end(self, state: str) -> None:
        """Nothing more is wanted of it. A job of it that lives all the same is told so by the number of its attempt."""
        self.standing = UnitStanding.LEAVING if self.has_slot else UnitStanding.OVER
        self.record = replace(self.record, state=state, left=len(self.left), current=self.attempt + 1)
        if self.standing is UnitStanding.OVER:
            self._settle()

    def gone(self) -> None:
        """Its job, of which nothing was wanted, is over."""
        if self.standing is UnitStanding.LEAVING:
            self._settle()
        self.standing = UnitStanding.OVER

    def _settle(self) -> None:
        if self._last() is not None:
            self._change(over=True)

    def _last(self) -> AttemptRecord | None:
        attempts = self.record.attempts
        return attempts[-1] if attempts and attempts[-1].number == self.attempt else None

    def _change(self, **values: object) -> None:
        last = self._last()
        if last is not None:
            self._note(replace(last, **values))  # type: ignore[arg-type]

    def _note(self, attempt: AttemptRecord) -> None:
        self.record = self.record.with_attempt(attempt)
        self._refresh()

    def _refresh(self) -> None:
        """Note how the unit stands, where it is not over."""
        if self.standing in FOR_NOBODY:
            return
        state = RUNNING if self.state.phase is Phase.RUNNING else WAITING
        deaths = {name: count for name, count in self.deaths.items() if name in self.left}
        self.record = replace(
            self.record, left=len(self.left), state=state, current=self.attempt, deaths=deaths, idle=self.idle
        )

    @classmethod
    def adopted(cls, record: UnitRecord, items: tuple[JobItem, ...]) -> UnitLife:
        """Take over a unit whose last attempt may live, with the items of that attempt."""
        living = record.living
        if living is None:
            raise ValueError(record.name)
        words = dict(record.resources)
        words["custom"] = tuple((name, amount) for name, amount in words.get("custom", ()))
        unit = JobUnit(record.name, items, Resources(**words), record.seconds)
        life = cls(unit, record.deaths, record.idle)
        life.record, life.attempt = record, living.number
        life.name, life.batch, life.share = living.name, living.batch, living.share
        life.standing, life.cancelled = UnitStanding.DOUBTFUL, living.cancelled
        if living.handle is not None:
            life.handle, life.standing = Handle(living.handle, living.name), UnitStanding.SUBMITTED
        return life
