"""Endpoints for tests, as real processes on a free port of this host: ours with its faults, and one that is not ours.

    with llm_server(**{"429": "every:3"}, retry_after="ms:50") as server:
        ...
        assert server.stats()["refused"] == {"429": 2}

What faults there are is said in ``evals/llm/server.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[1] / "evals" / "llm" / "server.py"
# Whatever proxy this host has, these are here.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Endpoint:
    """A server that runs. ``url`` is what a suite has as ``base_url``, ``root`` that without ``/v1``."""

    key = "any"

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.root = url.removesuffix("/v1")
        self.process = process

    def text(self, path: str) -> str:
        with OPENER.open(self.root + path, timeout=60) as reply:
            return reply.read().decode()

    def get(self, path: str) -> Any:
        return json.loads(self.text(path) or "null")

    def post(self, path: str, body: object) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(self.root + path, json.dumps(body).encode(), headers)
        with OPENER.open(request, timeout=60) as reply:
            return json.loads(reply.read() or "null")

    def chat(self, text: str, **more: object) -> Any:
        """Ask one thing, as a user's message."""
        messages = [{"role": "user", "content": text}]
        return self.post("/v1/chat/completions", {"model": "ngram", "temperature": 0, "messages": messages} | more)


class LlmServer(Endpoint):
    """Ours: what it was asked can be looked up, and what goes wrong be changed while it runs."""

    def stats(self) -> dict[str, Any]:
        return self.get("/stats")

    def requests(self) -> list[dict[str, Any]]:
        """The last thousand: ``at`` (a monotonic clock's seconds), ``status``, ``body``, ``headers``, ``digest``."""
        return self.get("/requests")

    def faults(self, **faults: object) -> dict[str, Any]:
        """Switch some on, and with None off."""
        return self.post("/faults", faults)

    def reset(self) -> None:
        """Counters start anew; faults stay."""
        self.post("/reset", {})


@contextmanager
def llm_server(*options: str, **faults: object) -> Iterator[LlmServer]:
    """``options`` are words of its command line: ``"--api-key", "k"``."""
    words = [word for what, when in faults.items() for word in ("--fault", f"{what}={when}")]
    argv = [sys.executable, str(PROGRAM), "--port", "0", *options, *words]
    with tempfile.TemporaryFile("w+") as errors, _ended(_started(argv, errors)) as process:
        url = process.stdout.readline().strip()
        if not url:
            errors.seek(0)
            raise RuntimeError(f"the server did not start: {errors.read()}")
        yield LlmServer(url, process)


@contextmanager
def katan_server(*options: str, model: str = "echo") -> Iterator[Endpoint]:
    """llm-katan, which answers any key, and with what it was asked; ``options`` as ``"--error-rate", "0.2"``."""
    from sshd import free_port

    port = free_port()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile("w+") as errors:
        # It listens on every address unless told otherwise, and keeps its statistics in the home directory.
        argv = [str(Path(sys.executable).with_name("llm-katan")), "--model", model, "--backend", "echo"]
        argv += ["--host", "127.0.0.1", "--port", str(port), "--stats-file", f"{place}/stats.json"]
        argv += ["--disable-dashboard", "--log-level", "WARNING", *options]
        with _ended(_started(argv, errors)) as process:
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", process)
            _answers(endpoint, errors)
            yield endpoint


def _started(argv: list[str], errors) -> subprocess.Popen[str]:
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _answers(endpoint: Endpoint, errors) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and endpoint.process.poll() is None:
        try:
            return endpoint.get("/health")
        except OSError:
            time.sleep(0.02)
    errors.seek(0)
    raise RuntimeError(f"the server did not start: {errors.read()}")
