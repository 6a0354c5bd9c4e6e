"""The controller of a task server: what AgentBench's and AgentRL's clients and workers call, on one port."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.controller.core import Core
from pytest_evalrun.agents.controller.overview import ControllerLists
from pytest_evalrun.agents.controller.records import SessionRecords
from pytest_evalrun.agents.controller.samplecalls import SampleCalls
from pytest_evalrun.agents.controller.store import Store
from pytest_evalrun.agents.controller.workercalls import WorkerCalls
from pytest_evalrun.agents.controller.workersync import WorkerSync
from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.owners import SessionOwners
from pytest_evalrun.agents.wire.addresses import check_worker_address
from pytest_evalrun.agents.wire.dialects import (
    SESSION_HEADER,
    read_cancel,
    read_heartbeat,
    read_interact,
    read_overall,
    read_session,
    read_start,
)
from pytest_evalrun.agents.wire.guard import (
    LARGEST_RESULTS,
    ServedCall,
    check_binding,
    guarded_application,
    json_response,
    served_url,
    token_of,
)
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.serving import bound_socket, serve
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp import web


_LOG = logging.getLogger(__name__)
# So often leases are looked at; much shorter ones more often.
_TICK_SECONDS = 1.0
# So long nobody is given a slot at the start, while workers from before a restart are asked what they hold.
_FIRST_SYNC_SECONDS = 1.0
_LONGEST_MESSAGE = 4_000
# A worker that was not heard of for so long will not come back.
_FORGOTTEN_SECONDS = 3600.0


@dataclass(frozen=True)
class ControllerOptions:
    """Where a controller listens, and how patient it is; ``token_env`` names the variable that holds its token."""

    host: str
    port: int
    lease: float
    call_timeout: float
    database: Path
    log: Path
    token_env: str | None = None
    allowed: tuple[str, ...] = ()
    announce: Path | None = None
    parent: int | None = None


def serve_controller(options: ControllerOptions) -> None:
    """Serve until it is told to end. Raises ConfigError, in one line, where it cannot."""
    token = token_of(options.token_env)
    check_binding(options.host, token)
    for option, seconds in (("--lease", options.lease), ("--call-timeout", options.call_timeout)):
        if not 0 < seconds < 1e9:
            raise ConfigError(f"{option} {seconds:g}: accepted: seconds, more than 0")
    bound = bound_socket(options.host, options.port)
    with bound:
        store = Store(options.database)
        try:
            _log_to(options.log)
            port = bound.getsockname()[1]
            controller = TaskController(options, store)

            def listening() -> None:
                if options.announce is not None:
                    write_atomic(options.announce, served_url(options.host, port, token), private=True)
                shown = served_url(options.host, port, "***" if token else None)
                sys.stdout.write(f"controller: {shown}, log: {options.log}, sessions: {options.database}\n")
                sys.stdout.flush()

            serve(controller.application(token), bound, listening, parent=options.parent)
        finally:
            store.close()


def _log_to(path: Path) -> None:
    """Write what concerns the controller into its log; no addresses of calls, which hold the token."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"--log {path}: {error.strerror}") from None
    handler.setFormatter(_LogLines("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("pytest_evalrun")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _LogLines(logging.Formatter):
    """Each message is one line of the log: names of tasks and what workers answer are anybody's text."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = one_line(record.message[:_LONGEST_MESSAGE].replace("\n", ": "))
        return super().formatMessage(record)


def steady_clock() -> Callable[[], float]:
    """Make a clock that says the time of day, and never jumps."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class TaskController:
    """The calls of a controller, over what it knows."""

    def __init__(self, options: ControllerOptions, store: Store) -> None:
        self._options = options
        self._store = store
        self._clock = steady_clock()
        records = SessionRecords(store)
        self._core = Core(options.lease, store.ids(), records)
        store.restore(self._core, self._clock())
        self._calls = WorkerCalls(timeout=options.call_timeout)
        self._sync = WorkerSync(self._core, store, self._calls, self._clock)
        self._samples = SampleCalls(self._core, records, self._calls, self._sync, self._clock)
        self._owners = SessionOwners()
        self._overview = ControllerLists(self._core)
        self._with_token = options.token_env is not None
        self._syncing: asyncio.Task[None]

    def application(self, token: str | None) -> web.Application:
        """Make what serves these calls."""
        calls = {
            "list_workers": ServedCall("GET", self.list_workers),
            "list_sessions": ServedCall("GET", self.list_sessions),
            "get_indices": ServedCall("GET", self.get_indices),
            "start_sample": ServedCall("POST", self.start_sample),
            "interact": ServedCall("POST", self.interact),
            "renew": ServedCall("POST", self.renew),
            "cancel": ServedCall("POST", self.cancel),
            "cancel_notice": ServedCall("POST", self.cancel_notice),
            "cancel_all": ServedCall("POST", self.cancel_all),
            "sync_all": ServedCall("POST", self.sync_all),
            "clean_worker": ServedCall("POST", self.clean_worker),
            "clean_session": ServedCall("POST", self.clean_session),
            "receive_heartbeat": ServedCall("POST", self.receive_heartbeat),
            "calculate_overall": ServedCall("POST", self.calculate_overall, LARGEST_RESULTS),
        }
        application = guarded_application(calls, host=self._options.host, token=token)
        application.cleanup_ctx.append(self._running)
        return application

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        """What goes on beside the calls, from the first to the last of them."""
        self._syncing = self._sync.background.start(self._sync.sync_all())
        self._sync.background.start(self._tick())
        yield
        await self._sync.background.close()
        await self._calls.close()

    async def _tick(self) -> None:
        cleaned = self._clock()
        while True:
            await asyncio.sleep(min(_TICK_SECONDS, self._options.lease / 4))
            self._samples.expire()
            for session in self._owners.orphans(self._core.sessions.keys()):
                _LOG.info("session %d: its client is gone", session)
                self._samples.cancel(session)
            if self._clock() - cleaned > _FORGOTTEN_SECONDS / 10:
                cleaned = self._clock()
                self._clean(_FORGOTTEN_SECONDS)

    async def list_workers(self, _: web.Request, __: Any) -> web.Response:
        return _of_bytes(self._overview.workers(self._clock()))

    async def list_sessions(self, _: web.Request, __: Any) -> web.Response:
        return _of_bytes(self._overview.sessions())

    async def get_indices(self, request: web.Request, _: Any) -> web.Response:
        name = request.query.get("name")
        if name is None:
            raise NotGranted(422, "Error: get_indices: `name`: found nothing; accepted: the name of a task")
        task = self._core.tasks.get(name)
        if task is None:
            raise NotGranted(400, "Error: Task does not exist")
        return _of_bytes(self._overview.indices(task))

    async def start_sample(self, request: web.Request, body: Any) -> web.Response:
        if not self._syncing.done():
            await asyncio.wait([self._syncing], timeout=_FIRST_SYNC_SECONDS)
        headers, answer = await self._samples.start(read_start(body), _presence(request))
        self._note_owner(int(headers[SESSION_HEADER]), request, body)
        return json_response(answer, headers=headers)

    async def interact(self, request: web.Request, body: Any) -> web.Response:
        asked = read_interact(request.headers, body)
        headers, answer = await self._samples.interact(asked, _presence(request))
        self._note_owner(asked.session_id, request, body)
        return json_response(answer, headers=headers)

    def _note_owner(self, session: int, request: web.Request, body: Any) -> None:
        """Processes are looked for on this machine alone: a client has its own address here, and called it."""
        transport = request.transport
        here, there = (transport.get_extra_info(name) for name in ("sockname", "peername")) if transport else ("", "?")
        if here and there and here[0] == there[0]:
            self._owners.note(session, body)

    async def renew(self, request: web.Request, body: Any) -> Any:
        number = read_session("renew", request.headers, body)
        self._core.renew(number, self._clock())
        return {"session_id": number}

    async def cancel(self, request: web.Request, body: Any) -> Any:
        number = read_cancel(request.headers, body)
        self._samples.cancel(number)
        return {"session_id": number}

    async def cancel_notice(self, request: web.Request, body: Any) -> None:
        """Hear of an AgentRL worker that a session which was cancelled has ended there."""
        self._core.ended(read_session("cancel_notice", request.headers, body), self._clock())

    async def cancel_all(self, _: web.Request, __: Any) -> None:
        await self._sync.cancel_all()

    async def sync_all(self, _: web.Request, __: Any) -> None:
        await self._sync.sync_all()

    async def clean_worker(self, _: web.Request, __: Any) -> None:
        self._clean(0.0)

    def _clean(self, since: float) -> None:
        for worker in self._core.clean(self._clock(), since):
            self._store.forget_worker(worker)
            self._calls.forget(worker.address)

    async def clean_session(self, _: web.Request, __: Any) -> None:
        self._samples.expire()

    async def receive_heartbeat(self, request: web.Request, body: Any) -> None:
        beat = read_heartbeat(body)
        await check_worker_address(beat.address, request.remote, self._options.allowed, with_token=self._with_token)
        await self._sync.heard(beat)

    async def calculate_overall(self, _: web.Request, body: Any) -> Any:
        asked = read_overall(body)
        worker = self._core.first_alive(asked.name, self._clock())
        try:
            return await self._calls.calculate_overall(worker.address, asked.name, asked.results)
        except NotGranted as refusal:
            if refusal.status != 422:
                raise
        # Workers of AgentRL read histories with the roles of OpenAI's chats alone.
        results = [_with_assistant(result) for result in asked.results]
        return await self._calls.calculate_overall(worker.address, asked.name, results)


def _with_assistant(result: Any) -> Any:
    """Call the agent of a history an assistant."""
    history = result.get("history") if isinstance(result, dict) else None
    if not isinstance(history, list):
        return result
    is_agent = [isinstance(item, dict) and item.get("role") == "agent" for item in history]
    named = [{**item, "role": "assistant"} if agent else item for item, agent in zip(history, is_agent, strict=True)]
    return {**result, "history": named}


def _of_bytes(data: bytes) -> web.Response:
    from aiohttp import web

    return web.Response(body=data, content_type="application/json")


def _presence(request: web.Request) -> Callable[[], bool]:
    """Tell whether the client is still connected."""

    def is_here() -> bool:
        transport = request.transport
        return transport is not None and not transport.is_closing()

    return is_here
