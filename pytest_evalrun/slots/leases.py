"""Leases of GPUs: kernel locks in a directory that all sessions and users of the host share."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.locks import HeldLocks
from pytest_evalrun.slots.directory import LeaseDirectory
from pytest_evalrun.slots.gpus import NVML_ORDER, ORDER, VISIBLE
from pytest_evalrun.slots.states import State, blocked_text, is_blocked, is_impossible, lacking_text, waiting_text
from pytest_evalrun.suite.waiting import pauses, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_evalrun.rundir.locks import FileLock
    from pytest_evalrun.slots.gpus import Gpu, Nvml
    from pytest_evalrun.slots.need import Need

__all__ = ["Lease", "LeaseDirectory", "Leases"]

FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.5
SAY_AGAIN = 60.0
WAITING = "waiting.lock"


class Lease(HeldLocks):
    """GPUs that are ours as long as their locks."""

    def __init__(self, gpus: Sequence[Gpu], locks: Iterable[FileLock]) -> None:
        super().__init__(locks)
        self.gpus = tuple(gpus)

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What a child must be started with to see these GPUs and no others."""
        if not self.gpus:
            return {}
        order = {} if environ.get(ORDER) else {ORDER: NVML_ORDER}
        return {VISIBLE: ",".join(gpu.token for gpu in self.gpus), **order}


class Leases:
    """Gives leases of ``gpus``; ``reason`` says why there are no more of them."""

    def __init__(self, directory: LeaseDirectory, gpus: Sequence[Gpu], nvml: Nvml | None, reason: str = "") -> None:
        self._directory = directory
        self._gpus = tuple(gpus)
        self._nvml = nvml
        self._reason = reason

    def try_acquire(self, need: Need) -> Lease | None:
        """All the GPUs that are needed, or none of them; never waits for a lease to end."""
        return self._attempt(need)[0]

    def acquire(
        self, need: Need, *, say: Callable[[str], None], check: Callable[[], None], foreign_wait: float = 60.0
    ) -> Lease:
        """Wait until they can be had; ``check`` is called at each round and raises where the wait shall end.

        Raises PairError once processes outside any lease have stood in the way for ``foreign_wait`` seconds.
        """
        wait = _Wait(need, say, foreign_wait, self._with_users)
        with self._waiting() as announce:
            growing = pauses(FIRST_PAUSE, LONGEST_PAUSE)
            while True:
                check()
                lease, states = self._attempt(need)
                if lease is not None:
                    return lease
                announce()
                wait.look(states)
                time.sleep(next(growing))

    def used(self, lease: Lease) -> int | None:
        """Bytes of the lease's GPUs that are in use, by whomever; None where the driver does not tell."""
        if self._nvml is None:
            return None
        free = [self._nvml.free_memory(gpu) for gpu in lease.gpus]
        known = [gpu.total - left for gpu, left in zip(lease.gpus, free, strict=True) if gpu.total and left is not None]
        return sum(known) if known and len(known) == len(free) else None

    def someone_waits(self) -> bool:
        """Whether any process of this host waits in ``acquire``."""
        with self._directory.choosing():
            return self._directory.is_held(WAITING)

    def lacking(self, need: Need) -> str | None:
        """Why waiting would be in vain, in several lines; None where it can be had now or when a lease ends."""
        with self._directory.choosing():
            states = self._states()
        return lacking_text(need, self._with_users(states), self._reason) if is_blocked(need, states) else None

    def is_in_vain(self, need: Need) -> bool:
        """Whether no wait would help, neither for a lease nor for the memory of others."""
        with self._directory.choosing():
            return is_impossible(need, self._states())

    def wait_until_free(self, lease: Lease, pids: Collection[int], seconds: float = 5.0) -> None:
        """Until the driver lists none of these processes, which have ended, on the GPUs of the lease."""
        nvml = self._nvml
        if nvml is not None:
            wait_until(
                lambda: not any(pid in pids for gpu in lease.gpus for pid, _ in nvml.users(gpu)), seconds, FIRST_PAUSE
            )

    def _attempt(self, need: Need) -> tuple[Lease | None, list[State]]:
        with self._directory.choosing():
            states = self._states()
            return self._take(need, states), states

    def _take(self, need: Need, states: list[State]) -> Lease | None:
        lease = Lease((), ())
        try:
            for state in _in_order(need, states):
                if len(lease.gpus) < need.gpus:
                    lease = self._add(lease, state, need)
        except BaseException:
            lease.release()
            raise
        if len(lease.gpus) < need.gpus:
            lease.release()
            return None
        return Lease(sorted(lease.gpus, key=self._gpus.index), lease.locks)

    def _add(self, lease: Lease, state: State, need: Need) -> Lease:
        """The lease with one GPU more, where that can be had: its memory is looked at again once it is ours."""
        locks = self._directory.take(state.gpu.key, need.per_gpu, need.memory)
        if not locks:
            return lease
        if not replace(state, free=self._free(state.gpu)).is_enough(need):
            HeldLocks(locks).release()
            return lease
        return Lease((*lease.gpus, state.gpu), (*lease.locks, *locks))

    def _states(self) -> list[State]:
        return [self._state(gpu) for gpu in self._gpus]

    def _state(self, gpu: Gpu) -> State:
        free = self._free(gpu)
        trouble = self._nvml.reason(gpu) if self._nvml is not None and free is None else ""
        return State(gpu, self._directory.holders(gpu.key), free, trouble)

    def _free(self, gpu: Gpu) -> int | None:
        if self._nvml is not None:
            return self._nvml.free_memory(gpu)
        return gpu.free if gpu.total else None

    def _with_users(self, states: list[State]) -> list[State]:
        nvml = self._nvml
        return states if nvml is None else [replace(state, users=tuple(nvml.users(state.gpu))) for state in states]

    @contextmanager
    def _waiting(self) -> Iterator[Callable[[], None]]:
        """Lets the others know, from the first call of what it yields to the end of the block."""
        locks: list[FileLock] = []

        def announce() -> None:
            # Where somebody asks at this very moment it does not succeed, and is tried again in the next round.
            if not locks and (lock := self._directory.lock(WAITING, shared=True)) is not None:
                locks.append(lock)

        try:
            yield announce
        finally:
            HeldLocks(locks).release()


class _Wait:
    """What is said while a pair waits, and when it has waited in vain."""

    def __init__(
        self,
        need: Need,
        say: Callable[[str], None],
        foreign_wait: float,
        with_users: Callable[[list[State]], list[State]],
    ) -> None:
        self._need = need
        self._say = say
        self._patience = foreign_wait
        self._with_users = with_users
        self._said: float | None = None
        self._blocked: float | None = None

    def look(self, states: list[State]) -> None:
        now = time.monotonic()
        if not is_blocked(self._need, states):
            self._blocked = None
        elif self._blocked is None:
            self._blocked = now
        if is_impossible(self._need, states) or (self._blocked is not None and now - self._blocked >= self._patience):
            raise PairError(blocked_text(self._need, self._with_users(states), self._patience))
        if self._said is None or now - self._said >= SAY_AGAIN:
            self._said = now
            self._say(waiting_text(self._need, self._with_users(states)))


def _in_order(need: Need, states: list[State]) -> list[State]:
    """Those that have enough: shared ones first, then the least memory that suffices, then by index.

    Where no memory was asked for nobody knows what suffices, and the freest comes first.
    """

    def rank(state: State) -> tuple[bool, int, int]:
        shared = need.per_gpu > 1 and bool(state.holders)
        free = state.free or 0
        index = -1 if state.gpu.index is None else state.gpu.index
        return not shared, free if need.memory else -free, index

    return sorted((state for state in states if state.is_enough(need)), key=rank)
