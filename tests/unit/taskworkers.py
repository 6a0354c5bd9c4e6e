"""Workers of tasks as real processes, and a controller that only listens to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVALRUN = (sys.executable, "-P", "-c", "from pytest_evalrun.cli import main; main()")
SECONDS = 60.0


def poll(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What the condition says once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.01)
    return found


class Listening:
    """A controller that takes every heartbeat, or refuses it with ``refusal``."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[tuple[float, str, dict[str, Any]]] = []
        self.refusal: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/api"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listening = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                listening.calls.append((time.monotonic(), self.path, body))
                refused = listening.refusal
                text = json.dumps(None if refused is None else {"detail": refused}).encode()
                self.send_response(200 if refused is None else 400)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        return Handler

    def of(self, call: str) -> list[dict[str, Any]]:
        return [body for _, path, body in self.calls if path.endswith(f"/{call}")]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class TaskWorker:
    """A worker that runs; ``url`` is where it says that it is."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
        self.process = process
        self.url = url
        self._log = log
        self._sessions = iter(range(1, 1_000_000))

    @property
    def log(self) -> str:
        return self._log.read_text()

    def call(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        status, payload, _ = self.call_fully(path, body, headers)
        return status, payload

    def call_fully(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
        try:
            told = {"Content-Type": "application/json", **(headers or {})}
            text = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", f"{parts.path}/{path}", text, told)
            response = connection.getresponse()
            return response.status, json.loads(response.read()), dict(response.getheaders())
        finally:
            connection.close()

    def start(self, index: int | str, session: int | None = None) -> tuple[int, Any, int]:
        """Begin a sample: the status, the answer, and the session's number."""
        number = next(self._sessions) if session is None else session
        return *self.call("start_sample", {"index": index, "session_id": number}), number

    def say(self, session: int, content: str, status: str = "normal") -> tuple[int, Any]:
        response = {"status": status, "content": content if status == "normal" else None}
        return self.call("interact", {"session_id": session, "agent_response": response})

    def cancel(self, session: int) -> tuple[int, Any]:
        return self.call("cancel", {"session_id": session})


@contextmanager
def running(directory: Path, name: str, *words: str, config: str = "tasks.yaml", **env: str) -> Iterator[TaskWorker]:
    """A worker of a task of ``directory/tasks.yaml``, for as long as it is needed."""
    where, log = directory / f"{name}.url", directory / f"{name}.log"
    where.unlink(missing_ok=True)
    told = ["--config", str(directory / config), "--root", str(directory), "--port", "0", "--announce", str(where)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*EVALRUN, "task-worker", name, *told, *words], stdout=file, stderr=file, env={**os.environ, **env}
        )
    try:
        poll(lambda: where.exists() or process.poll() is not None)
        if not where.exists():
            raise RuntimeError(log.read_text())
        yield TaskWorker(process, log, where.read_text())
    finally:
        process.terminate()
        process.wait(SECONDS)


def failed(directory: Path, name: str, *words: str) -> str:
    """What a worker says that cannot begin."""
    told = ["--config", str(directory / "tasks.yaml"), "--root", str(directory)]
    done = subprocess.run(
        [*EVALRUN, "task-worker", name, *told, *words], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode != 0, done.stdout
    return done.stderr.strip()
