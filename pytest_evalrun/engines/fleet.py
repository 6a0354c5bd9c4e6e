"""What a launch asks its cluster: jobs are submitted, looked at, looked for, cancelled; one question for all of them.

A cluster that does not answer is asked again later, and meanwhile nothing is taken to have changed.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from pytest_evalrun.engines.attempts import FOR_NOBODY, UnitLife, UnitStanding
from pytest_evalrun.engines.protocol import ClusterAway, JobState, Phase
from pytest_evalrun.engines.shares import occupied, share_out
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from pytest_evalrun.engines.attempts import JobUnit
    from pytest_evalrun.engines.protocol import Engine, Handle, Job, Resources
    from pytest_evalrun.rundir.jobs import JobStore

# The cluster's controller is one for all: it is asked so often at most.
POLL_SECONDS = 1.0
# A job that was cancelled, or has said that it ends, and is there after so long is asked (again) to end.
PATIENCE_SECONDS = 30.0
LONGEST_PAUSE = 60.0


class Fleet:
    """The units of a launch, and the cluster that they are on; no more than ``at_once`` of their jobs run together.

    ``whole`` keeps from being interrupted what is noted before, and after, the cluster is asked to do something.
    """

    def __init__(
        self,
        engine: Engine,
        store: JobStore,
        make: Callable[[JobUnit, int], Job],
        at_once: int,
        say: Callable[[str], None],
        whole: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.lives: dict[str, UnitLife] = {}
        self.accepted = False
        self._engine, self._store, self._make = engine, store, make
        self._at_once, self._say, self._whole = max(1, at_once), say, whole
        self._away = False
        self._poll_at = self._submit_at = self._find_at = float("-inf")
        self._failed_in_a_row = 0

    def add(self, life: UnitLife) -> UnitLife:
        self.lives[life.unit.name] = life
        self._store.put(life.record)
        return life

    def check(self, lives: Sequence[UnitLife], now: float) -> None:
        """Raise ConfigError where the cluster can never run one of these, of which each stands for its class."""
        for life in lives:
            life.job = self._made(life)
        jobs = [life.job for life in lives if life.job is not None]
        try:
            if jobs:
                self._engine.check(jobs)
        except ClusterAway as error:
            self._is_away(error, now)

    def poll(self, now: float) -> None:
        """Ask how all jobs stand, with one question."""
        lives = {life.handle: life for life in self.lives.values() if life.handle is not None and _is_watched(life)}
        if not lives or now < self._poll_at:
            return
        self._poll_at = now + POLL_SECONDS
        try:
            states = self._engine.poll(list(lives))
        except ClusterAway as error:
            self._is_away(error, now)
            return
        self._is_back()
        for handle, life in lives.items():
            self._moved(life, states.get(handle, JobState(Phase.GONE)), now)

    def _moved(self, life: UnitLife, state: JobState, now: float) -> None:
        """Most of hundreds that wait are as they were a second ago, and cost nothing then."""
        before = life.record
        if life.standing in FOR_NOBODY:
            self._for_nobody(life, state, now)
        elif life.moved(state):
            if state.phase.is_end:
                life.standing, life.over_since = UnitStanding.ENDED, now
            else:
                life.standing, life.over_since = UnitStanding.SUBMITTED, None
        if life.record is not before:
            self._store.put(life.record)

    def _for_nobody(self, life: UnitLife, state: JobState, now: float) -> None:
        """Watch a job of which nothing is wanted: it has its slot, but when it leaves not for as long as it likes."""
        life.moved(state)
        if state.phase.is_end:
            life.gone()
        elif life.over_since is None:
            life.over_since = now
        elif life.standing is UnitStanding.LEAVING and now - life.over_since > PATIENCE_SECONDS:
            life.cancelling = True

    def find(self, now: float) -> None:
        """Look for jobs of which only the name is known; one that the cluster does not know is as good as lost."""
        lives = [life for life in self.lives.values() if life.handle is None and _is_watched(life)]
        if not lives or now < self._find_at:
            return
        self._find_at = now + POLL_SECONDS
        try:
            found = {handle.name: handle for handle in self._engine.find([life.name for life in lives])}
        except ClusterAway as error:
            self._is_away(error, now)
            return
        self._is_back()
        for life in lives:
            if (handle := found.get(life.name)) is not None:
                self._submitted(life, handle)
            else:
                self._unknown(life, now)

    def _unknown(self, life: UnitLife, now: float) -> None:
        if life.standing in FOR_NOBODY:
            life.gone()
            self._store.put(life.record)
        elif life.standing is UnitStanding.DOUBTFUL:
            life.doubted = True
            life.state, life.standing, life.over_since = JobState(Phase.GONE), UnitStanding.ENDED, now

    def _submitted(self, life: UnitLife, handle: Handle) -> None:
        life.submitted(handle)
        self._store.put(life.record)
        self.accepted = True

    def cancel(self, now: float) -> None:
        """Ask for the end of jobs, again and again while they are there."""
        lives = [
            life
            for life in self.lives.values()
            if life.cancelling and life.handle is not None and life.has_slot and now - life.asked_at > PATIENCE_SECONDS
        ]
        if lives:
            with self._whole():
                self._cancel(lives, now)

    def _cancel(self, lives: Sequence[UnitLife], now: float) -> None:
        for life in lives:
            life.asked(now)
            self._store.put(life.record)
        self._store.save_or_later()
        try:
            self._engine.cancel([life.handle for life in lives if life.handle is not None])
        except ClusterAway as error:
            self._is_away(error, now)
            for life in lives:
                life.asked_at = now - PATIENCE_SECONDS
        except ConfigError as error:  # told, and asked again: nobody else ends these jobs
            self._say(f"{error}; asked again in {PATIENCE_SECONDS:g} s")

    # ------------------------------------------------------------------ what is submitted

    def submit(self, now: float) -> list[tuple[list[UnitLife], str]]:
        """Submit what has slots: a batch of each resource class, the longest units first.

        Returns what the cluster did not take, and its words.
        """
        queued = [life for life in self.lives.values() if life.standing is UnitStanding.QUEUED]
        refused: list[tuple[list[UnitLife], str]] = []
        if not queued or now < self._submit_at:
            return refused
        queued.sort(key=lambda life: -life.unit.seconds)
        free = self._at_once - occupied(self.lives.values())
        for lives, share in self._batches(queued, free):
            with self._whole():
                refusal = self._submit_batch(lives, share, now)
            if refusal is not None:
                refused.append((lives, refusal))
            if now < self._submit_at:
                break
        return refused

    def _submit_batch(self, lives: Sequence[UnitLife], share: int, now: float) -> str | None:
        """Give the words of a refusal; None where the cluster has taken them, or has not answered."""
        try:
            jobs = self._named(lives, share)
            self._store.save()
            self._taken(lives, self._engine.submit(jobs, share))
        except ClusterAway as error:
            self._unanswered(error, now)
        except ConfigError as error:
            for life in lives:
                life.refused()
            return str(error)
        return None

    def submit_later(self, now: float) -> None:
        """Submit nothing for a while: the cluster has as many of our jobs as it wants."""
        self._submit_at = now + PATIENCE_SECONDS

    def _batches(self, queued: Sequence[UnitLife], free: int) -> list[tuple[list[UnitLife], int]]:
        """Divide what is queued into batches by class, each with how many of it may run at once."""
        classes: dict[Resources, list[UnitLife]] = {}
        for life in queued if self._engine.throttles else queued[: max(0, free)]:
            classes.setdefault(life.unit.resources, []).append(life)
        work = {name: (len(lives), sum(life.unit.seconds for life in lives)) for name, lives in classes.items()}
        shares = share_out(work, free)
        return [(classes[name], share) for name, share in shares.items()]

    def _named(self, lives: Sequence[UnitLife], share: int) -> list[Job]:
        """Note the jobs of units by their names, before the cluster hears of them."""
        jobs, batch = [], self._store.new_batch()
        for life in lives:
            job = life.job or self._made(life)
            life.named(job, batch, share)
            self._store.put(life.record)
            jobs.append(job)
        return jobs

    def _made(self, life: UnitLife) -> Job:
        """Write what the job of a unit needs. Raises ConfigError where the disk does not take it."""
        try:
            return self._make(life.unit, life.attempt)
        except OSError as error:
            place = error.filename or self._store.attempt_paths(life.unit.name, life.attempt).root
            raise ConfigError(f"a job of {life.unit.name} cannot be written: {place}: {error.strerror}") from None

    def _taken(self, lives: Sequence[UnitLife], handles: Sequence[Handle]) -> None:
        self._is_back()
        self._failed_in_a_row = 0
        for life, handle in zip(lives, handles, strict=True):
            self._submitted(life, handle)
        self._store.save_or_later()

    def _unanswered(self, error: ClusterAway, now: float) -> None:
        """Wait before the next try: whether the cluster has these jobs is seen once it answers."""
        self._is_away(error, now)
        self._failed_in_a_row += 1
        self._submit_at = now + min(LONGEST_PAUSE, 2.0**self._failed_in_a_row)

    def _is_away(self, error: ClusterAway, now: float) -> None:
        self._submit_at = max(self._submit_at, now + POLL_SECONDS)
        if not self._away:
            self._say(f"the cluster does not answer ({error}); waiting for it, and jobs go on meanwhile")
        self._away = True

    def _is_back(self) -> None:
        if self._away:
            self._say("the cluster answers again")
        self._away = False


def _is_watched(life: UnitLife) -> bool:
    """Whether the cluster is asked about a job; also about one that it had forgotten a moment ago."""
    return life.has_slot or (life.standing is UnitStanding.ENDED and life.state.phase is Phase.GONE)
