"""The core of a controller: slots, sessions, leases, who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pytest_evalrun.agents.controller.core import Core, Ids
from pytest_evalrun.agents.controller.roster import SILENCE_SECONDS, SampleSession, TaskWorker
from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.statuses import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE = 60.0


class Waiter:
    """Who waits for a slot, and the session that he was handed."""

    def __init__(self) -> None:
        self.session: SampleSession | None = None
        self.left = False

    def done(self) -> bool:
        return self.left or self.session is not None

    def set_result(self, result: SampleSession, /) -> None:
        assert not self.done()
        self.session = result


class Notes:
    """A journal: which sessions began and have not ended."""

    def __init__(self) -> None:
        self.living: set[int] = set()

    def began(self, session: SampleSession) -> None:
        self.living.add(session.id)

    def ended(self, session: SampleSession) -> None:
        self.living.discard(session.id)


class OnlyOnce(Ids):
    """Numbers, none of which anybody had before."""

    def __init__(self, used: set[int], following: int, reserve: Callable[[int, int], None]) -> None:
        super().__init__(1, following, reserve)
        self._used = used

    def take(self) -> int:
        number = super().take()
        assert number not in self._used
        self._used.add(number)
        return number


def beat(core: Core, address: str, capacity: int, indices: list[int], now: float) -> None:
    """A heartbeat, after which the worker was asked what it holds: nothing."""
    worker = core.heartbeat("os", address, capacity, indices, now)
    core.adopt(worker, {number: one.index for number, one in worker.sessions.items()}, (), now)


def make(*capacities: int) -> Core:
    core = Core(LEASE, Ids(1, 1, lambda base, upto: None))
    for number, capacity in enumerate(capacities):
        beat(core, f"http://w{number}", capacity, [0, 1, 2], 0.0)
    return core


def text_of(status: int, call: object) -> str:
    with pytest.raises(NotGranted) as refusal:
        call()  # type: ignore[operator]
    assert refusal.value.status == status
    return refusal.value.text


def test_a_sample_goes_to_the_worker_with_most_free_slots() -> None:
    """Of the workers that are alive, the one with most free slots has the next sample."""
    core = make(2, 4)
    assert [core.choose("os", 0, 1.0).worker.address for _ in range(6)] == [
        "http://w1", "http://w1", "http://w0", "http://w1", "http://w0", "http://w1",
    ]  # fmt: skip
    assert text_of(406, lambda: core.choose("os", 0, 1.0)) == "Error: No workers available"


def test_what_is_not_granted() -> None:
    """A task, an index or a session that is not there is refused with AgentBench's words."""
    core = make(1)
    assert text_of(406, lambda: core.choose("db", 0, 0.0)) == "Error: Task does not exist"
    assert text_of(400, lambda: core.choose("os", 7, 0.0)) == "Error: Index out of bounds"
    assert text_of(400, lambda: core.choose("os", -1, 0.0)) == "Error: Index out of bounds"
    assert text_of(400, lambda: core.called(7, 0.0)) == "Error: Session does not exist"
    assert core.choose("os", -1, 0.0, custom=True).index == -1


def test_no_number_is_given_that_is_not_reserved() -> None:
    """While no number can be reserved none is given, and whoever waits for a slot has it once that is over."""
    is_full, reserved = True, []

    def reserve(base: int, upto: int) -> None:
        if is_full:
            raise NotGranted(500, "no space left")
        reserved.append((base, upto))

    core = Core(LEASE, Ids(1, 1, reserve))
    beat(core, "http://w0", 1, [0], 0.0)
    for _ in range(2):
        assert text_of(500, lambda: core.choose("os", 0, 0.0)) == "no space left"
    waiter = Waiter()
    core.wait("os", 0, waiter)
    beat(core, "http://w0", 1, [0], 1.0)
    assert waiter.session is None
    is_full = False
    beat(core, "http://w0", 1, [0], 2.0)
    assert waiter.session is not None and waiter.session.id == 1
    assert reserved == [(1, 1 + Ids.BLOCK)]


def test_a_silent_worker_is_given_nothing() -> None:
    """Without a heartbeat for 11 s a worker is in a coma, and has samples again once it was seen."""
    core = make(1)
    late = SILENCE_SECONDS + 0.1
    assert text_of(406, lambda: core.choose("os", 0, late)) == "Error: No workers available"
    worker = core.heartbeat("os", "http://w0", 1, [0, 1, 2], late)
    assert worker.status is WorkerStatus.COMA
    core.adopt(worker, {}, (), late)
    assert core.choose("os", 0, late).worker is worker


def test_first_come_first_served() -> None:
    """Freed slots go at once to those who wait, in their order; who left is passed over."""
    core = make(1)
    first = core.choose("os", 0, 0.0)
    waiters = [Waiter() for _ in range(3)]
    for index, waiter in enumerate(waiters):
        core.wait("os", index, waiter)
    waiters[0].left = True
    core.ended(first.id, 1.0)
    assert waiters[1].session is not None
    assert waiters[1].session.index == 1
    assert waiters[2].session is None
    core.heartbeat("os", "http://new", 1, [0, 1, 2], 2.0)
    assert waiters[2].session is None
    beat(core, "http://new", 1, [0, 1, 2], 2.0)
    assert waiters[2].session is not None
    assert waiters[2].session.worker.address == "http://new"


def test_a_lease_runs_only_while_the_agent_is_waited_for() -> None:
    """A session ends when its agent is not heard of for a lease; while its worker works no lease runs."""
    core = make(2)
    busy, idle = core.choose("os", 0, 0.0), core.choose("os", 1, 0.0)
    core.answered(idle.id, 10.0)
    core.renew(idle.id, 30.0)
    assert core.expired(30.0 + LEASE - 1) == []
    assert core.expired(30.0 + LEASE) == [idle]
    assert list(core.sessions) == [busy.id]
    assert core.expired(10_000.0) == []


def test_other_indices_are_taken_once_no_sample_of_the_old_ones_lives() -> None:
    """A task's indices may change between samples; a worker that has the old ones is given nothing."""
    core = make(1)
    session = core.choose("os", 0, 0.0)
    refused = text_of(400, lambda: core.heartbeat("os", "http://other", 1, [5], 1.0))
    assert refused == "Error: Task already exists with different indices"
    core.ended(session.id, 1.0)
    beat(core, "http://other", 1, [5], 1.0)
    assert core.choose("os", 5, 1.0).worker.address == "http://other"
    assert text_of(406, lambda: core.choose("os", 5, 1.0)) == "Error: No workers available"


def test_a_worker_that_has_no_slot_is_given_none_until_it_says_otherwise() -> None:
    """A worker that promised more than it takes is believed again at its next heartbeat, not before."""
    core = make(5)
    core.choose("os", 0, 0.0)
    core.refused(core.choose("os", 1, 0.0), 0.0)
    assert text_of(406, lambda: core.choose("os", 1, 0.0)) == "Error: No workers available"
    worker = core.heartbeat("os", "http://w0", 5, [0, 1, 2], 1.0)
    assert (worker.capacity, worker.current, worker.free) == (5, 1, 4)


def test_what_a_worker_holds_is_taken_over() -> None:
    """Sessions that only the worker knows are adopted; ended ones are to be cancelled; vanished ones have ended."""
    core = make(5)
    worker = core.tasks["os"].workers[0]
    vanished, working, gone = (core.choose("os", index, 0.0) for index in range(3))
    core.answered(vanished.id, 0.0)
    core.ended(gone.id, 0.0)
    held = {gone.id: 2, 5000: 1}
    assert core.adopt(worker, held, [vanished.id, working.id], 1.0) == [gone.id]
    assert set(core.sessions) == {working.id, 5000}
    assert core.choose("os", 0, 1.0).id > 5000


def test_workers_that_are_gone_are_forgotten() -> None:
    """clean_worker forgets who is dead, or silent without a sample, with its sessions; then a task without workers."""
    core = make(1, 1)
    session = core.choose("os", 0, 0.0)
    core.lost(session.worker)
    assert core.clean(SILENCE_SECONDS + 1, since=60.0) == []
    assert len(core.clean(SILENCE_SECONDS + 1)) == 2
    assert core.sessions == {}
    assert core.tasks == {}
    core.believe(session.worker, 0.0)
    assert core.adopt(session.worker, {7: 0}, (), 0.0) == []
    assert core.sessions == {}


@settings(max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck))
class Controller(RuleBasedStateMachine):
    """Everything that may come to a core, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.notes = Notes()
        self.reserved = 1
        self.used: set[int] = set()
        self.waiters: list[Waiter] = []
        self.ended: set[int] = set()
        self._restart()

    def _restart(self) -> None:
        self.core = Core(LEASE, OnlyOnce(self.used, self.reserved, self._reserve), self.notes)

    def _reserve(self, base: int, upto: int) -> None:
        assert upto > self.reserved
        self.reserved = upto

    def workers(self) -> list[TaskWorker]:
        return [worker for task in self.core.tasks.values() for worker in task.workers.values()]

    @initialize(capacity=st.integers(1, 3))
    def some_worker(self, capacity: int) -> None:
        beat(self.core, "http://w0", capacity, [0, 1], self.now)

    @rule(
        name=st.sampled_from(["os", "db"]), who=st.integers(0, 3), capacity=st.integers(0, 4), other=st.booleans()
    )  # fmt: skip
    def beat(self, name: str, who: int, capacity: int, other: bool) -> None:
        indices = [0, 1, 2] if other else [0, 1]
        task = self.core.tasks.get(name)
        if task is not None and task.indices != indices and task.living:
            text_of(400, lambda: self.core.heartbeat(name, f"http://w{who}", capacity, indices, self.now))
        else:
            assert self.core.heartbeat(name, f"http://w{who}", capacity, indices, self.now).limit == capacity

    @rule(name=st.sampled_from(["os", "db"]), index=st.integers(0, 2), wait=st.booleans())
    def begin(self, name: str, index: int, wait: bool) -> None:
        try:
            self.core.choose(name, index, self.now)
        except NotGranted as refusal:
            if wait and refusal.text == "Error: No workers available":
                waiter = Waiter()
                self.waiters.append(waiter)
                self.core.wait(name, index, waiter)

    @rule(at=st.integers(0, 50), what=st.sampled_from(["called", "answered", "renew", "ended", "refused"]))
    def act(self, at: int, what: str) -> None:
        living = list(self.core.sessions.values())
        if not living:
            return
        session = living[at % len(living)]
        if what == "refused":
            self.core.refused(session, self.now)
        elif what == "called" and session.busy:
            assert text_of(400, lambda: self.core.called(session.id, self.now)).startswith("Task Executing")
        else:
            getattr(self.core, what)(session.id, self.now)
        if what in ("ended", "refused"):
            assert session.id not in self.core.sessions
            assert self.core.ended(session.id, self.now) is None

    @rule(at=st.integers(0, 50))
    def leave(self, at: int) -> None:
        if self.waiters:
            self.waiters[at % len(self.waiters)].left = True

    @rule(seconds=st.sampled_from([0.5, 8.0, 12.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for session in self.core.expired(self.now):
            assert not session.busy
            assert self.now - session.last_update >= LEASE

    @rule(at=st.integers(0, 50), held=st.sets(st.integers(0, 3000), max_size=4), keep=st.booleans())
    def sync(self, at: int, held: set[int], keep: bool) -> None:
        workers = self.workers()
        if not workers:
            return
        worker = workers[at % len(workers)]
        has = dict.fromkeys(held, 0) | ({number: one.index for number, one in worker.sessions.items()} if keep else {})
        unwanted = self.core.adopt(worker, has, list(worker.sessions), self.now)
        self.used |= set(worker.sessions)
        assert set(has) - set(unwanted) <= set(worker.sessions)
        assert worker.status is WorkerStatus.ALIVE

    @rule(at=st.integers(0, 50), what=st.sampled_from(["lost", "end_all", "clean", "believe"]))
    def trouble(self, at: int, what: str) -> None:
        workers = self.workers()
        if what == "clean":
            self.core.clean(self.now)
        elif workers and what == "lost":
            self.core.lost(workers[at % len(workers)])
        elif workers and what == "believe":
            self.core.believe(workers[at % len(workers)], self.now, limit=at % 3)
        elif workers:
            self.core.end_all(workers[at % len(workers)], self.now)

    @rule()
    def restart(self) -> None:
        """Another process goes on with what the journal has."""
        before = self.core
        workers, living = self.workers(), {number: before.sessions[number] for number in self.notes.living}
        self._restart()
        for worker in workers:
            self.core.remember(
                TaskWorker(
                    worker.id, worker.name, worker.address, worker.concurrency, worker.last_visit, worker.indices
                )
            )
        for number, session in living.items():
            restored = self.core.tasks[session.name].workers[session.worker.id]
            self.core.restore(restored, number, session.index, self.now, session.start)
        self.waiters.clear()

    @invariant()
    def every_slot_is_a_living_session(self) -> None:
        """No slot is lost and none is taken twice."""
        held = [session for worker in self.workers() for session in worker.sessions.values()]
        assert {id(one) for one in held} == {id(one) for one in self.core.sessions.values()}
        assert len(held) == len(self.core.sessions)
        for worker in self.workers():
            assert worker.current == sum(one.worker is worker for one in self.core.sessions.values())
            assert worker.current <= worker.capacity
            assert worker.free == max(0, worker.limit - worker.current)

    @invariant()
    def the_journal_knows_the_living(self) -> None:
        """What must outlive the process is what lives and is with its client."""
        assert self.notes.living == {number for number, one in self.core.sessions.items() if one.is_kept}
        assert all(one.busy or one.is_kept for one in self.core.sessions.values())

    @invariant()
    def nobody_waits_beside_a_free_slot(self) -> None:
        """Whoever waits does so because there is no free slot."""
        for name, task in self.core.tasks.items():
            assert task.living == sum(one.name == name for one in self.core.sessions.values())
            if any(not waiting.done() for waiting in task.waiting):
                assert not any(worker.free and task.is_usable(worker, self.now) for worker in task.workers.values())

    @invariant()
    def the_freest_is_found(self) -> None:
        """The worker that would be chosen has as many free slots as any that is alive."""
        for task in self.core.tasks.values():
            usable = [worker.free for worker in task.workers.values() if task.is_usable(worker, self.now)]
            freest = task.freest(self.now)
            assert (freest.free if freest else 0) == max(usable, default=0)


TestController = Controller.TestCase
