"""A worker of a task: AgentBench's calls over HTTP, and the samples behind them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from pytest_evalrun.agents.dialogue import Saying
    from pytest_evalrun.agents.samples import Samples
    from pytest_evalrun.agents.taskmaking import HostedTask

# So long samples have to end, and the task to release what it has, when the worker is told to end.
_CLOSE_SECONDS = 2.0
_RELEASE_SECONDS = 10.0
_THREADS_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerOptions:
    """Which task, from which file and directory; where its controller is, and where it listens itself.

    ``heartbeat`` is in seconds; None for AgentBench's 8.
    """

    name: str
    config: Path
    root: Path
    controller: str
    address: str | None
    host: str
    port: int
    token_env: str | None = None
    announce: Path | None = None
    parent: int | None = None
    heartbeat: float | None = None


def serve_worker(options: WorkerOptions) -> None:
    """Serve until it is told to end. Raises ConfigError in one line."""
    from pytest_evalrun.agents.addresses import server_address
    from pytest_evalrun.agents.guard import check_binding
    from pytest_evalrun.agents.serving import bound_socket, serve, token_of
    from pytest_evalrun.agents.taskmaking import load_task

    token = token_of(options.token_env)
    check_binding(options.host, token)
    controller = server_address(options.controller, "--controller")
    if options.address is not None:
        server_address(options.address, "--self")
    config, root = options.config.resolve(), options.root.resolve()
    announced = None if options.announce is None else options.announce.resolve()
    hosted = load_task(options.config, options.name, root)
    try:
        bound = bound_socket(options.host, options.port)
        worker = _Worker(hosted, options, controller, token, bound.getsockname()[1], announced)
        worker.say(f"{config}: {len(hosted.indices)} indices, {hosted.concurrency} at once")
        serve(worker.application(), bound, worker.listens, parent=options.parent)
    finally:
        _release(hosted)
    _end(at_once=worker.samples.left > 0)


def _end(*, at_once: bool) -> None:
    """End the process where threads are left, of samples that blocked or of their pools: they would hold it up."""
    import threading
    import time

    end = time.monotonic() + (0 if at_once else _THREADS_SECONDS)
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in others:
        thread.join(max(0, end - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def print_indices(options: WorkerOptions) -> None:
    """Write the indices of the task to stdout, as JSON, and nothing else: what the task prints goes to stderr."""
    from pytest_evalrun.agents.taskmaking import load_task
    from pytest_evalrun.agents.tasksessions import written

    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(2, 1)
    hosted = load_task(options.config, options.name, options.root.resolve())
    _release(hosted)
    sys.stdout.flush()
    with os.fdopen(out, "wb") as file:
        file.write(written(list(hosted.indices)) + b"\n")


def _release(hosted: HostedTask) -> None:
    """Let the task release what it has: an error there changes nothing any more, and is shown."""
    import traceback

    release = getattr(hosted.task, "release", None)
    if callable(release):
        try:
            hosted.host.call(release).result(_RELEASE_SECONDS)
        except Exception:  # noqa: BLE001 - the task's code may raise anything
            traceback.print_exc()
    hosted.host.close()


class _Worker:
    """The calls of AgentBench's worker, of AgentRL's those that it has besides, over the samples of one task."""

    def __init__(
        self, hosted: HostedTask, options: WorkerOptions, controller: str, token: str | None, port: int,
        announced: Path | None,
    ) -> None:  # fmt: skip
        from pytest_evalrun.agents.guard import served_url
        from pytest_evalrun.agents.heartbeats import HEARTBEAT_SECONDS, Heartbeats
        from pytest_evalrun.agents.listing import with_token, without_token
        from pytest_evalrun.agents.samples import Samples
        from pytest_evalrun.agents.tasksessions import written

        self._hosted = hosted
        self._host = options.host
        self._token = token
        self._announced = announced
        self._address = options.address or served_url(options.host, port)
        if without_token(self._address)[1] is None:
            self._address = with_token(self._address, token)
        self._controller = controller if without_token(controller)[1] else with_token(controller, token)
        self.samples: Samples = Samples(hosted, self.say)
        body = {"name": hosted.name, "address": self._address, "concurrency": hosted.concurrency}
        self._heartbeats = Heartbeats(
            self._controller, written({**body, "indices": list(hosted.indices)}),
            interval=options.heartbeat or HEARTBEAT_SECONDS, say=self.say,
        )  # fmt: skip

    def say(self, text: str) -> None:
        sys.stderr.write(f"task-worker {self._hosted.name}: {text}\n")
        sys.stderr.flush()

    def listens(self) -> None:
        """Tell everybody who waits for that."""
        from pytest_evalrun.agents.addresses import shown_address
        from pytest_evalrun.agents.serving import announce

        self.say(f"listens at {shown_address(self._address)}")
        if self._announced is not None:
            announce(self._announced, self._address)
        self._heartbeats.start()

    def application(self) -> web.Application:
        from pytest_evalrun.agents.guard import LARGEST_RESULTS, ServedCall, guarded_application

        calls = {
            name: ServedCall("GET", getattr(self, name)) for name in ("get_indices", "get_sessions", "worker_status")
        }
        posts = ("start_sample", "interact", "sample_status", "cancel", "cancel_with_notice", "cancel_all")
        calls |= {name: ServedCall("POST", getattr(self, name)) for name in (*posts, "cancel_all_with_notice")}
        calls["calculate_overall"] = ServedCall("POST", self.calculate_overall, LARGEST_RESULTS)
        name = urlsplit(self._address).hostname or ""
        application = guarded_application(calls, host=self._host, token=self._token, names=[name])
        application.on_shutdown.append(self._close)
        return application

    async def _close(self, _: web.Application) -> None:
        self._heartbeats.stop()
        await self.samples.close(_CLOSE_SECONDS)

    async def get_indices(self, _request: web.Request, _body: Any) -> Any:
        return list(self._hosted.indices)

    async def get_sessions(self, _request: web.Request, _body: Any) -> Any:
        return {str(number): index for number, index in self.samples.indices.items()}

    async def worker_status(self, _request: web.Request, _body: Any) -> Any:
        return {"concurrency": self._hosted.concurrency, "current": len(self.samples)}

    async def sample_status(self, request: web.Request, body: Any) -> Any:
        from pytest_evalrun.agents.wire import read_session

        dialogue = self.samples.dialogue(read_session("sample_status", request.headers, body))
        answered, last = dialogue.answered, dialogue.last
        from pytest_evalrun.suite.jsontext import parse_json

        said = (
            None
            if answered is None
            else {"status": answered.status, "content": (answered.message or {}).get("content")}
        )
        status = {"waiting_for_env": not dialogue.is_asking, "waiting_for_agent": dialogue.is_asking, "env_input": said}
        status["env_output"] = None if last is None else parse_json(last.output)
        return {"session_id": dialogue.session_id, "index": dialogue.index, "status": status}

    async def start_sample(self, request: web.Request, body: Any) -> web.Response:
        from pytest_evalrun.agents.notgranted import NotGranted
        from pytest_evalrun.agents.wire import SESSION_HEADER, read_session

        number = read_session("start_sample", request.headers, body)
        index = body.get("index") if isinstance(body, dict) else None
        if not isinstance(index, int | str) or isinstance(index, bool):
            raise NotGranted(422, f"Error: start_sample: `index`: found {index!r}; accepted: a whole number or a text")
        told = await self.samples.start(number, index)
        return _answer(told.body(number), headers={SESSION_HEADER: str(number)})

    async def interact(self, request: web.Request, body: Any) -> web.Response:
        from pytest_evalrun.agents.statuses import SampleStatus
        from pytest_evalrun.agents.wire import read_interact

        interaction = read_interact(request.headers, body)
        told: Saying = await self.samples.interact(interaction)
        answer = told.body(interaction.session_id)
        if told.status is SampleStatus.TASK_ERROR:
            return _answer(b'{"detail":' + answer + b"}", status=501)
        return _answer(answer)

    async def cancel(self, request: web.Request, body: Any) -> Any:
        from pytest_evalrun.agents.samples import CANCEL_SECONDS, ended
        from pytest_evalrun.agents.wire import read_cancel

        number = read_cancel(request.headers, body)
        await ended(self.samples.cancel(number), CANCEL_SECONDS)
        return {"session_id": number}

    async def cancel_with_notice(self, request: web.Request, body: Any) -> Any:
        """Answer at once; the controller is told when the sample has ended."""
        from pytest_evalrun.agents.wire import read_cancel

        number = read_cancel(request.headers, body)
        self._cancel_and_tell(number)
        return {"session_id": number}

    async def cancel_all(self, _request: web.Request, _body: Any) -> Any:
        import asyncio

        from pytest_evalrun.agents.samples import CANCEL_SECONDS, ended

        endings = [self.samples.cancel(number) for number in self.samples]
        await asyncio.gather(*(ended(ending, CANCEL_SECONDS) for ending in endings))

    async def cancel_all_with_notice(self, _request: web.Request, _body: Any) -> Any:
        for number in self.samples:
            self._cancel_and_tell(number)

    def _cancel_and_tell(self, number: int) -> None:
        ending = self.samples.cancel(number)
        if ending is not None:
            ending.add_done_callback(lambda _: self._tell(number))

    def _tell(self, number: int) -> None:
        from functools import partial
        from threading import Thread

        from pytest_evalrun.agents.heartbeats import called
        from pytest_evalrun.agents.tasksessions import written

        notice = partial(called, f"{self._controller}/cancel_notice", written({"session_id": number}))
        Thread(target=notice, args=[{"session_id": str(number)}], daemon=True).start()

    async def calculate_overall(self, _request: web.Request, body: Any) -> Any:
        import asyncio

        from pytest_evalrun.agents.notgranted import NotGranted
        from pytest_evalrun.agents.tasksessions import written

        results = body.get("results") if isinstance(body, dict) else None
        if not isinstance(results, list):
            raise NotGranted(422, "Error: calculate_overall: `results`: accepted: a list of outputs")
        if not hasattr(self._hosted.task, "calculate_overall"):
            return None  # it has nothing to say of its results, which is no fault of anybody
        try:
            score = await asyncio.wrap_future(self._hosted.host.call(lambda: self._hosted.overall(results)))
            return _answer(written(score))
        except asyncio.CancelledError:
            raise
        except NotImplementedError:  # of AgentBench's base class
            return None
        except BaseException as error:
            self.say(f"calculate_overall: {type(error).__name__}: {error}")
            raise NotGranted(500, f"Error: calculate_overall raised {type(error).__name__}: {error}") from error


def _answer(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    from aiohttp import web

    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
