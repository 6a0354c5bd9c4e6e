"""A run that is shown to whoever knows the link, and somebody who asks for what no browser would."""

from __future__ import annotations

import asyncio
import http.client
import json
from contextlib import contextmanager

import pytest
from aiohttp import web

from pytest_evalrun.adapters.eventloop import give_back_thread, take_thread
from pytest_evalrun.monitor.web.pages import ServedPage
from pytest_evalrun.monitor.web.server import RunServer

TOKEN = "tell-nobody-0123456789"


class Shown:
    """A server of ours, and requests to it as they are written."""

    def __init__(self, port, server):
        self.port = port
        self.server = server
        self.base = f"/t/{TOKEN}"

    def ask(self, path, method="GET", **headers):
        """Status, headers and body; ``headers`` with underscores. The path goes out as it is."""
        with self.asked(path, method, **headers) as answer:
            return answer.status, answer.headers, answer.read()

    def json(self, path, method="GET", **headers):
        status, _, body = self.ask(f"{self.base}{path}", method, **headers)
        return status, json.loads(body) if body else None

    @contextmanager
    def asked(self, path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(method, path, skip_host="Host" in given)
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders()
            yield connection.getresponse()
        finally:
            connection.close()

    @contextmanager
    def events(self):
        """The stream of events: an iterator of (event, data)."""
        with self.asked(f"{self.base}/api/events") as answer:
            assert answer.status == 200
            yield Stream(answer)


class Stream:
    """Events as they come, and the snapshot that they add up to."""

    def __init__(self, answer):
        self.state = {}
        self.names = []
        self._answer = answer

    def until(self, condition):
        """The snapshot, once it is like that."""
        while not (self.state and condition(self.state)):
            self.next()
        return self.state

    def next(self):
        """Take the next event into the snapshot; its name."""
        name = ""
        for raw in self._answer:
            word, _, rest = raw.decode().rstrip("\n").partition(": ")
            if word == "event":
                name = rest
            elif word == "data":
                self.names.append(name)
                self.state |= json.loads(rest) if name == "snapshot" else {}
                return name
        raise AssertionError(f"the stream ended with {self.state}")


@pytest.fixture
def show():
    """``show(paths, origin)`` serves a run until the test ends."""
    thread, runners = take_thread(), []

    async def serve(server):
        runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner.addresses[0][1]

    async def end():
        for runner in runners:
            await runner.cleanup()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def show(paths, origin=lambda _: None):
        server = RunServer(paths, TOKEN, ServedPage(paths, lambda _: origin))
        return Shown(thread.submit(serve(server)).result(30), server)

    yield show
    thread.submit(end()).result(30)
    give_back_thread(thread)


@pytest.fixture
def shown(run, show):
    """The living run, shown."""
    return show(run.start().paths)
