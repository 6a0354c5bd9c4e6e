"""The workers and sessions of controllers, for people who look."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.client import ControllerClient, workers_of
from pytest_evalrun.agents.protocol import ServerFault
from pytest_evalrun.agents.statuses import WorkerStatus
from pytest_evalrun.agents.wire.addresses import shown_address
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.agentfiles import AGENT, ENVIRONMENT, read_sessions
from pytest_evalrun.rundir.processes import start_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_evalrun.rundir.layout import RunPaths

WORKERS_HEADER = ("task", "worker", "state", "sessions", "heard of")
SESSIONS_HEADER = ("session", "task", "index", "worker", "lasts", "waits for", "pair")
_SECONDS = 20.0


@dataclass(frozen=True)
class SeenWorker:
    """A worker as its controller tells of it; ``silent`` are seconds since it was last heard of."""

    task: str
    id: str
    address: str
    state: str
    capacity: int
    current: int
    silent: float | None

    def cells(self) -> tuple[str, ...]:
        silent = "" if self.silent is None else f"{self.silent:.0f} s ago"
        return self.task, f"{self.id}  {self.address}", self.state, f"{self.current} of {self.capacity}", silent


@dataclass(frozen=True)
class SeenSession:
    """A session as its controller tells of it, and the pair of a run that has it; ``lasts`` is in seconds."""

    id: int
    task: str
    index: Any
    worker: str
    lasts: float | None
    waiting_for: str | None
    pair: str | None = None

    def cells(self) -> tuple[str, ...]:
        lasts = "" if self.lasts is None else f"{self.lasts:.0f} s"
        told = self.task, str(self.index), self.worker, lasts, self.waiting_for or "", self.pair or ""
        return str(self.id), *told


@dataclass(frozen=True)
class SeenController:
    """A controller with its workers and sessions; ``url`` holds its token."""

    url: str
    workers: tuple[SeenWorker, ...]
    sessions: tuple[SeenSession, ...]

    @property
    def shown(self) -> str:
        return shown_address(self.url)

    def of_pairs(self, pairs: Mapping[int, str]) -> SeenController:
        """The same, with the pair of each session that one has."""
        return replace(self, sessions=tuple(replace(one, pair=pairs.get(one.id)) for one in self.sessions))

    def to_json(self) -> dict[str, Any]:
        return {
            "controller": self.shown,
            "workers": [vars(worker) for worker in self.workers],
            "sessions": [vars(session) for session in self.sessions],
        }


def controllers_of(run: RunPaths) -> dict[str, dict[int, str]]:
    """The controllers that pairs of a run ask now: the sessions that they have there, and the pair of each."""
    found: dict[str, dict[int, str]] = {}
    for file in sorted((run.root / "agents").glob("**/sessions.json")):
        told = read_sessions(file)
        if told is None or not isinstance(url := told.get("controller"), str):
            continue
        if not isinstance(pid := told.get("pid"), int) or start_time(pid) is None:
            continue  # left by a pair that was killed
        pair = "/".join(file.parent.relative_to(run.root / "agents").parts)
        rows = (row for row in told["sessions"] if isinstance(row, dict) and type(row.get("id")) is int)
        found.setdefault(url, {}).update((row["id"], pair) for row in rows)
    return found


async def seen(url: str, token: str | None = None) -> SeenController:
    """Ask a controller for its workers and sessions. Raises ConfigError where it does not answer."""
    client = ControllerClient(url, token=token, timeout=_SECONDS)
    try:
        workers, sessions = await client.workers(), await client.sessions()
    except ServerFault as fault:
        raise ConfigError(str(fault)) from None
    finally:
        await client.close()
    now = time.time()
    listed = [worker for task in workers for worker in _workers(workers, task, now)]
    found = (_session(number, told, now) for number, told in sessions.items())
    return SeenController(client.url, tuple(listed), tuple(one for one in found if one is not None))


async def cancel_at(urls: Sequence[str], session_id: int, token: str | None = None) -> None:
    """End a session at the one of these controllers that has it. Raises ConfigError."""
    found = [await seen(url, token) for url in urls]
    having = [one.url for one in found if any(row.id == session_id for row in one.sessions)]
    if len(having) != 1:
        where = ", ".join(shown_address(url) for url in having or urls)
        which = f"several controllers have it ({where}); name one: --controller" if having else f"not found at {where}"
        raise ConfigError(f"session {session_id}: {which}")
    client = ControllerClient(having[0], timeout=_SECONDS)
    try:
        await client.cancel_session(session_id)
    except ServerFault as fault:
        raise ConfigError(f"session {session_id}: {fault}") from None
    finally:
        await client.close()


def _workers(told: Mapping[str, Any], task: str, now: float) -> Iterable[SeenWorker]:
    words = {status.value: status.name.lower() for status in WorkerStatus}
    for place, worker in enumerate(workers_of(told, task)):
        status = worker.get("status")
        state = words.get(status, str(status)) if isinstance(status, int) else str(status)
        capacity, current, silent = worker["capacity"], worker["current"], _since(worker.get("last_visit"), now)
        address = shown_address(str(worker.get("address", "")))
        yield SeenWorker(task, str(worker.get("id", place)), address, state, capacity, current, silent)


def _session(number: str, told: Any, now: float) -> SeenSession | None:
    if not isinstance(told, dict) or not number.isdigit():
        return None
    locked = told.get("locked")
    # A controller holds a session for as long as its worker acts.
    waiting_for = None if locked is None else ENVIRONMENT if locked else AGENT
    worker = str(told.get("worker_id", ""))
    lasts = _since(told.get("start"), now)
    return SeenSession(int(number), str(told.get("name", "")), told.get("index"), worker, lasts, waiting_for)


def _since(then: Any, now: float) -> float | None:
    return max(0.0, now - then) if type(then) in (int, float) else None
