"""What a controller asks of workers, against real servers on loopback that behave as theirs do, or do not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from taskservers import SECONDS, played, ran

from pytest_evalrun.agents.controller.workercalls import LARGEST_ANSWER, WorkerCalls, WorkerSilent
from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.statuses import SampleStatus
from pytest_evalrun.agents.wire.dialects import Dialect, Interaction
from pytest_evalrun.agents.wire.exchange import Exchange, Oversized

ASKED = {"role": "user", "content": "How many?"}
SAID = {"role": "assistant", "content": "1"}
RUNNING = {"index": 3, "status": "running", "result": None, "history": [ASKED]}


@asynccontextmanager
async def worker(**calls):
    """What asks workers, the address of one whose calls answer so, and what it was asked."""
    workers = WorkerCalls(timeout=5.0)
    try:
        async with played(**calls) as (address, asked):
            yield workers, address, asked
    finally:
        await workers.close()


def test_a_worker_of_agentbench():
    """AgentBench's worker is asked with bodies that it reads, and its answers are understood."""

    async def play():
        done = {**RUNNING, "status": "completed", "result": 1}
        async with worker(
            start_sample={"session_id": 7, "output": RUNNING}, interact={"session_id": 7, "output": done},
            get_sessions={"7": 3, "8": "a"}, cancel={"session_id": 7}, calculate_overall={"score": 1}, cancel_all=None,
        ) as (workers, address, asked):  # fmt: skip
            begun = await workers.start_sample(address, 7, 3)
            ended = await workers.interact(address, Interaction(7, [SAID], "normal", Dialect.V02))
            rest = [
                await workers.sessions(address), await workers.cancel(address, 7),
                await workers.calculate_overall(address, "t", [done]), await workers.cancel_all(address),
            ]  # fmt: skip
            return begun, ended, rest, asked

    begun, ended, rest, asked = ran(play())
    assert (begun.status, begun.replaces, ended.status, ended.result) == ("running", True, "completed", 1)
    assert rest == [{7: 3, 8: "a"}, True, {"score": 1}, None]
    assert asked[0] == ("start_sample", {"index": 3, "session_id": 7})
    assert asked[1][1]["agent_response"] == {"status": "normal", "content": "1"}


@pytest.mark.parametrize("status", ["agent context limit", "cancelled"])
def test_an_agent_that_cannot_go_on_at_a_worker_of_agentrl(status):
    """AgentRL's worker has no word for it: its session is cancelled there, and ends as the agent said."""

    async def play():
        begun = {"messages": [ASKED], "tools": None, "status": "running", "finish": False, "reward": 0, "metric": {}}
        async with worker(start_sample=begun, cancel={"session_id": 7}) as (workers, address, asked):
            await workers.start_sample(address, 7, 3)
            ended = await workers.interact(address, Interaction(7, (), status, Dialect.V02), [ASKED])
            return ended, asked[1:]

    ended, asked = ran(play())
    assert (ended.status, list(ended.messages)) == (status, [ASKED])
    assert asked == [("cancel", {"session_id": 7})]


def test_an_agent_that_cannot_go_on_at_a_worker_of_agentbench():
    """AgentBench's worker is told the status, and says itself how the sample ends."""

    async def play():
        done = {**RUNNING, "status": "agent context limit"}
        begun = {"session_id": 7, "output": RUNNING}
        async with worker(start_sample=begun, interact={"session_id": 7, "output": done}) as (workers, address, asked):
            await workers.start_sample(address, 7, 3)
            ended = await workers.interact(address, Interaction(7, (), "agent context limit", Dialect.AGENTRL))
            return ended, asked[1][1]["agent_response"]

    ended, told = ran(play())
    assert ended.status is SampleStatus.AGENT_CONTEXT_LIMIT
    assert told == {"status": "agent context limit", "content": None}


def test_a_task_that_raised():
    """A 501 of AgentBench's worker is where the session stands, with the traceback as its result."""

    async def play():
        raised = {"detail": {"session_id": 7, "output": {**RUNNING, "status": "task error", "result": "Traceback"}}}
        async with worker(interact=web.json_response(raised, status=501)) as (workers, address, _):
            return await workers.interact(address, Interaction(7, [SAID], "normal", Dialect.V02))

    assert (standing := ran(play())).status is SampleStatus.TASK_ERROR
    assert standing.result == "Traceback"


async def _hang(body, request):
    await asyncio.sleep(SECONDS)


REFUSED = {
    "no slot": (lambda: web.json_response({"detail": "Sample concurrency limit reached: 1"}, status=406), 406, "limit"),
    "an id that is taken": (
        lambda: web.json_response({"detail": "Session ID already exists"}, status=400), 400, "already exists",
    ),
    "broken": (lambda: web.Response(status=500, text="Internal Server Error"), 500, "Internal Server Error"),
    "elsewhere": (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), 400, "returned error"),
    "no JSON": (lambda: web.Response(text="<html>"), 400, "no JSON"),
    "no answer of either dialect": (lambda: {"session_id": 7}, 400, "{'session_id': 7}"),
    "nothing": (lambda: web.Response(), 400, "no JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_worker_refuses_is_passed_on(case):
    """What a worker refuses keeps its status and text; what is no answer is its error, and it still lives."""
    make, status, text = REFUSED[case]

    async def play():
        async with worker(start_sample=lambda *_: make()) as (workers, address, _):
            await workers.start_sample(address, 7, 3)

    with pytest.raises(NotGranted, match=r"^Error: Worker returned error") as caught:
        ran(play())
    assert (caught.value.status, text in caught.value.text) == (status, True)
    assert not isinstance(caught.value, WorkerSilent)


@pytest.mark.parametrize("held", [None, [7], {"x": 1}, {"-5": 1}, {"9" * 30: 1}, {str(2**63 - 1): 1}], ids=str)
def test_what_no_worker_holds(held):
    """What a worker holds is sessions by their numbers, with room for more behind them, or an error of the worker."""

    async def play():
        async with worker(get_sessions=lambda *_: web.json_response(held)) as (workers, address, _):
            await workers.sessions(address)

    with pytest.raises(NotGranted, match="get_sessions: no object of sessions"):
        ran(play())


def test_a_worker_that_never_answers():
    """A call ends after its time: 400, Worker not responding."""

    async def play():
        async with worker(interact=_hang) as (workers, address, _):
            workers.timeout = 0.2
            await workers.interact(address, Interaction(7, [SAID], "normal", Dialect.V02))

    with pytest.raises(WorkerSilent, match=r"^Error: Worker not responding\n.*no answer within 0.2 s") as caught:
        ran(play())
    assert caught.value.status == 400


def test_a_worker_that_is_gone():
    """Nobody listens there any more: 400, Worker not responding."""

    async def play():
        async with worker() as (workers, address, _):
            pass
        try:
            await workers.start_sample(address, 7, 3)
        finally:
            await workers.close()

    with pytest.raises(WorkerSilent, match="nobody listens there"):
        ran(play())


def test_a_worker_that_sends_a_gigabyte():
    """An answer is cut where it is too large; it costs its session, and the worker still lives."""
    sent = []

    async def endless(body, request):
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            for _ in range(1000):
                await response.write(b" " * 1_000_000)
                sent.append(1)
        return response

    async def play():
        async with worker(get_sessions={}, interact=endless) as (workers, address, _):
            with pytest.raises(NotGranted, match="the answer is larger than 64 MB") as caught:
                await workers.interact(address, Interaction(7, [SAID], "normal", Dialect.V02))
            return caught.value, await workers.sessions(address)

    error, sessions = ran(play())
    assert not isinstance(error, WorkerSilent)
    assert sessions == {}
    assert len(sent) < 2 * LARGEST_ANSWER // 1_000_000


def test_a_worker_that_answers_twice():
    """What follows on an answer is nobody's: it is not taken for the answer to the next request."""
    first, second = (b'{"session_id": 7, "output": {"status": "%s"}}' % word for word in (b"running", b"unknown"))
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"

    async def twice(reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(whole % (len(first), first) + whole % (len(second), second))
                await writer.drain()
        writer.close()

    async def play():
        server = await asyncio.start_server(twice, "127.0.0.1", 0)
        workers = WorkerCalls(timeout=5.0)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        statuses = []
        for number in range(20):
            with suppress(NotGranted):
                statuses.append((await workers.start_sample(address, number, 3)).status)
        await workers.close()
        server.close()
        return statuses

    assert set(ran(play())) == {SampleStatus.RUNNING}


def test_connections_are_kept():
    """Calls to one worker use the same connection again."""
    opened = []

    async def serve(reader, writer):
        opened.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def play():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        workers = WorkerCalls()
        for _ in range(5):
            await workers.sessions(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api")
        await workers.close()
        server.close()

    ran(play())
    assert len(opened) == 1


def test_an_exchange_follows_its_loop():
    """Whoever asks in another event loop has connections of that one."""
    exchange = Exchange()

    async def play():
        async with worker(get_sessions={"1": 1}) as (_, address, _):
            answer = await exchange.ask("GET", f"{address}/get_sessions", timeout=5, largest=100)
            with pytest.raises(Oversized):
                await exchange.ask("GET", f"{address}/get_sessions", timeout=5, largest=3)
            await exchange.close()
            return answer.payload

    assert [ran(play()), ran(play())] == [{"1": 1}, {"1": 1}]
