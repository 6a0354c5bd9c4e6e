"""Programs that benchmarks of agents run: a task that is instant, and servers that only answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.harness import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

EVALRUN = (sys.executable, "-c", "from pytest_evalrun.cli import main; main()")
# Whatever proxy this host has, these are here.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# One turn a sample. It writes down when each begins and ends, by a clock that all processes of a host have.
TASK = """
import asyncio, time

class Instant:
    sessions = "loop"

    def __init__(self, times, samples=40, concurrency=5, seconds=0.0):
        self.samples, self.concurrency, self.seconds = samples, concurrency, seconds
        self.times = open(times, "a", buffering=1)

    def get_indices(self):
        return list(range(self.samples))

    async def start_sample(self, index, session):
        self.times.write(f"start {time.monotonic()}\\n")
        await session.action({"role": "user", "content": "Go on."})
        if self.seconds:
            await asyncio.sleep(self.seconds)
        self.times.write(f"end {time.monotonic()}\\n")
        return {"status": "completed", "result": {"success": True}, "reward": 1.0}
"""
AGENT = """
class Agent:
    concurrency = 32

    async def act(self, messages, tools):
        return "Done."
"""

# Answers what it was told to, path by path; `@URL` before the body asks there first, as a controller asks its worker.
SERVER = """
import asyncio, json, sys
import aiohttp
from aiohttp import web

answers = json.loads(sys.stdin.readline())

async def main():
    app = web.Application()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        def handler(body, ask):
            body = body.encode()

            async def answer(request):
                sent = await request.read()
                if ask:
                    async with client.post(ask, data=sent, headers={"Content-Type": "application/json"}) as response:
                        await response.read()
                return web.Response(body=body, content_type="application/json")

            return answer

        for path, (body, ask) in answers.items():
            app.router.add_route("*", path, handler(body, ask))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print("http://127.0.0.1:%d" % runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@dataclass
class Child:
    """A process of ours; when it has ended, the most memory that it had, and the processor seconds that it took."""

    process: subprocess.Popen[Any]
    megabytes: float = 0.0
    processor: float = 0.0

    def end(self) -> None:
        self.process.terminate()
        self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.processor = usage.ru_utime + usage.ru_stime
        self.megabytes = usage.ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20)
        return self.process.returncode


@dataclass
class TaskServer:
    """A controller and one worker, which a benchmark starts itself, so that their start is not measured."""

    url: str
    times: Path
    children: dict[str, Child] = field(default_factory=dict)

    def taken(self) -> tuple[list[float], list[float]]:
        """When samples began and when they ended, in order, since this was asked before."""
        lines = [line.split() for line in self.times.read_text().splitlines()]
        self.times.write_text("")
        starts, ends = (sorted(float(at) for what, at in lines if what == kind) for kind in ("start", "end"))
        return starts, ends


@contextmanager
def task_server(place: Path, **parameters: object) -> Iterator[TaskServer]:
    """Serve the instant task with these parameters, from a directory that is made."""
    place.mkdir(parents=True)
    times = place / "times.txt"
    times.touch()
    (place / "task.py").write_text(TASK)
    definition = {"instant": {"module": "task.Instant", "parameters": {"times": str(times), **parameters}}}
    (place / "tasks.yaml").write_text(json.dumps(definition))
    port, own = free_port(), free_port()
    server = TaskServer(f"http://127.0.0.1:{port}/api", times)
    worker = ("task-worker", "instant", "-c", "tasks.yaml", "-C", server.url, "-p", str(own), "--root", str(place))
    try:
        server.children["controller"] = _command(place, "controller", "-p", str(port), "--log", "controller.log")
        wait_for(f"{server.url}/list_workers", lambda _: True)
        server.children["worker"] = _command(place, *worker, "--self", f"http://127.0.0.1:{own}/api")
        wait_for(f"{server.url}/list_workers", lambda told: "instant" in told)
        yield server
    finally:
        for child in reversed(server.children.values()):
            child.end()


@contextmanager
def bare_server(answers: Mapping[str, tuple[str, str | None]]) -> Iterator[str]:
    """Give the URL of a server that answers these bodies at these paths, having asked the URLs beside them."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(answers) + "\n")
        process.stdin.flush()
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def controller(place: Path) -> Iterator[str]:
    """Give the URL of a controller without workers."""
    place.mkdir(parents=True)
    port = free_port()
    child = _command(place, "controller", "-p", str(port), "--log", "controller.log")
    try:
        wait_for(f"http://127.0.0.1:{port}/api/list_workers", lambda _: True)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.end()


def wait_for(url: str, condition: Any) -> None:
    """Ask until it answers what is waited for; stop the benchmark where it never does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with OPENER.open(url, timeout=5) as reply:
                if condition(json.load(reply)):
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"{url} never answered as it should")


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def _command(place: Path, *arguments: str) -> Child:
    with (place / f"{arguments[0]}.out").open("w") as out:
        process = subprocess.Popen(
            [*EVALRUN, *arguments, "--with-parent", str(os.getpid())],
            cwd=place,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    return Child(process)
