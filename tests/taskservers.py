"""Controllers and workers of tasks that answer as a test wants it, on loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from pytest_evalrun.adapters.eventloop import give_back_thread, take_thread

SECONDS = 60


@asynccontextmanager
async def played(**calls):
    """A server's address, and what it was asked: call and body. Calls answer a value of JSON, a response, or what a
    function makes of the body and the request.
    """

    async def handle(request):
        body = await request.json() if request.can_read_body else None
        asked.append((request.path.rpartition("/")[2], body))
        answer = calls.get(asked[-1][0], web.json_response({"detail": "Not Found"}, status=404))
        answer = answer(body, request) if callable(answer) else answer
        answer = await answer if asyncio.iscoroutine(answer) else answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)

    asked = []
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api", asked
    finally:
        await runner.cleanup()


@contextmanager
def serving(**calls):
    """The same for whoever waits: a server in a thread."""
    thread = take_thread()
    server = played(**calls)
    try:
        yield thread.submit(server.__aenter__()).result(SECONDS)
        thread.submit(server.__aexit__(None, None, None)).result(SECONDS)
    finally:
        give_back_thread(thread)


def ran(coroutine):
    """What a coroutine returns, in an event loop of its own."""
    return asyncio.run(asyncio.wait_for(coroutine, SECONDS))
