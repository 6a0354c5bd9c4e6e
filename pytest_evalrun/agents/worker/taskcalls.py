"""The calls of a task worker: AgentBench's, those that AgentRL's has besides, and the samples behind them."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.addresses import shown_address
from pytest_evalrun.agents.wire.dialects import SESSION_HEADER, read_cancel, read_interact, read_session
from pytest_evalrun.agents.wire.guard import LARGEST_RESULTS, ServedCall, guarded_application, served_url
from pytest_evalrun.agents.wire.listing import with_token, without_token
from pytest_evalrun.agents.worker.heartbeats import HEARTBEAT_SECONDS, Heartbeats, called
from pytest_evalrun.agents.worker.samples import CANCEL_SECONDS, Samples, ended
from pytest_evalrun.agents.worker.tasksessions import written
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from pytest_evalrun.agents.worker.taskmaking import HostedTask

# So long samples have to end when the worker is told to end.
_CLOSE_SECONDS = 2.0


@dataclass(frozen=True)
class WorkerPlaces:
    """Where a worker listens and is called, where its controller is, and the token that both are called with."""

    controller: str
    address: str
    host: str
    token: str | None

    @classmethod
    def of(cls, controller: str, address: str | None, host: str, port: int, token: str | None) -> Self:
        """Put the token into URLs that have none."""
        own = address or served_url(host, port, token)
        controller, own = (url if without_token(url)[1] else with_token(url, token) for url in (controller, own))
        return cls(controller, own, host, token)


class TaskCalls:
    """A worker's calls; ``announced`` is the file that gets its URL once it listens."""

    def __init__(
        self, hosted: HostedTask, places: WorkerPlaces, *, heartbeat: float | None = None, announced: Path | None = None
    ) -> None:
        self._hosted = hosted
        self._places = places
        self._announced = announced
        self.samples = Samples(hosted, self.say)
        body = {"name": hosted.name, "address": places.address, "concurrency": hosted.concurrency}
        beat = written({**body, "indices": list(hosted.indices)})
        interval = heartbeat or HEARTBEAT_SECONDS
        self._heartbeats = Heartbeats(places.controller, beat, interval=interval, say=self.say)

    def say(self, text: str) -> None:
        sys.stderr.write(f"task-worker {self._hosted.name}: {text}\n")
        sys.stderr.flush()

    def listens(self) -> None:
        """Tell everybody who waits for that."""
        self.say(f"listens at {shown_address(self._places.address)}")
        if self._announced is not None:
            write_atomic(self._announced, self._places.address, private=True)
        self._heartbeats.start()

    def application(self) -> web.Application:
        gets = ("get_indices", "get_sessions", "worker_status")
        calls = {name: ServedCall("GET", getattr(self, name)) for name in gets}
        posts = ("start_sample", "interact", "sample_status", "cancel", "cancel_with_notice", "cancel_all")
        calls |= {name: ServedCall("POST", getattr(self, name)) for name in (*posts, "cancel_all_with_notice")}
        calls["calculate_overall"] = ServedCall("POST", self.calculate_overall, LARGEST_RESULTS)
        name = urlsplit(self._places.address).hostname or ""
        application = guarded_application(calls, host=self._places.host, token=self._places.token, names=[name])
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
        dialogue = self.samples.dialogue(read_session("sample_status", request.headers, body))
        said, last, asking = dialogue.answered, dialogue.last, dialogue.is_asking
        status = {
            "waiting_for_env": not asking,
            "waiting_for_agent": asking,
            "env_input": said and {"status": said.status, "content": (said.message or {}).get("content")},
            "env_output": last and parse_json(last.output),
        }
        return {"session_id": dialogue.session_id, "index": dialogue.index, "status": status}

    async def start_sample(self, request: web.Request, body: Any) -> web.Response:
        number = read_session("start_sample", request.headers, body)
        index = body.get("index") if isinstance(body, dict) else None
        if not isinstance(index, int | str) or isinstance(index, bool):
            raise NotGranted(422, f"Error: start_sample: `index`: found {index!r}; accepted: a whole number or a text")
        told = await self.samples.start(number, index)
        return _answer(told.body(number), headers={SESSION_HEADER: str(number)})

    async def interact(self, request: web.Request, body: Any) -> web.Response:
        interaction = read_interact(request.headers, body)
        told = await self.samples.interact(interaction)
        answer = told.body(interaction.session_id)
        if told.status is SampleStatus.TASK_ERROR:
            return _answer(b'{"detail":' + answer + b"}", status=501)
        return _answer(answer)

    async def cancel(self, request: web.Request, body: Any) -> Any:
        number = read_cancel(request.headers, body)
        await ended(self.samples.cancel(number), CANCEL_SECONDS)
        return {"session_id": number}

    async def cancel_with_notice(self, request: web.Request, body: Any) -> Any:
        """Answer at once; the controller is told when the sample has ended."""
        number = read_cancel(request.headers, body)
        self._cancel_and_tell(number)
        return {"session_id": number}

    async def cancel_all(self, _request: web.Request, _body: Any) -> Any:
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
        notice = partial(called, f"{self._places.controller}/cancel_notice", written({"session_id": number}))
        Thread(target=notice, args=[{"session_id": str(number)}], daemon=True).start()

    async def calculate_overall(self, _request: web.Request, body: Any) -> Any:
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
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
