"""What lies between us and an endpoint: certificates and proxies."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificates import certificate_of

from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.client import Client
from pytest_evalrun.llm.settings import EndpointSettings
from pytest_evalrun.llm.wire import request_body

ANSWER = {"model": "m", "choices": [{"message": {"content": "blue"}, "finish_reason": "stop"}]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers)))
        body = json.dumps(ANSWER).encode()
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        self.send_error(self.server.status)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A handshake that fails is what some tests want."""


@contextmanager
def serving(certificate=None):
    """A server that says blue; ``asked`` has the path and the headers of each request."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked, server.status = [], 200
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def ask(tmp_path):
    clients = []

    def ask(base_url, **words):
        endpoint = EndpointSettings(model="m", **words)
        clients.append(Client(endpoint, base_url, None, str(tmp_path)))
        return clients[-1].ask(request_body(endpoint, [])).result(60).text

    yield ask
    for client in clients:
        client.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_certificate_that_nobody_knows_is_refused(tmp_path, ask):
    """Without a word of the suite no such endpoint is asked, and the word is named."""
    with serving(certificate_of(tmp_path / "own.pem", "127.0.0.1")) as server:
        with pytest.raises(PairError, match="accepted: `verify: FILE`"):
            ask(f"https://127.0.0.1:{server.server_port}/v1")
        assert server.asked == []


def test_a_certificate_that_the_suite_trusts(tmp_path, ask):
    """`verify` names who is trusted, relative to the suite."""
    with serving(certificate_of(tmp_path / "own.pem", "127.0.0.1")) as server:
        assert ask(f"https://127.0.0.1:{server.server_port}/v1", verify="own.pem") == "blue"


def test_a_certificate_of_somebody_else_is_refused(tmp_path, ask):
    """Whom the suite trusts must be who is asked, too."""
    with serving(certificate_of(tmp_path / "own.pem", "elsewhere.example")) as server:
        with pytest.raises(PairError, match=r"127\.0\.0\.1"):
            ask(f"https://127.0.0.1:{server.server_port}/v1", verify="own.pem")
        assert server.asked == []


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["no file", "another file"])
def test_certificates_that_cannot_be_read(content, tmp_path, ask):
    """A file that is not there, or holds none, is named before anything is asked."""
    if content is not None:
        (tmp_path / "own.pem").write_text(content)
    with pytest.raises(PairError, match=r"verify: .*own\.pem: .*accepted: a PEM file"):
        ask("https://127.0.0.1:1/v1", verify="own.pem")


def test_a_proxy_of_the_suite(ask):
    """Requests pass the proxy that the suite names, with its password."""
    with serving() as proxy:
        assert ask("http://endpoint.invalid/v1", proxy=f"http://me:secret@127.0.0.1:{proxy.server_port}") == "blue"
        ((path, headers),) = proxy.asked
    assert path == "http://endpoint.invalid/v1/chat/completions"
    assert headers["Proxy-Authorization"].startswith("Basic ")


def test_a_proxy_of_the_environment(ask, monkeypatch):
    """What the environment says of proxies holds, its exceptions too."""
    with serving() as proxy, serving() as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert ask("http://endpoint.invalid/v1") == "blue"
        assert ask(f"http://127.0.0.1:{server.server_port}/v1") == "blue"
        assert [path for path, _ in proxy.asked] == ["http://endpoint.invalid/v1/chat/completions"]
        assert [path for path, _ in server.asked] == ["/v1/chat/completions"]


def test_an_endpoint_that_sends_elsewhere(ask):
    """Nobody follows: the key is for the endpoint that the suite names, and where it is is told."""
    with serving() as server:
        server.status = 307
        with pytest.raises(PairError, match=r"HTTP 307.*it sends elsewhere \(/elsewhere\); accepted: that `base_url`"):
            ask(f"http://127.0.0.1:{server.server_port}/v1")
        assert len(server.asked) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password(scheme, ask):
    """What the proxy wants is said by its word of the suite, and nothing is asked in vain."""
    with serving() as proxy:
        proxy.status = 407
        with pytest.raises(PairError, match="accepted: `proxy: http://NAME:PASSWORD@HOST`"):
            ask(f"{scheme}://endpoint.invalid/v1", proxy=f"http://127.0.0.1:{proxy.server_port}")


def test_what_is_not_installed_is_named(monkeypatch, ask):
    """Without the client's library nothing is asked, and what brings it is said."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(PairError, match=r'pip install "pytest-evalrun\[llm\]"'):
        ask("http://127.0.0.1:1/v1")
