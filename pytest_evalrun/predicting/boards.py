"""Boards as one worker has them: a connection each, which is kept, and leases that belong to loaded models."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.remote.boards.survey import health
from pytest_evalrun.remote.connection import Connection
from pytest_evalrun.remote.faults import BoardGone, LinkLost
from pytest_evalrun.remote.hosts import host_of, identity
from pytest_evalrun.remote.link import Limits
from pytest_evalrun.slots.devices import Device, DevicePool
from pytest_evalrun.slots.directory import LeaseDirectory
from pytest_evalrun.suite.devices import DeviceSpec, home_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_evalrun.predicting.services import WorkerServices
    from pytest_evalrun.remote.boardnotes import BoardNotes
    from pytest_evalrun.remote.connection import Done
    from pytest_evalrun.slots.devices import DeviceLease
    from pytest_evalrun.suite.pairs import Pair
    from pytest_evalrun.suite.settings import Settings


class Boards:
    """The boards of a worker. ``notes`` are the launch's: what one worker set aside is not tried by the others."""

    def __init__(self, notes: BoardNotes, say: Callable[[str], None]) -> None:
        self.notes = notes
        self._say = say
        self._pools: dict[str, tuple[DevicePool, dict[str, DeviceSpec]]] = {}
        self._connections: dict[tuple[str, str], Connection] = {}

    def take(self, pair: Pair, around: WorkerServices, prefer: Sequence[str] = ()) -> HeldBoard:
        """Wait for one with the labels; the limit of the item does not count meanwhile.

        Raises PairError, with the reason of each board, when there is none left to wait for.
        """
        settings = pair.settings
        pool, specs = self._pool(settings)
        lease = None
        try:
            with around.paused():
                lease = pool.acquire(settings.device, say=around.say, check=around.check, prefer=prefer)
            spec = specs[lease.device.name]
            connection = self.connection(spec, home_of(spec, settings))
            return HeldBoard(spec, connection, lease, pool, around.event, pair.full_id)
        except BaseException:  # the limit may be reached at the very moment when the wait is over
            if lease is not None:
                lease.release()
            raise

    def connection(self, spec: DeviceSpec, home: str) -> Connection:
        """Give a board's connection, kept from one model to the next; it is made when it is first used."""
        key = (repr(spec), home)  # of two ways in, one may be wrong
        if key not in self._connections:
            limits = Limits(reconnect=spec.patience)
            self._connections[key] = Connection(host_of(spec), home=home, limits=limits, say=self._say)
        return self._connections[key]

    def drop(self, connection: Connection) -> None:
        """Close a connection in the middle of something: what runs there is ended by the board itself."""
        connection.close()
        self._connections = {key: one for key, one in self._connections.items() if one is not connection}

    def close(self) -> None:
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.close()

    def _pool(self, settings: Settings) -> tuple[DevicePool, dict[str, DeviceSpec]]:
        home = settings.env.get("REMOTE_TASK_HOME") or ""
        key = json.dumps([settings.devices, home], sort_keys=True)
        if key not in self._pools:
            specs = {spec.name: spec for spec in map(DeviceSpec.of, settings.devices)}
            devices = [Device(s.name, identity(host_of(s)), s.labels, s.slots) for s in specs.values()]

            def well(device: Device) -> str | None:
                spec = specs[device.name]
                return health(self.connection(spec, home_of(spec, settings)))

            self._pools[key] = DevicePool(LeaseDirectory(), devices, health=well, notes=self.notes.aside), specs
        return self._pools[key]


class HeldBoard:
    """A board that is ours, as the events of the run tell it."""

    def __init__(
        self,
        spec: DeviceSpec,
        connection: Connection,
        lease: DeviceLease,
        pool: DevicePool,
        event: Callable[..., object],
        pair: str,
    ) -> None:
        self.spec = spec
        self.connection = connection
        self._lease = lease
        self._pool = pool
        self._event = event
        event("slot_taken", pair, device=spec.name)

    @property
    def name(self) -> str:
        return self.spec.name

    def run(self, *argv: str, timeout: float | None = None) -> Done:
        """A short command there: its exit code, and what it wrote. Raises LinkLost, TimeoutError."""
        return self.connection.run('exec "$@"', *argv, timeout=timeout)

    def reconnect(self) -> None:
        """Connect again, with back-off. Raises BoardGone when it does not come back."""
        try:
            self.connection.link()
        except (LinkLost, EvalrunError) as error:
            if self.connection.closed:  # by who interrupts us: no fault of the board
                raise
            raise self.give_up(str(error)) from error

    def give_up(self, reason: str) -> BoardGone:
        """Set the board aside for this launch; gives the error to raise."""
        self._pool.set_aside(self._lease.device, reason)
        return BoardGone(f"{self._lease.device} is set aside: {reason}")

    def free(self) -> None:
        """Give the board back; a second time does nothing."""
        if self._lease.fds:
            self._lease.release()
            self._event("slot_freed", device=self.name)


def quietly(work: Callable[[], object]) -> None:
    """Tidy up on a board that may be gone: what stays there is found by the next session."""
    with suppress(LinkLost, EvalrunError, TimeoutError):
        work()
