"""What a controller knows: tasks, their workers and slots, sessions and leases. Pure: told the time and all facts.

A slot is a living session at its worker, so none is lost and none is taken twice: there is nothing else to keep count
of. One thread uses it; nothing here waits, and no call grows with the number of workers or sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.agents.controller.roster import SampleSession, ServedTask, TaskWorker
from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.statuses import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_evalrun.agents.controller.roster import Waiting
    from pytest_evalrun.agents.protocol import Index

# An index for which the sample is given with the request.
CUSTOM = -1
_MOST_DISOWNED = 10_000


class Journal(Protocol):
    """Is told of each session that is with its client, so that he may ask for it, and of each that ends.

    Of one that a process was beginning when it died nobody knows: a worker that has it is told that it has ended.
    """

    def began(self, session: SampleSession) -> None: ...

    def ended(self, session: SampleSession) -> None: ...


class Ids:
    """Numbers of sessions: those from ``base`` on were given here, and none is given twice.

    They are reserved in blocks: ``reserve`` keeps, durably and before one of them is given, from where on they count
    and up to where they may have been given, which is where the next process begins.
    """

    BLOCK = 1000

    def __init__(self, base: int, following: int, reserve: Callable[[int, int], None]) -> None:
        self._base, self._next, self._reserved = base, following, following
        self._reserve = reserve
        # What was given before others' numbers were passed over, and those.
        self._before: list[range] = []
        self._others: set[int] = set()

    def take(self) -> int:
        """Give the next one. Raises what ``reserve`` does; then none is given, now or with the next call."""
        if self._next >= self._reserved:
            self._reserve(self._base, self._next + self.BLOCK)
            self._reserved = self._next + self.BLOCK
        self._next += 1
        return self._next - 1

    def is_given(self, number: int) -> bool:
        return (
            self._base <= number < self._next
            or number in self._others
            or any(number in numbers for numbers in self._before)
        )

    def pass_over(self, number: int) -> None:
        """A number that somebody else gave: those that follow are greater."""
        self._others.add(number)
        if number >= self._next:
            self._before.append(range(self._base, self._next))
            self._base = self._next = self._reserved = number + 1
            self._reserve(self._base, self._next + self.BLOCK)
            self._reserved = self._next + self.BLOCK


class Core:
    """Tasks, workers and sessions of one controller.

    ``ids`` are those of its sessions; ``journal`` keeps what must outlive this process. ``lease`` is in seconds;
    times are those of one clock, which never goes back.
    """

    def __init__(self, lease: float, ids: Ids, journal: Journal | None = None) -> None:
        self.lease = lease
        self.tasks: dict[str, ServedTask] = {}
        self.sessions: dict[int, SampleSession] = {}
        self._ids = ids
        self._journal = journal
        # Cancelled before we heard of them: the worker that has one may not have told of itself since we began.
        self._disowned: dict[int, None] = {}
        # Sessions whose agent is waited for, in the order in which their leases end.
        self._leases: dict[int, SampleSession] = {}

    # Workers.

    def heartbeat(self, name: str, address: str, concurrency: int, indices: Sequence[Index], now: float) -> TaskWorker:
        """Hear of a worker; one that is new, or no longer alive, is given nothing until it is asked what it holds.

        Raises NotGranted where the task has other indices and sessions of those live.
        """
        task = self.tasks.get(name)
        if task is None:
            task = self.tasks[name] = ServedTask(indices)
        elif task.indices != indices:
            if task.living:
                raise NotGranted(400, "Error: Task already exists with different indices")
            task.take_indices(indices)
        worker = task.by_address.get(address)
        if worker is None:
            worker = TaskWorker(task.next_worker(), name, address, concurrency, now, task.indices, WorkerStatus.COMA)
            task.add(worker)
        worker.concurrency, worker.last_visit, worker.indices = concurrency, now, task.indices
        self.believe(worker, now)
        return worker

    def remember(self, worker: TaskWorker) -> None:
        """Know a worker from before a restart: it is silent until it is seen."""
        task = self.tasks.get(worker.name)
        if task is None:
            task = self.tasks[worker.name] = ServedTask(worker.indices)
        worker.status, worker.indices = WorkerStatus.COMA, task.indices
        task.add(worker)

    def believe(self, worker: TaskWorker, now: float, limit: int | None = None) -> None:
        """Take it for able to have as many samples at once as it says; at most ``limit``, until it is believed anew."""
        worker.limit = worker.concurrency if limit is None else min(limit, worker.concurrency)
        self._offer(worker, now)

    def seen(self, worker: TaskWorker, now: float) -> None:
        """It answered: alive, whatever was thought of it."""
        worker.last_visit = now
        worker.version += 1
        if worker.status is not WorkerStatus.ALIVE:
            worker.status = WorkerStatus.ALIVE
            self._offer(worker, now)

    def lost(self, worker: TaskWorker, status: WorkerStatus = WorkerStatus.DEAD) -> None:
        """Nothing is given to it until it is seen again."""
        worker.status = status
        worker.version += 1

    def look(self, now: float) -> None:
        """See who has been silent for too long."""
        for task in self.tasks.values():
            for worker in task.workers.values():
                task.is_usable(worker, now)

    def first_alive(self, name: str, now: float) -> TaskWorker:
        """Find a worker that is asked what concerns the whole task. Raises NotGranted."""
        task = self.tasks.get(name)
        if task is None:
            raise NotGranted(400, "Error: Task does not exist")
        for worker in task.workers.values():
            if task.is_usable(worker, now):
                return worker
        raise NotGranted(400, "Error: No workers available")

    def clean(self, now: float, since: float = 0.0) -> list[TaskWorker]:
        """Forget workers that are dead, or silent with no sample, and tasks that have no worker then.

        Those alone that were not heard of for ``since`` seconds.
        """
        self.look(now)
        gone = []
        for name, task in list(self.tasks.items()):
            for worker in list(task.workers.values()):
                if worker.status is WorkerStatus.ALIVE or (worker.status is WorkerStatus.COMA and worker.sessions):
                    continue
                if now - worker.last_visit < since:
                    continue
                self.end_all(worker, now)
                task.remove(worker)
                gone.append(worker)
            if not task.workers and not task.waiting:
                del self.tasks[name]
        return gone

    # Sessions.

    def choose(self, name: str, index: Index, now: float, *, custom: bool = False) -> SampleSession:
        """Begin a session in a slot of the living worker that has most of them free.

        Raises NotGranted, in AgentBench's words: no such task, index or free slot.
        """
        task = self._task_of(name, index, custom=custom)
        worker = task.freest(now)
        if worker is None:
            raise NotGranted(406, "Error: No workers available")
        return self._begin(task, worker, self._ids.take(), index, now)

    def wait(self, name: str, index: Index, waiting: Waiting, *, custom: bool = False) -> None:
        """Wait for a slot, behind all who wait already. Raises NotGranted as ``choose`` does, but for want of one."""
        self._task_of(name, index, custom=custom).waiting[waiting] = index

    def waits_no_more(self, name: str, waiting: Waiting) -> None:
        """Forget who waited."""
        task = self.tasks.get(name)
        if task is not None:
            task.waiting.pop(waiting, None)

    def _task_of(self, name: str, index: Index, *, custom: bool) -> ServedTask:
        task = self.tasks.get(name)
        if task is None:
            raise NotGranted(406, "Error: Task does not exist")
        if not task.has(index) and not (custom and index == CUSTOM):
            raise NotGranted(400, "Error: Index out of bounds")
        return task

    def _begin(self, task: ServedTask, worker: TaskWorker, number: int, index: Index, now: float) -> SampleSession:
        session = SampleSession(number, worker.name, index, worker, now, now)
        self.sessions[number] = worker.sessions[number] = session
        task.living += 1
        task.offer(worker)
        return session

    def _knows(self, worker: TaskWorker) -> bool:
        """Whether it was not forgotten, while it was asked something."""
        task = self.tasks.get(worker.name)
        return task is not None and task.workers.get(worker.id) is worker

    def _offer(self, worker: TaskWorker, now: float) -> None:
        """Tell of free slots of a worker, and hand them to those who wait."""
        if not self._knows(worker):
            return
        task = self.tasks[worker.name]
        task.offer(worker)
        while task.waiting and (freest := task.freest(now)) is not None:
            waiting, index = next(iter(task.waiting.items()))
            if waiting.done():
                del task.waiting[waiting]
                continue
            try:
                number = self._ids.take()
            except NotGranted:
                return  # no number can be reserved: they go on waiting, as long as they want to
            del task.waiting[waiting]
            waiting.set_result(self._begin(task, freest, number, index, now))

    def session(self, number: int) -> SampleSession:
        """Raises NotGranted."""
        found = self.sessions.get(number)
        if found is None:
            raise NotGranted(400, "Error: Session does not exist")
        return found

    def called(self, number: int, now: float) -> SampleSession:
        """Hand in what the agent said: from now on the worker is waited for. Raises NotGranted where it still is."""
        session = self.session(number)
        session.last_update = now
        if session.busy:
            raise NotGranted(400, "Task Executing, please do not send new request.")
        session.busy = True
        self._leases.pop(number, None)
        return session

    def answered(self, number: int, now: float) -> None:
        """Wait for the agent from now on: a new lease begins."""
        session = self.sessions.get(number)
        if session is None:
            return
        session.busy = False
        self._lease(session, now)
        if not session.is_kept:
            session.is_kept = True
            if self._journal is not None:
                self._journal.began(session)

    def renew(self, number: int, now: float) -> None:
        """Keep it for a whole lease. Raises NotGranted."""
        session = self.session(number)
        session.last_update = now
        if not session.busy:
            self._lease(session, now)

    def _lease(self, session: SampleSession, now: float) -> None:
        session.last_update = now
        self._leases.pop(session.id, None)
        self._leases[session.id] = session

    def expired(self, now: float) -> list[SampleSession]:
        """End the sessions whose agents have not been heard of for a whole lease."""
        ended = []
        while self._leases:
            session = next(iter(self._leases.values()))
            if now - session.last_update < self.lease:
                break
            self.ended(session.id, now)
            ended.append(session)
        return ended

    def was_given(self, number: int) -> bool:
        """Whether a session had this number once."""
        return number in self.sessions or self._ids.is_given(number)

    def disown(self, number: int) -> None:
        """Its client does not want a session that nobody here knows: it is not taken over from whoever has it."""
        self._disowned[number] = None
        if len(self._disowned) > _MOST_DISOWNED:
            del self._disowned[next(iter(self._disowned))]

    def ended(self, number: int, now: float) -> SampleSession | None:
        """End a session, and free its slot: whoever waits has it at once. None where it has ended before."""
        session = self.sessions.pop(number, None)
        if session is None:
            return None
        self._leases.pop(number, None)
        worker = session.worker
        del worker.sessions[number]
        self.tasks[worker.name].living -= 1
        if self._journal is not None:
            self._journal.ended(session)
        self._offer(worker, now)
        return session

    def end_all(self, worker: TaskWorker, now: float) -> list[SampleSession]:
        """End all sessions of a worker."""
        return [session for number in list(worker.sessions) if (session := self.ended(number, now)) is not None]

    def refused(self, session: SampleSession, now: float) -> None:
        """End a session that its worker has no slot for: it takes no more than it has, until it says otherwise."""
        worker = session.worker
        worker.limit = min(worker.limit, len(worker.sessions) - 1)
        self.ended(session.id, now)

    def adopt(self, worker: TaskWorker, held: Mapping[int, Index], known: Iterable[int], now: float) -> list[int]:
        """Bring the sessions of a worker in line with those that it has: ``held``, by id.

        ``known`` are those that it was known to have before it was asked: what it does not have of these, and works
        on no call for, has ended. What it has and nobody knows is taken over, unless its id was given here: then it
        has ended, as one that was disowned. Those are returned, with those whose id another has: to be cancelled there.
        """
        if not self._knows(worker):
            return []
        for number in known:
            session = self.sessions.get(number)
            if session is not None and session.worker is worker and number not in held and not session.busy:
                self.ended(number, now)
        unwanted = []
        for number, index in held.items():
            session = self.sessions.get(number)
            if session is not None and session.worker is worker and session.index != index:
                session = self.ended(number, now)
            if session is None and not self._ids.is_given(number) and number not in self._disowned:
                self.restore(worker, number, index, now)
            elif session is None or session.worker is not worker or session.index != index:
                unwanted.append(number)
        self.seen(worker, now)
        return unwanted

    def restore(self, worker: TaskWorker, number: int, index: Index, now: float, start: float | None = None) -> None:
        """Know a session that its worker has, or had before a restart: since ``start``; its agent is waited for."""
        if not self._ids.is_given(number):
            self._ids.pass_over(number)
        session = self._begin(self.tasks[worker.name], worker, number, index, now)
        if start is not None:
            session.start, session.is_kept = start, True
        self.answered(number, now)
