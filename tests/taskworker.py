"""A worker of a task on loopback, in a thread: it speaks as AgentBench's or as AgentRL's do, written from their tables.

What a sample does is in its index: ``turns-2`` asks twice and completes with what it was told, ``raises-early`` and
``raises`` end with a traceback before and after the agent was asked, ``hangs-early`` and ``hangs`` never answer,
``slow`` and ``slow-1`` take as long as ``pause`` says for each answer.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from typing import Any

from aiohttp import web

INDICES: list[Any] = [
    *"turns-0 turns-1 turns-2 turns-3 raises-early raises hangs-early hangs slow slow-1".split(), -1,
]  # fmt: skip
SECONDS = 30


class Answer:
    """What a server answered: status, headers, and its value of JSON."""

    def __init__(self, status: int, headers: Any, data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.value = json.loads(data)


def call(url: str, name: str, body: Any = None, method: str | None = None, **headers: str) -> Answer:
    """Ask a server, as any client does."""
    data = None if body is None else json.dumps(body).encode()
    kinds = {"Content-Type": "application/json"} if data is not None else {}
    request = urllib.request.Request(
        f"{url}/{name}", data, {**kinds, **headers}, method=method or ("GET" if body is None else "POST")
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


class ScriptedWorker:
    """A worker of the task ``name``, which takes ``takes`` samples at once, and says that it takes ``says``."""

    def __init__(self, name: str, *, agentrl: bool = False, takes: int = 2, says: int | None = None) -> None:
        self.name = name
        self.takes, self.says = takes, takes if says is None else says
        self.sessions: dict[int, dict[str, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.indices: list[Any] = INDICES
        self.pause = 0.0
        self.agentrl = agentrl
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._up = threading.Event()
        self._thread.start()
        assert self._up.wait(SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        await self._runner.cleanup()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/api/{call}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}/api"
        self._up.set()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)

    def __enter__(self) -> ScriptedWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def beat(self, controller: str) -> Answer:
        """Tell a controller of itself."""
        body = {"name": self.name, "address": self.address, "concurrency": self.says, "indices": self.indices}
        return call(controller, "receive_heartbeat", body)

    def names(self) -> list[str]:
        """What it was asked, in order."""
        return [name for name, _ in self.asked]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        name = request.match_info["call"]
        self.asked.append((name, body))
        return await getattr(self, f"_{name}")(body)

    async def _get_sessions(self, _: Any) -> web.Response:
        return web.json_response({number: one["index"] for number, one in self.sessions.items()})

    async def _worker_status(self, _: Any) -> web.Response:
        return web.json_response({"concurrency": self.says, "current": len(self.sessions)})

    async def _cancel(self, body: Any) -> web.Response:
        if self.sessions.pop(body["session_id"], None) is None:
            return web.json_response({"detail": "No such session"}, status=400)
        return web.json_response({"session_id": body["session_id"]})

    async def _cancel_all(self, _: Any) -> web.Response:
        self.sessions.clear()
        return web.json_response(None)

    async def _calculate_overall(self, body: Any) -> web.Response:
        roles = {item["role"] for result in body["results"] for item in result["history"]}
        if self.agentrl and "agent" in roles:
            return web.json_response({"detail": "Input should be 'assistant'"}, status=422)
        return web.json_response({"score": len(body["results"])})

    async def _start_sample(self, body: Any) -> web.Response:
        number, index = body["session_id"], body["index"]
        if number in self.sessions:
            return web.json_response({"detail": "Session ID already exists"}, status=400)
        if len(self.sessions) >= self.takes:
            return web.json_response({"detail": f"Sample concurrency limit reached: {self.takes}"}, status=406)
        self.sessions[number] = {"index": index, "history": [], "custom": body.get("custom_task")}
        if index == "hangs-early":
            await asyncio.sleep(1000)
        if index == "raises-early":
            return self._ends(number, "task error", "Traceback: early", is_start=True)
        return self._goes_on(number, is_start=True)

    async def _interact(self, body: Any) -> web.Response:
        number = body["session_id"]
        if number not in self.sessions:
            return web.json_response({"detail": "No such session"}, status=400)
        session = self.sessions[number]
        said = body["messages"][-1]["content"] if self.agentrl else body["agent_response"]["content"]
        if session["index"] == "hangs":
            await asyncio.sleep(1000)
        if str(session["index"]).startswith("slow"):
            await asyncio.sleep(self.pause)
        session["history"].append(("agent", said))
        if session["index"] == "raises":
            return self._ends(number, "task error", "Traceback: late")
        return self._goes_on(number)

    def _goes_on(self, number: int, *, is_start: bool = False) -> web.Response:
        session = self.sessions[number]
        said = [content for role, content in session["history"] if role == "agent"]
        turns = str(session["index"]).partition("-")[2]
        if len(said) >= int(turns if turns.isdigit() and session["index"] != -1 else 2):
            return self._ends(number, "completed", said, is_start=is_start)
        session["history"].append(("user", f"turn {len(said)}"))
        return self._says(session, number, "running", None, is_start=is_start)

    def _ends(self, number: int, status: str, result: Any, *, is_start: bool = False) -> web.Response:
        session = self.sessions.pop(number)
        return self._says(session, number, status, result, is_start=is_start)

    def _says(self, session: dict[str, Any], number: int, status: str, result: Any, *, is_start: bool) -> web.Response:
        if not self.agentrl:
            history = [{"role": role, "content": content} for role, content in session["history"]]
            output = {"index": session["index"], "status": status, "result": result, "history": history}
            body = {"session_id": number, "output": output}
            failed = status == "task error" and not is_start
            return web.json_response({"detail": body} if failed else body, status=501 if failed else 200)
        new = session["history"][-1:] if status == "running" else []
        out = {
            "messages": [{"role": role, "content": content} for role, content in new], "tools": None, "status": status,
            "finish": status != "running", "reward": float(status == "completed"), "metric": {"turns": 1},
        }  # fmt: skip
        if is_start:
            return web.json_response(out, headers={"session_id": str(number)})
        return web.json_response({"session_id": number, "env_out": out})
