"""The client of a controller, against servers that answer as AgentBench's and AgentRL's do, and as none should."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from taskservers import SECONDS, played, ran

from pytest_evalrun.agents.client import ControllerClient, workers_of
from pytest_evalrun.agents.owners import own_field
from pytest_evalrun.agents.protocol import ServerFault, Standing, TaskSlots
from pytest_evalrun.agents.statuses import Fault, SampleStatus
from pytest_evalrun.agents.wire.dialects import answer
from pytest_evalrun.errors import ConfigError

ASKED = {"role": "user", "content": "How many?"}
SAID = {"role": "assistant", "content": "1"}
TOLD = {"role": "user", "content": "no"}
BEGUN = {"session_id": 7, "output": {"index": 3, "status": "running", "result": None, "history": [ASKED]}}
DONE = {"session_id": 7, "output": {"index": 3, "status": "completed", "result": {"ok": True}, "history": [
        ASKED, {"role": "agent", "content": "1"}]}}  # fmt: skip
RL_BEGUN = {"messages": [ASKED], "tools": [], "status": "running", "finish": False, "reward": 0, "metrics": {}}
RL_DONE = {"messages": [], "status": "completed", "finish": True, "reward": 1.0, "metrics": {"score": 1.0}}


@asynccontextmanager
async def controller(token=None, timeout=5.0, **calls):
    """A client of a controller whose calls answer so, and what that was asked."""
    async with played(**calls) as (address, asked):
        client = ControllerClient(address, token=token, timeout=timeout)
        try:
            yield client, asked
        finally:
            await client.close()


def refusal(status, text):
    return lambda *_: web.json_response({"detail": text}, status=status)


def header(session_id, body):
    return lambda *_: web.json_response(body, headers={"session_id": str(session_id)})


def test_a_controller_of_agentbench():
    """At AgentBench's controller a sample is begun, answered and cancelled; each answer is the whole conversation."""

    async def play():
        async with controller(start_sample=BEGUN, interact=DONE, cancel={"session_id": 7}) as (client, asked):
            begun = await client.start_sample("os", 3, wait=2.0)
            done = await client.interact(7, SAID)
            await client.renew(7)
            assert await client.cancel(7)
            return begun, done, asked

    begun, done, asked = ran(play())
    assert begun == Standing(7, SampleStatus.RUNNING, [ASKED], True, [ASKED])
    assert (done.status, done.result, done.messages) == ("completed", {"ok": True}, [ASKED, SAID])
    assert [call for call, _ in asked] == ["start_sample", "interact", "cancel"]
    assert asked[0][1] == {"name": "os", "index": 3, "wait": 2.0} | own_field()
    assert asked[1][1]["agent_response"] == {"status": "normal", "content": "1"}


def test_a_controller_of_agentrl():
    """At AgentRL's controller the session is in a header, and an answer is what is new."""

    async def play():
        headers = []

        def interact(body, request):
            headers.append(request.headers["session_id"])
            return RL_DONE

        async with controller(start_sample=header(9, RL_BEGUN), interact=interact) as (client, asked):
            return (
                await client.start_sample("os", "a"),
                await client.interact(9, SAID, before=[ASKED, SAID]),
                headers,
                asked[1][1],
            )

    begun, done, headers, sent = ran(play())
    assert (begun.session_id, begun.messages, begun.replaces) == (9, [ASKED], False)
    assert (done.status, done.reward, done.metrics, headers) == ("completed", 1.0, {"score": 1.0}, ["9"])
    assert sent["messages"] == [SAID]
    assert (begun.history, done.history) == ([ASKED], [ASKED, {"role": "agent", "content": "1"}])


def test_a_task_of_agentrl_that_tells_all_again():
    """An answer that begins with the conversation so far is the whole of it."""

    async def play():
        again = {**RL_BEGUN, "messages": [ASKED, SAID, TOLD]}
        async with controller(start_sample=header(9, RL_BEGUN), interact=again) as (client, _):
            await client.start_sample("os", 0)
            return await client.interact(9, SAID, before=[ASKED, SAID]), await client.interact(9, SAID, before=[SAID])

    first, second = ran(play())
    assert (first.replaces, second.replaces) == (True, False)
    assert [item["content"] for item in first.history] == ["How many?", "1", "no"]
    assert [item["content"] for item in second.history] == ["1", "How many?", "1", "no"]


def test_an_agent_that_cannot_go_on():
    """AgentBench's controller is told the status; AgentRL's has no word for it, so the session is cancelled there."""

    async def play(**calls):
        async with controller(**calls) as (client, asked):
            await client.start_sample("os", 3)
            return (await client.interact(7, None, "agent context limit")).status, asked[1]

    limited = {**DONE, "output": {**DONE["output"], "status": "agent context limit"}}
    assert ran(play(start_sample=BEGUN, interact=limited))[1][1]["agent_response"]["status"] == "agent context limit"
    assert ran(play(start_sample=header(7, RL_BEGUN), cancel=None)) == (
        "agent context limit", ("cancel", {"session_id": 7}),
    )  # fmt: skip


def test_a_controller_of_ours_renews():
    """Only a controller of ours is asked to renew a session."""

    async def play():
        ours = answer(Standing(7, SampleStatus.RUNNING, [ASKED]), 3, [ASKED])[1]
        async with controller(start_sample=ours, renew=None) as (client, asked):
            await client.start_sample("os", 3)
            await client.renew(7)
            return asked[1:]

    assert ran(play()) == [("renew", {"session_id": 7})]


STARTS = {
    "no slot": (refusal(406, "Error: No workers available"), Fault.NOT_AVAILABLE, 406, "No workers available"),
    "no task": (refusal(406, "Error: Task does not exist"), Fault.NOT_AVAILABLE, 406, "Task does not exist"),
    "full": (refusal(406, "Sample concurrency limit reached: 1"), Fault.NOT_AVAILABLE, 406, "limit reached"),
    "busy": (refusal(503, "no worker"), Fault.NOT_AVAILABLE, 503, "no worker"),
    "out of bounds": (refusal(400, "Error: Index out of bounds"), Fault.START_FAILED, 400, "Index out of bounds"),
    "id taken": (
        refusal(400, "Error: Worker returned error\nSession ID already exists"),
        Fault.START_FAILED,
        400,
        "ID",
    ),
    "broken": (lambda *_: web.Response(status=500, text="Internal Server Error"), Fault.START_FAILED, 500, "Internal"),
    "wrong token": (refusal(403, "Error: another token"), Fault.START_FAILED, 403, "another token"),
    "no JSON": (lambda *_: web.Response(text="<html>"), Fault.START_FAILED, 200, "no JSON"),
    "no session": (RL_BEGUN, Fault.START_FAILED, None, "no session in the answer"),
    "no answer": ({"session_id": 7}, Fault.START_FAILED, None, "no answer of a task"),
}
ANSWERS = {
    "gone": (refusal(400, "Error: Session does not exist"), Fault.INTERACT_FAILED, 400, "Session does not exist"),
    "silent": (refusal(400, "Error: Worker not responding\n"), Fault.INTERACT_FAILED, 400, "Worker not responding"),
    "raised": (refusal(501, "Error: Worker returned error\n{}"), Fault.INTERACT_FAILED, 501, "Worker returned error"),
    "busy": (refusal(400, "Task Executing, please do not send new request."), Fault.INTERACT_FAILED, 400, "Executing"),
    "no JSON": (lambda *_: web.Response(text="{"), Fault.INTERACT_FAILED, 200, "no JSON"),
    "no answer": ([], Fault.INTERACT_FAILED, None, "no answer of a task"),
}


@pytest.mark.parametrize("case", [*(("start_sample", name) for name in STARTS), *(("interact", n) for n in ANSWERS)])
def test_what_is_refused(case):
    """What a controller refuses is a fault in AgentBench's words, with its text; no free slot is one of its own."""
    call, name = case
    said, fault, status, text = {"start_sample": STARTS, "interact": ANSWERS}[call][name]

    async def play():
        async with controller(**{call: said}) as (client, _):
            await (client.start_sample("os", 3) if call == "start_sample" else client.interact(7, SAID))

    with pytest.raises(ServerFault, match=text) as caught:
        ran(play())
    assert (caught.value.fault, caught.value.status) == (fault, status)


def test_a_controller_that_never_answers():
    """A call ends after its time, as a fault of the network; cancelling tells nothing of it."""

    async def hang(*_):
        await asyncio.sleep(SECONDS)

    async def play():
        async with controller(timeout=0.2, start_sample=hang) as (client, _):
            await client.start_sample("os", 3)

    with pytest.raises(ServerFault, match=r"no answer within 0.2 s") as caught:
        ran(play())
    assert caught.value.fault is Fault.NETWORK_ERROR


def test_nobody_listens():
    """A controller that has never answered is not waited for; cancelling there raises nothing."""

    async def play():
        async with controller() as (client, _):
            pass
        assert not await client.cancel(7)
        try:
            await client.slots("os")
        finally:
            await client.close()

    with pytest.raises(ServerFault, match=r"http://127\.0\.0\.1:\d+/api/list_workers: nobody listens there") as caught:
        ran(play())
    assert (caught.value.fault, caught.value.status) == (Fault.NETWORK_ERROR, None)


def test_a_controller_that_is_started_again():
    """What reached nobody is sent again while a controller that answered before is away."""

    async def play():
        async def serve():
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
            return runner

        async def listed(request):
            return web.json_response({"os": {}})

        application, port = web.Application(), 0
        application.router.add_get("/api/list_workers", listed)
        runner = await serve()
        port = runner.addresses[0][1]
        client = ControllerClient(f"http://127.0.0.1:{port}")
        first = await client.slots("os")
        await runner.cleanup()
        waiting = asyncio.ensure_future(client.slots("os"))
        await asyncio.wait([waiting], timeout=0.3)
        was_waiting = not waiting.done()
        application = web.Application()
        application.router.add_get("/api/list_workers", listed)
        runner = await serve()
        second = await waiting
        await client.close()
        await runner.cleanup()
        return first, was_waiting, second

    assert ran(play()) == (TaskSlots(0, 0), True, TaskSlots(0, 0))


def test_a_slot_that_agentbench_keeps():
    """Where its worker has forgotten a session, AgentBench's controller keeps the slot until it asks its workers.

    It is told to with the next look at its slots, and while no sample is being begun, as it would lose that.
    """

    async def play(text):
        going = asyncio.Event()

        async def begin(body, request):
            if body["index"] == 4:
                await going.wait()
            return BEGUN

        calls = {"start_sample": begin, "cancel": refusal(400, text), "sync_all": None, "list_workers": {"os": {}}}
        async with controller(**calls) as (client, asked):
            await client.start_sample("os", 3)
            await client.cancel(7)
            beginning = asyncio.ensure_future(client.start_sample("os", 4))
            await asyncio.sleep(0)
            await client.slots("os")
            going.set()
            await beginning
            await client.slots("os")
            await client.slots("os")
            return [call for call, _ in asked[2:] if call != "start_sample"]

    look = "list_workers"
    assert ran(play("Error: Worker returned error\nNo such session")) == [look, "sync_all", look, look]
    assert ran(play("Error: Session does not exist")) == [look, look, look]


def test_what_else_a_controller_tells():
    """Indices, free slots, sessions and a task's own score are asked for as AgentBench's table has them."""
    alive = {"id": 0, "address": "x", "capacity": 5, "current": 2, "last_visit": 1.0, "status": 0, "locked": False}
    kept = {"0": alive, "1": {**alive, "current": 1}, "2": {**alive, "status": 1}, "3": {"status": 0}, "4": 3}
    workers = {"os": {"indices": [0, 1], "workers": kept}}

    async def play():
        async with controller(
            get_indices=lambda _, request: [0, "a"] if request.query == {"name": "os"} else None,
            list_workers=workers, list_sessions={"7": {"name": "os"}}, calculate_overall={"score": 0.5},
        ) as (client, asked):  # fmt: skip
            return [
                await client.indices("os"), await client.slots("os"),
                await client.sessions(), await client.calculate_overall("os", [DONE["output"]]), asked[-1][1],
            ]  # fmt: skip

    overall = {"name": "os", "results": [DONE["output"]]}
    assert ran(play()) == [[0, "a"], TaskSlots(10, 3), {"7": {"name": "os"}}, {"score": 0.5}, overall]


def test_a_task_that_is_not_there():
    """A task that a controller does not have is not available; those that it has are named."""

    async def play():
        async with controller(list_workers={"os": {}, "db": {}}) as (client, _):
            await client.slots("sql")

    with pytest.raises(ServerFault, match="the task 'sql' is not there; found: os, db") as caught:
        ran(play())
    assert caught.value.fault is Fault.NOT_AVAILABLE


def test_a_list_of_workers_is_fine():
    """Workers may be listed without numbers, and alive in a word."""
    told = {"os": {"workers": [{"capacity": 1, "current": 0, "status": "alive"}]}}

    assert [worker["is_alive"] for worker in workers_of(told, "os")] == [True]
    assert workers_of({"os": 3}, "os") == workers_of({"os": {"workers": 3}}, "os") == []


@pytest.mark.parametrize("told", [{"a": 1}, [None], [1.5], [True]], ids=str)
def test_what_are_no_indices(told):
    """Indices are numbers and texts."""

    async def play():
        async with controller(get_indices=told) as (client, _):
            await client.indices("os")

    with pytest.raises(ServerFault, match="no list of indices"):
        ran(play())


def test_the_token_of_a_controller():
    """The token is a part of the path, given with the URL or apart from it, and stands in no error."""
    token = "tell-nobody"

    async def play(given):
        async with controller(list_workers=lambda *_: web.Response(status=403)) as (client, _):
            base = client.url.removesuffix("/api")
        client = ControllerClient(*given(base))
        with suppress(ServerFault):
            await client.slots("os")
        with pytest.raises(ServerFault) as caught:
            await client.slots("os")
        await client.close()
        return client.url.removeprefix(base), str(caught.value)

    for given in (lambda base: (f"{base}/t/{token}",), lambda base: (f"{base}/t/{token}/api",)):
        path, text = ran(play(given))
        assert (path, token in text) == (f"/t/{token}/api", False)
    assert ControllerClient("http://h:1", token=token).url == f"http://h:1/t/{token}/api"
    assert ControllerClient("http://h:1/t/other/api", token=token).url == "http://h:1/t/other/api"


def test_grpc_is_refused():
    """AgentRL's gRPC is refused in one line."""
    with pytest.raises(ConfigError, match=r"^controller: found 'grpc://h:1': gRPC is not spoken here; accepted: http"):
        ControllerClient("grpc://h:1")


def test_a_client_follows_its_loop():
    """A client that is used in another event loop, after a fork say, has connections of that one."""

    async def play():
        async with played(list_workers={"os": {}}) as (address, _):
            client.url = address
            slots = await client.slots("os")
            await client.close()
            return slots

    client = ControllerClient("http://127.0.0.1:1")
    assert [ran(play()), ran(play())] == [TaskSlots(0, 0), TaskSlots(0, 0)]
