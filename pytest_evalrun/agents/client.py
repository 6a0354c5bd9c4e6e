"""The client of a controller, be it ours, AgentBench's or AgentRL's, as sessions of agents use it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.owners import own_field
from pytest_evalrun.agents.protocol import ServerFault, Standing, TaskSlots
from pytest_evalrun.agents.statuses import Fault, SampleStatus, WorkerStatus
from pytest_evalrun.agents.wire.addresses import server_address, shown_address
from pytest_evalrun.agents.wire.dialects import (
    SESSION_HEADER,
    WAITED_HEADER,
    Dialect,
    dialect_of,
    grown,
    interact_body,
    standing_of,
)
from pytest_evalrun.agents.wire.exchange import Exchange, HttpAnswer, Oversized, Silent
from pytest_evalrun.agents.wire.histories import history_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from pytest_evalrun.agents.protocol import Index, Message

# A history of many turns with images, in both forms.
LARGEST_ANSWER = 192_000_000
LARGEST_OVERALL = 64_000_000
# AgentBench's controller gives a worker 240 s.
TIMEOUT = 300.0
_SHORT_SECONDS = 30.0
# AgentBench's workers wait up to 30 s for a task that is to end.
_CANCEL_SECONDS = 45.0
_SYNC_SECONDS = 10.0
# So long a controller that has answered before may be away: it is started again.
_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
# No slot is free: AgentBench's word, and those of others for the same.
_BUSY = frozenset({406, 429, 503})


class ControllerClient:
    """Asks one controller; in the asyncio thread of this process, for as many sessions at once as there are.

    Each call ends: within ``timeout`` seconds where the environment acts, sooner otherwise. A request that reached
    nobody is sent again while a controller that has answered before is away.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = TIMEOUT) -> None:
        """``token`` is that of its path, where the URL has it not. Raises ConfigError for what is no URL of HTTP."""
        address = server_address(url, "controller")
        if token and "/t/" not in address:
            address = f"{address.removesuffix('/api')}/t/{token}/api"
        self.url = address
        self._timeout = timeout
        self._exchange = Exchange()
        self._dialect: Dialect | None = None
        self._owner = own_field()
        self._has_answered = False
        # How many samples are being begun, and whether AgentBench's controller keeps a slot that it should not.
        self._starting = 0
        self._owes_sync = False
        self._syncing: asyncio.Future[None] | None = None

    async def start_sample(self, name: str, index: Index, *, wait: float = 0.0) -> Standing:
        """Begin a sample, as :class:`TaskServer` says."""
        import asyncio

        body: dict[str, Any] = {"name": name, "index": index} | self._owner
        if wait > 0:
            body["wait"] = wait
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
        self._starting += 1
        try:
            answer = await self._ask("POST", "start_sample", body, timeout=self._timeout + wait)
        finally:
            self._starting -= 1
        if answer.status in _BUSY:
            raise self._fault(Fault.NOT_AVAILABLE, answer)
        payload = self._payload(answer, Fault.START_FAILED)
        standing = self._standing(payload, _session_of(answer, payload), Fault.START_FAILED)
        self._dialect = dialect_of(payload)
        return replace(self._with_history(standing, ()), waited=_seconds_in(answer.headers.get(WAITED_HEADER)))

    @property
    def waits(self) -> bool:
        """Controllers of ours do, which have answered before."""
        return self._dialect is Dialect.BOTH

    async def interact(
        self, session_id: int, message: Message | None, status: str = "normal", before: Sequence[Message] = ()
    ) -> Standing:
        """Hand in the agent's answer, as :class:`TaskServer` says.

        AgentRL answers what is new alone, and has no word for an agent that cannot go on: the session is cancelled
        there, and ends as the agent said.
        """
        if message is None and self._dialect is Dialect.AGENTRL:
            await self.cancel(session_id)
            return Standing(session_id, SampleStatus(status), history=history_of(before))
        body = interact_body(session_id, () if message is None else (message,), status) | self._owner
        answer = await self._ask("POST", "interact", body, session_id=session_id)
        payload = self._payload(answer, Fault.INTERACT_FAILED)
        return self._with_history(self._standing(payload, session_id, Fault.INTERACT_FAILED, before), before)

    async def renew(self, session_id: int) -> None:
        """Keep the session while its agent thinks; only controllers of ours know how."""
        if self._dialect is Dialect.BOTH:
            await self._tried("renew", session_id, _SHORT_SECONDS)

    async def cancel(self, session_id: int) -> bool:
        """End the session and free its slot; False where no controller answers.

        AgentBench's controller keeps the slot of a session that its worker has no more, until it is told to ask its
        workers: with the next look at its slots.
        """
        answer = await self._tried("cancel", session_id, _CANCEL_SECONDS)
        refused = answer is not None and answer.status == 400 and "Session does not exist" not in answer.text
        self._owes_sync = self._owes_sync or (refused and self._dialect is Dialect.V02)
        return answer is not None

    async def _sync(self) -> None:
        """Let AgentBench's controller ask its workers, while we begin no sample: it would lose one that begins."""
        import asyncio

        if not self._owes_sync or self._starting:
            return
        self._owes_sync = False
        syncing = self._syncing = asyncio.get_running_loop().create_future()
        try:
            await self._tried("sync_all", None, _SYNC_SECONDS)
        finally:
            self._syncing = None
            syncing.set_result(None)

    async def cancel_session(self, session_id: int) -> None:
        """End the session, and tell where that is refused. Raises ServerFault."""
        answer = await self._ask("POST", "cancel", {}, session_id=session_id, timeout=_CANCEL_SECONDS)
        self._payload(answer, Fault.INTERACT_FAILED)

    async def slots(self, name: str) -> TaskSlots:
        """What the task's workers take, as :class:`TaskServer` says."""
        await self._sync()
        told = await self.workers()
        if name not in told:
            served = ", ".join(told) or "none"
            raise ServerFault(Fault.NOT_AVAILABLE, f"{self._shown}: the task {name!r} is not there; found: {served}")
        workers = [worker for worker in workers_of(told, name) if worker["is_alive"]]
        return TaskSlots(sum(one["capacity"] for one in workers), sum(one["current"] for one in workers))

    async def indices(self, name: str) -> list[Index]:
        """The indices of a task. Raises ServerFault: START_FAILED where there is no such task."""
        answer = await self._ask("GET", "get_indices", query={"name": name}, timeout=_SHORT_SECONDS)
        payload = self._payload(answer, Fault.START_FAILED)
        if not isinstance(payload, list) or any(type(index) not in (int, str) for index in payload):
            raise ServerFault(Fault.START_FAILED, f"{self._shown}: get_indices: no list of indices")
        return payload

    async def workers(self) -> dict[str, Any]:
        """All tasks with their workers, as the controller tells. Raises ServerFault."""
        return await self._listed("list_workers")

    async def sessions(self) -> dict[str, Any]:
        """All sessions, as the controller tells. Raises ServerFault."""
        return await self._listed("list_sessions")

    async def calculate_overall(self, name: str, results: Sequence[Mapping[str, Any]]) -> Any:
        """The task's own score of results in AgentBench's form: index, status, result, history. Raises ServerFault."""
        body = {"name": name, "results": results}
        answer = await self._ask("POST", "calculate_overall", body, largest=LARGEST_OVERALL)
        return self._payload(answer, Fault.INTERACT_FAILED)

    async def close(self) -> None:
        """Close the connections."""
        try:
            await self._sync()
        finally:
            await self._exchange.close()

    @property
    def _shown(self) -> str:
        return shown_address(self.url)

    def _with_history(self, standing: Standing, before: Sequence[Message]) -> Standing:
        """Make the history of a session of AgentRL, which tells none."""
        if self._dialect is not Dialect.AGENTRL or standing.history:
            return standing
        return replace(standing, history=history_of(grown(before, standing)))

    async def _listed(self, call: str) -> dict[str, Any]:
        payload = self._payload(await self._ask("GET", call, timeout=_SHORT_SECONDS), Fault.NETWORK_ERROR)
        if not isinstance(payload, dict):
            raise ServerFault(Fault.NETWORK_ERROR, f"{self._shown}: {call}: no object of JSON")
        return payload

    async def _tried(self, call: str, session_id: int | None, seconds: float) -> HttpAnswer | None:
        try:
            return await self._ask(
                "POST", call, None if session_id is None else {}, session_id=session_id, timeout=seconds, patience=1.0
            )
        except ServerFault:
            return None

    async def _ask(
        self,
        method: str,
        call: str,
        body: dict[str, Any] | None = None,
        *,
        session_id: int | None = None,
        query: Mapping[str, str] | None = None,
        timeout: float | None = None,
        largest: int = LARGEST_ANSWER,
        patience: float = _PATIENCE_SECONDS,
    ) -> HttpAnswer:
        """Send a request; while a controller that has answered before is away, again. Raises ServerFault."""
        import asyncio

        headers = None if session_id is None else {SESSION_HEADER: str(session_id)}
        body = body if body is None or session_id is None else {**body, "session_id": session_id}
        until = time.monotonic() + (patience if self._has_answered else 0.0)
        while True:
            try:
                answer = await self._exchange.ask(
                    method, f"{self.url}/{call}", body, headers=headers, query=query,
                    timeout=self._timeout if timeout is None else timeout, largest=largest,
                )  # fmt: skip
            except Silent as silent:
                if not silent.unsent or time.monotonic() >= until:
                    raise ServerFault(Fault.NETWORK_ERROR, str(silent)) from None
            except Oversized as oversized:
                raise ServerFault(Fault.INTERACT_FAILED, str(oversized)) from None
            else:
                self._has_answered = True
                return answer
            await asyncio.sleep(_PAUSE_SECONDS)

    def _payload(self, answer: HttpAnswer, fault: Fault) -> Any:
        if answer.status != 200:
            raise self._fault(fault, answer)
        try:
            return answer.payload
        except ValueError as error:
            raise ServerFault(fault, f"{self._shown}: the answer is no JSON: {error}", answer.status) from None

    def _standing(self, payload: Any, session_id: int, fault: Fault, before: Sequence[Message] = ()) -> Standing:
        try:
            return standing_of(payload, session_id, before)
        except NotGranted as odd:
            raise ServerFault(fault, f"{self._shown}: no answer of a task: {odd.text}") from None

    def _fault(self, fault: Fault, answer: HttpAnswer) -> ServerFault:
        return ServerFault(fault, f"{self._shown}: HTTP {answer.status}: {answer.text}", answer.status)


def _seconds_in(told: str | None) -> float:
    try:
        return max(0.0, float(told or 0.0))
    except ValueError:
        return 0.0


def workers_of(told: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The workers of a task in what ``list_workers`` tells, with ``is_alive`` besides; those that make sense."""
    task = told.get(name)
    found = task.get("workers") if isinstance(task, dict) else None
    listed = list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []
    return [
        {**worker, "is_alive": worker.get("status") in (WorkerStatus.ALIVE, "alive", "ALIVE")}
        for worker in listed
        if isinstance(worker, dict) and all(type(worker.get(count)) is int for count in ("capacity", "current"))
    ]


def _session_of(answer: HttpAnswer, payload: Any) -> int:
    """Read the session's number in the answer's body, or its header."""
    told = payload.get("session_id") if isinstance(payload, dict) else None
    told = answer.headers.get(SESSION_HEADER) if told is None else told
    try:
        return int(told)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ServerFault(Fault.START_FAILED, f"no session in the answer to start_sample: {answer.text}") from None
