"""What a worker offers to models outside its own process: a place for what they say, a clock that stops, GPUs."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.slots.gpus import Nvml
from pytest_evalrun.slots.leases import LeaseDirectory, Leases
from pytest_evalrun.slots.need import GB
from pytest_evalrun.slots.visible import find_gpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from pytest_evalrun.slots.leases import Lease
    from pytest_evalrun.slots.need import Need
    from pytest_evalrun.suite.pairs import Pair

LOOK_SECONDS = 0.25


def _nothing(*_: object, **__: object) -> None:
    return None


@dataclass(frozen=True)
class WorkerServices:
    """What a model outside this process needs of the worker that starts it; alone, it needs nothing.

    ``output`` takes what a program writes, as it is; ``blanked_output`` what holds no secret any more.
    ``tell`` shows a line on the terminal; None where nobody asked to see what programs write. ``command`` shows what
    is started, which everybody sees who does not want it quiet.
    """

    event: Callable[..., object] = _nothing
    say: Callable[[str], None] = _nothing
    check: Callable[[], None] = _nothing
    paused: Callable[[], AbstractContextManager[None]] = nullcontext
    output: Callable[[bytes], None] = _nothing
    blanked_output: Callable[[bytes], None] = _nothing
    started: Callable[[int, str | None], object] = _nothing
    tell: Callable[[str], None] | None = None
    command: Callable[[str], None] | None = None


class GpuMemory:
    """The most memory that GPUs leased by this worker had in use at one moment, whoever used it.

    A thread asks the driver a few times a second for as long as there is a lease. What a model has only between two
    looks is not seen; most frameworks keep what they once took.
    """

    def __init__(self) -> None:
        self._peak: int | None = None
        self._leased: list[Callable[[], int | None]] = []

    def watch(self, used: Callable[[], int | None]) -> Callable[[], None]:
        """Look at what is ``used``, in bytes, until what is given back is called; None is what nobody knows."""
        if used() is None:
            return lambda: None
        stop = threading.Event()
        thread = threading.Thread(target=self._look, args=(used, stop), name="evalrun-gpu-memory", daemon=True)

        def end() -> None:
            stop.set()
            thread.join()
            self._leased.remove(used)

        self._leased.append(used)
        thread.start()
        return end

    def forget(self) -> None:
        """Only what is seen from now on counts."""
        self._peak = None

    def peak_gb(self) -> float | None:
        """With what is in use now; None where no GPU was leased, or the driver does not tell."""
        for used in self._leased:
            self._note(used())
        return None if self._peak is None else round(self._peak / GB, 3)

    def _look(self, used: Callable[[], int | None], stop: threading.Event) -> None:
        while not stop.wait(LOOK_SECONDS):
            self._note(used())

    def _note(self, used: int | None) -> None:
        if used is not None:
            self._peak = max(used, self._peak or 0)


class Slots:
    """The GPUs of this host, as one worker sees them; NVML is opened when the first model needs one."""

    def __init__(self, only: str | None) -> None:
        self.memory = GpuMemory()
        self._only = only
        self._leases: Leases | None = None

    @property
    def leases(self) -> Leases:
        if self._leases is None:
            nvml = Nvml()
            found = find_gpus(self._only, os.environ, nvml)
            self._leases = Leases(LeaseDirectory(), found.gpus, nvml, found.reason)
        return self._leases

    def take(self, need: Need, pair: str | None, around: WorkerServices) -> HeldGpus:
        """Wait for GPUs; the limit of the item does not count meanwhile. Raises PairError where waiting is in vain."""
        lease = None
        try:
            with around.paused():
                lease = self.leases.acquire(need, say=around.say, check=around.check)
            if lease.gpus:
                around.say(f"Allocated GPUs: [{', '.join(gpu.token for gpu in lease.gpus)}]")
            return HeldGpus(lease, self.leases, around.event, pair, self.memory)
        except BaseException:  # the limit may be reached at the very moment when the wait is over
            if lease is not None:
                lease.release()
            raise


class HeldGpus:
    """GPUs that are ours, as the events of the run tell it."""

    def __init__(
        self, lease: Lease, leases: Leases, event: Callable[..., object], pair: str | None, memory: GpuMemory
    ) -> None:
        self.lease = lease
        self.leases = leases
        self._event = event
        self._told: dict[str, Any] = {
            "gpus": [gpu.token for gpu in lease.gpus],
            "uuids": [gpu.uuid for gpu in lease.gpus],
        }
        event("slot_taken", pair, **self._told)
        self._unwatch = memory.watch(lambda: leases.used(lease))

    def free(self, pids: Sequence[int] = ()) -> None:
        """``pids`` have ended: their memory must be free before anybody else comes. A second time does nothing."""
        if not self.lease.fds:
            return
        self._unwatch()
        self.leases.wait_until_free(self.lease, pids)
        self.lease.release()
        self._event("slot_freed", **self._told)


@contextmanager
def leased(
    need: Need | None, pair: Pair, slots: Slots, around: WorkerServices
) -> Iterator[tuple[Lease | None, list[int]]]:
    """GPUs for as long as the block lasts; into the list goes every PID that may use them."""
    pids: list[int] = []
    if not need or not need.gpus:
        yield None, pids
        return
    held = slots.take(need, pair.full_id, around)
    try:
        yield held.lease, pids
    finally:
        held.free(pids)
