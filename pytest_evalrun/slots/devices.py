"""A pool of devices: leased by label, across all sessions of the host, and set aside when they drop."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.locks import HeldLocks
from pytest_evalrun.suite.jsontext import parse_json
from pytest_evalrun.suite.waiting import pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.rundir.locks import FileLock
    from pytest_evalrun.slots.directory import Holder, LeaseDirectory

FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.5
SAY_AGAIN = 60.0
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Device:
    """A device of the suite. ``identity`` is the same for all who mean the same one (``root@10.0.0.5:22``).

    ``slots`` models may have it at the same time.
    """

    name: str
    identity: str
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int = 1

    @property
    def key(self) -> str:
        """Safe as the name of a lock file, and never the same for two."""
        digest = hashlib.sha256(self.identity.encode(errors="surrogateescape")).hexdigest()[:12]
        return f"device-{_UNSAFE.sub('_', self.identity)[:60]}-{digest}"

    def has(self, labels: Mapping[str, str]) -> bool:
        return all(self.labels.get(name) == value for name, value in labels.items())

    def __str__(self) -> str:
        return f"device {self.name}"


class DeviceLease(HeldLocks):
    """A device that is ours as long as its locks."""

    def __init__(self, device: Device, locks: Iterable[FileLock]) -> None:
        super().__init__(locks)
        self.device = device


@dataclass(frozen=True)
class DeviceState:
    """Who has a device at the moment, and why it was set aside, if it was."""

    device: Device
    holders: tuple[Holder, ...]
    aside: str = ""

    @property
    def free(self) -> int:
        return 0 if self.aside else self.device.slots - len(self.holders)

    def __str__(self) -> str:
        if self.aside:
            return f"{self.device}: set aside: {self.aside}"
        if self.holders:
            return f"{self.device}: leased by {' and '.join(map(str, self.holders))}"
        return f"{self.device}: free"


class DevicePool:
    """Gives leases of ``devices``. ``health`` says why one cannot be used, or None; it is asked with the lease in hand.

    ``notes`` is a directory that the processes of one run share, so that one of them suffices to meet a dead device.
    """

    def __init__(
        self,
        directory: LeaseDirectory,
        devices: Sequence[Device],
        *,
        health: Callable[[Device], str | None] | None = None,
        notes: Path | None = None,
    ) -> None:
        self._directory = directory
        self._devices = tuple(devices)
        self._health = health or (lambda _: None)
        self._notes = notes
        self._aside: dict[str, str] = {}

    def acquire(
        self,
        labels: Mapping[str, str],
        *,
        say: Callable[[str], None],
        check: Callable[[], None],
        prefer: Sequence[str] = (),
    ) -> DeviceLease:
        """One that has the labels, the least busy first, before it those named in ``prefer`` (they have the model).

        Waits while others have them; ``check`` is called at each round and raises where the wait shall end. Raises
        PairError at once, with the reasons, when none is left to wait for.
        """
        growing, said = pauses(FIRST_PAUSE, LONGEST_PAUSE), -SAY_AGAIN
        while True:
            check()
            if (lease := self.try_acquire(labels, prefer)) is not None:
                return lease
            states = self._left(labels)
            if time.monotonic() - said >= SAY_AGAIN:
                said = time.monotonic()
                say(f"waiting for {_wanted(labels) if labels else 'a device'}: " + "; ".join(map(str, states)))
            time.sleep(next(growing))

    def try_acquire(self, labels: Mapping[str, str], prefer: Sequence[str] = ()) -> DeviceLease | None:
        """One that has the labels, without waiting; None where others have them all.

        A device that is not well is set aside.
        """
        while True:
            states = self._left(labels)
            ranked = sorted(states, key=lambda state: (state.device.name not in prefer, -state.free))
            lease = self._first(ranked)
            if lease is None:
                return None
            if self._is_well(lease):
                return lease

    def set_aside(self, device: Device, reason: str) -> None:
        """For the rest of the run, for all of its processes; the first reason stays."""
        self._aside.setdefault(device.key, reason)
        if self._notes is not None:
            self._notes.mkdir(parents=True, exist_ok=True)
            new = self._notes / f".{device.key}.{os.getpid()}"
            new.write_text(json.dumps({"device": device.name, "reason": reason}), encoding="utf-8")
            new.replace(self._note(device))

    def states(self, labels: Mapping[str, str] | None = None) -> list[DeviceState]:
        """How all with these labels stand, in the order of the suite."""
        with self._directory.choosing():
            return [self._state(device) for device in self._devices if device.has(labels or {})]

    def _first(self, ranked: Sequence[DeviceState]) -> DeviceLease | None:
        with self._directory.choosing():
            for state in ranked:
                if locks := self._directory.take(state.device.key, state.device.slots, 0.0):
                    return DeviceLease(state.device, locks)
        return None

    def _is_well(self, lease: DeviceLease) -> bool:
        try:
            reason = self._health(lease.device)
        except BaseException:
            lease.release()
            raise
        if reason is not None:
            self.set_aside(lease.device, reason)
            lease.release()
        return reason is None

    def _left(self, labels: Mapping[str, str]) -> list[DeviceState]:
        states = self.states(labels)
        left = [state for state in states if not state.aside]
        if not self._devices:
            raise PairError("there is no device; write `devices:` into the suite, a list or a file with one")
        if not states:
            raise PairError(f"no device has {_wanted(labels)}; there are: {self._known()}; see devices and its labels")
        if not left:
            wanted = f" for {_wanted(labels)}" if labels else ""
            told = "; ".join(map(str, states))
            raise PairError(f"no device is left{wanted}: {told}", brief=f"no device is left: {told}")
        return left

    def _state(self, device: Device) -> DeviceState:
        return DeviceState(device, self._directory.holders(device.key), self._reason(device))

    def _reason(self, device: Device) -> str:
        if device.key not in self._aside and self._notes is not None:
            try:
                content = parse_json(self._note(device).read_text(encoding="utf-8"))
                self._aside[device.key] = str(content["reason"])
            except (OSError, ValueError, KeyError, TypeError):
                return ""
        return self._aside.get(device.key, "")

    def _note(self, device: Device) -> Path:
        assert self._notes is not None
        return self._notes / f"{device.key}.json"

    def _known(self) -> str:
        return ", ".join(f"{device.name} ({_wanted(device.labels)})" for device in self._devices) or "none"


def _wanted(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in labels.items()) or "no label"
