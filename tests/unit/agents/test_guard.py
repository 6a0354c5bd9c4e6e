"""The door of a controller: who may call it, what may come in, and where a worker may be."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket

import aiohttp
import psutil
import pytest
from aiohttp import web

from pytest_evalrun.adapters.eventloop import give_back_thread, take_thread
from pytest_evalrun.agents.notgranted import NotGranted
from pytest_evalrun.agents.wire.addresses import check_worker_address, server_address, shown_address
from pytest_evalrun.agents.wire.guard import ServedCall, check_binding, guarded_application, json_response, served_url
from pytest_evalrun.errors import ConfigError

TOKEN = "tell-nobody-0123456789"
MB = 1_000_000


async def _echo(request, body):
    return {"told": body}


async def _refuse(request, body):
    raise NotGranted(406, "Error: No workers available")


async def _break(request, body):
    raise ZeroDivisionError


async def _respond(request, body):
    return json_response(None, headers={"session_id": "3"})


CALLS = {
    "list_workers": ServedCall("GET", _echo),
    "cancel": ServedCall("POST", _echo),
    "start_sample": ServedCall("POST", _refuse),
    "sync_all": ServedCall("POST", _break),
    "interact": ServedCall("POST", _respond),
    "small": ServedCall("POST", _echo, largest=1 * MB),
}


@pytest.fixture(scope="module")
def asked():
    """Ask a guarded server, which has a token or none, or is open to others: status, headers and body of its answer."""
    thread, runners, ports = take_thread(), [], {}

    async def serve(server, token, host):
        guarded = guarded_application(CALLS, host=host, token=token, names=["board-7"])
        runner = web.AppRunner(guarded, access_log=None)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports[server] = runner.addresses[0][1]

    async def end():
        for runner in runners:
            await runner.cleanup()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def ask(method, path, server, request):
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{ports[server]}{path}", **request) as response,
        ):
            return response.status, response.headers, json.loads(await response.read())

    def asked(method, path, *, token=None, server=None, **request):
        return thread.submit(ask(method, path, server or token, request)).result(30)

    # What listens at all addresses is guarded as that; the test's own listens at one of them.
    for server, token, host in ((None, None, "127.0.0.1"), (TOKEN, TOKEN, "127.0.0.1"), ("open", TOKEN, "0.0.0.0")):
        thread.submit(serve(server, token, host)).result(30)
    yield asked
    thread.submit(end()).result(30)
    give_back_thread(thread)


PAGE = {"Origin": "http://evil.example"}
ALLOWED = {
    "GET": ("GET", "/api/list_workers", {}, None),
    "POST": ("POST", "/api/cancel", {"json": {"session_id": 1}}, {"session_id": 1}),
    "POST without a body": ("POST", "/api/cancel", {}, None),
    "a kind of JSON": ("POST", "/api/cancel", {"data": b"1", "headers": {"Content-Type": "a/b+json"}}, 1),
    "a body in pieces": ("POST", "/api/cancel", {"data": None, "pieces": True}, {"a": 1}),
    "localhost": ("GET", "/api/list_workers", {"headers": {"Host": "localhost:5000"}}, None),
    "by address": ("GET", "/api/list_workers", {"headers": {"Host": "[fe80::1]:5000"}}, None),
    "from a container": ("GET", "/api/list_workers", {"headers": {"Host": "host.docker.internal:5000"}}, None),
    "by its own name": ("GET", "/api/list_workers", {"headers": {"Host": socket.gethostname()}}, None),
    "its own page": (
        "GET", "/api/list_workers",
        {"headers": {"Host": "localhost:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"}}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ALLOWED)
def test_who_may_call(case, asked):
    """Whoever calls this server by a name of its own, with JSON or no body, is answered."""
    method, path, request, told = ALLOWED[case]
    if request.get("pieces"):

        async def pieces():
            yield b'{"a"'
            yield b": 1}"

        request = {"data": pieces(), "headers": {"Content-Type": "application/json"}}

    assert asked(method, path, **request)[::2] == (200, {"told": told})


LARGE = {size: io.BytesIO(b"1" * (size * MB + 1)) for size in (1, 17)}
JSON = {"Content-Type": "application/json"}
REFUSED = {
    "a page of another origin": ("POST", "/api/cancel", {"json": {}, "headers": PAGE}, 403, "evil.example"),
    "a page without an origin": ("POST", "/api/cancel", {"json": {}, "headers": {"Origin": "null"}}, 403, "'null'"),
    "an image of a page": (
        "GET", "/api/list_workers", {"headers": {"Sec-Fetch-Site": "cross-site"}}, 403, "pages of others",
    ),
    "a name of another": ("GET", "/api/list_workers", {"headers": {"Host": "evil.example:5000"}}, 421, "evil.example"),
    "half an address": ("GET", "/api/list_workers", {"headers": {"Host": "[::1"}}, 421, "Host"),
    "a form": ("POST", "/api/cancel", {"data": {"session_id": 1}}, 415, "accepted: application/json"),
    "a text": ("POST", "/api/cancel", {"data": "{}"}, 415, "text/plain"),
    "no JSON": ("POST", "/api/cancel", {"data": b"{", "headers": JSON}, 422, "no JSON"),
    "no text": ("POST", "/api/cancel", {"data": b"\xff", "headers": JSON}, 422, "no JSON"),
    "too deep": ("POST", "/api/cancel", {"data": b"[" * 500 + b"]" * 500, "headers": JSON}, 422, "nested too deeply"),
    "too large": ("POST", "/api/small", {"data": LARGE[1], "headers": JSON}, 413, "larger than 1 MB"),
    "too large by default": ("POST", "/api/cancel", {"data": LARGE[17], "headers": JSON}, 413, "than 16 MB"),
    "another call": ("GET", "/api/nothing", {}, 404, "Not Found"),
    "another prefix": ("GET", "/list_workers", {}, 404, "Not Found"),
    "another method": ("GET", "/api/cancel", {}, 405, "Method Not Allowed"),
    "what a handler refuses": ("POST", "/api/start_sample", {}, 406, "Error: No workers available"),
    "what a handler breaks": ("POST", "/api/sync_all", {}, 500, "Internal Server Error"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_who_may_not(case, asked):
    """What a page of somebody else's could send, what is no JSON or too much of it is refused, as FastAPI says it."""
    method, path, request, status, text = REFUSED[case]
    found = asked(method, path, **request)

    assert found[0] == status
    assert found[2].keys() == {"detail"}
    assert text in found[2]["detail"]


def test_a_body_without_a_length_is_cut_too(asked):
    """Of a body that does not say how long it is nothing more is read than it may have."""

    async def endless():
        for _ in range(40):
            yield b"1" * MB

    status, _, body = asked("POST", "/api/small", data=endless(), headers=JSON)

    assert (status, body["detail"]) == (413, "Error: the body is larger than 1 MB")


def test_a_response_of_a_handler(asked):
    """A handler may answer with headers of its own."""
    status, headers, body = asked("POST", "/api/interact")

    assert (status, headers["session_id"], body) == (200, "3", None)


@pytest.mark.parametrize(
    "path", ["/api/list_workers", "/t//api/list_workers", f"/t/{TOKEN[:-1]}/api/list_workers", f"/{TOKEN}/api", "/t"]
)
def test_a_wrong_token(path, asked):
    """Whoever does not know the token is refused, were the call there or not."""
    assert asked("GET", path, token=TOKEN)[0] == 403


def test_the_token(asked):
    """The token is a part of the path; with it other origins and names are still refused."""
    path = f"/t/{TOKEN}/api/list_workers"

    assert asked("GET", path, token=TOKEN)[0] == 200
    assert asked("GET", path, token=TOKEN, headers=PAGE)[0] == 403
    assert asked("GET", path, token=TOKEN, headers={"Host": "evil.example"})[0] == 421
    assert asked("GET", path, token=TOKEN, headers={"Host": "Board-7:1"})[0] == 200
    assert asked("GET", path)[0] == 404


def test_a_server_that_others_reach(asked):
    """Of a server that listens elsewhere than on loopback nobody knows all names: there the token is what counts."""
    path = f"/t/{TOKEN}/api/list_workers"

    assert asked("GET", path, server="open", headers={"Host": "board.example:5000"})[0] == 200
    assert asked("GET", path, server="open", headers={"Host": "[::1"})[0] == 421
    assert asked("GET", path, server="open", headers={"Host": "board.example", **PAGE})[0] == 403
    assert asked("GET", "/api/list_workers", server="open")[0] == 403


def test_the_token_is_in_no_log(caplog, asked):
    """Neither a call that is refused nor one that breaks leaves the token in a log."""
    caplog.set_level(logging.DEBUG)
    assert asked("POST", f"/t/{TOKEN}/api/sync_all", token=TOKEN)[0] == 500
    assert asked("POST", f"/t/{TOKEN}/api/nothing", token=TOKEN)[0] == 404

    assert "sync_all: an error of the server" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("host", "token", "names"),
    [
        pytest.param("0.0.0.0", None, "--host 0.0.0.0: others than this machine could call", id="everywhere"),
        pytest.param("", None, "others than this machine", id="everywhere, unsaid"),
        pytest.param("127.0.0.1", "short", "8 to 200 letters", id="a short token"),
        pytest.param("127.0.0.1", "with/a/slash", "8 to 200 letters", id="a token that no path holds"),
    ],
)
def test_off_loopback_a_token_is_needed(host, token, names):
    """Where others can reach it, a server is not started without a token; one that no path can hold is none."""
    with pytest.raises(ConfigError, match=names):
        guarded_application({}, host=host, token=token)


def test_where_a_server_is():
    """The URL of a server holds its token, and names this machine where it listens everywhere."""
    check_binding("0.0.0.0", TOKEN)

    assert served_url("0.0.0.0", 5000, TOKEN) == f"http://127.0.0.1:5000/t/{TOKEN}/api"
    assert served_url("::", 5000) == "http://[::1]:5000/api"
    assert served_url("board", 1) == "http://board:1/api"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://h:5000/api", "http://h:5000/api"),
        ("http://h:5000/api/", "http://h:5000/api"),
        ("http://h:5000", "http://h:5000/api"),
        ("https://h/t/abc", "https://h/t/abc/api"),
        ("http://h/proxy/api", "http://h/proxy/api"),
    ],
)
def test_addresses(address, url):
    """A URL is taken as it stands; without a path its calls are where both dialects have them."""
    assert server_address(address, "--controller") == url


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("grpc://h:5000", "gRPC is not spoken here"),
        ("h:5000", "accepted: http://HOST:PORT/api"),
        ("file:///etc/passwd", "accepted: http://HOST"),
        ("http://", "accepted: http://HOST"),
        ("http://h:port/api", "Port could not be cast"),
        ("http://h:99999/api", "Port out of range"),
        ("http://h:0/api", "accepted: http://HOST"),
        (5000, "found 5000; accepted: http://HOST"),
        ("http://h/api?x=1", "accepted: http://HOST"),
        ("http://user:pass@h/api", r"http://\*\*\*@h/api"),
        (f"ftp://h/t/{TOKEN}/api", r"'ftp://h/t/\*\*\*/api'"),
    ],
)
def test_what_is_no_address(address, names):
    """Of what is no URL of HTTP the setting is named in one line, without its token or password."""
    with pytest.raises(ConfigError, match=f"^--controller: .*{names}") as caught:
        server_address(address, "--controller")

    assert "\n" not in str(caught.value)


def test_an_address_for_people():
    """A token is not shown."""
    assert shown_address(f"http://h:1/t/{TOKEN}/api") == "http://h:1/t/***/api"


OWN = next(
    one.address
    for found in psutil.net_if_addrs().values()
    for one in found
    if one.family is socket.AF_INET and not one.address.startswith("127.")
)
BRIDGE = {"docker0": [("172.17.0.1", "255.255.0.0")], "br-1": [("172.18.0.1", "255.255.0.0")]}


@pytest.fixture
def bridges(monkeypatch):
    """This machine as one with containers."""

    class Found:
        def __init__(self, address, netmask):
            self.address, self.netmask = address, netmask

    interfaces = {name: [Found(*one) for one in found] for name, found in BRIDGE.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": [Found("127.0.0.1", "255.0.0.0")], **interfaces})


def check(address, caller, allowed=(), *, with_token=False):
    asyncio.run(check_worker_address(address, caller, allowed, with_token=with_token))


@pytest.mark.parametrize(
    ("address", "caller", "allowed"),
    [
        pytest.param("http://localhost:5001/api", "127.0.0.1", (), id="this machine"),
        pytest.param("http://127.0.0.1:5001/api", "::1", (), id="this machine, of another family"),
        pytest.param("http://10.1.2.3:5001/api", "10.1.2.3", (), id="its caller"),
        pytest.param("http://10.1.2.3:5001/api", "::ffff:10.1.2.3", (), id="its caller, mapped"),
        pytest.param(f"http://{OWN}:5001/api", "127.0.0.1", (), id="another address of this machine"),
        pytest.param("http://localhost:5001/api", OWN, (), id="called by another address of this machine"),
        pytest.param("http://board:5001/api", "10.9.9.9", ("board",), id="listed by name"),
        pytest.param("http://10.1.2.3:5001/api", "10.9.9.9", ("10.1.0.0/16",), id="listed as a network"),
    ],
)
def test_where_a_worker_may_be(address, caller, allowed):
    """A worker is where it calls from, anywhere on this machine if it is there, or where it is listed."""
    check(address, caller, allowed)


@pytest.mark.parametrize(
    ("address", "caller", "status", "names"),
    [
        pytest.param("http://10.1.2.3:5001/api", "127.0.0.1", 403, "--allow-worker 10.1.2.3", id="another host"),
        pytest.param("http://localhost:22/api", "10.1.2.3", 403, "calls from 10.1.2.3", id="this machine, from afar"),
        pytest.param("http://no-such-name.invalid/api", "127.0.0.1", 403, "no-such-name.invalid", id="nobody"),
        pytest.param("http://10.1.2.3/api", None, 403, "calls from None", id="no caller"),
        pytest.param("grpc://10.1.2.3:50051", "10.1.2.3", 422, "gRPC is not spoken here", id="gRPC"),
        pytest.param("file:///etc/passwd", "127.0.0.1", 422, "accepted: http://HOST", id="no URL"),
    ],
)
def test_where_a_worker_may_not_be(address, caller, status, names):
    """A heartbeat that names another host than its caller's is refused, with the remedy."""
    with pytest.raises(NotGranted) as caught:
        check(address, caller)

    assert (caught.value.status, names in caught.value.text) == (status, True)


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        pytest.param("http://localhost:5001/api", "172.17.0.5", id="a port that is published"),
        pytest.param("http://172.18.0.2:5001/api", "172.18.0.1", id="called through the bridge"),
    ],
)
def test_a_worker_in_a_container(address, caller, bridges):
    """With the token a worker may be in a container of this machine, whichever of its addresses it names."""
    check(address, caller, with_token=True)
    with pytest.raises(NotGranted):
        check(address, caller)
    with pytest.raises(NotGranted):
        check(address, "172.30.0.9", with_token=True)
