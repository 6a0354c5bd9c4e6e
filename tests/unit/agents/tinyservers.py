"""A controller and workers of a few lines, as programs: they say that they are there, and no more."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class Controller(BaseHTTPRequestHandler):
    """Lists whoever has sent a heartbeat."""

    workers: ClassVar[dict[str, dict[str, Any]]] = {}

    def do_GET(self) -> None:
        tasks: dict[str, Any] = {}
        for number, (address, worker) in enumerate(self.workers.items()):
            task = tasks.setdefault(worker["name"], {"indices": worker["indices"], "workers": {}})
            seen = {"id": number, "address": address, "capacity": worker["concurrency"], "current": 0, "status": 0}
            task["workers"][str(number)] = seen | {"last_visit": worker["time"]}
        self._answer(tasks)

    def do_POST(self) -> None:
        worker = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.workers[worker["address"]] = worker | {"time": time.time()}
        self._answer(None)

    def _answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def worker(name: str, address: str, controller: str, mode: str) -> None:
    """Beat until the end; ``dies`` ends at once, ``silent`` never says a word."""
    print(f"hello from {name}", flush=True)
    if mode == "dies":
        sys.exit("no such data")
    threading.Thread(target=beat, args=(name, address, controller, mode), daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(address.split(":")[2].split("/")[0])), Controller).serve_forever()


def beat(name: str, address: str, controller: str, mode: str) -> None:
    body = json.dumps({"name": name, "address": address, "concurrency": 3, "indices": [0, 1]}).encode()
    while mode != "silent":
        request = urllib.request.Request(f"{controller}/receive_heartbeat", body, {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except OSError as error:
            print(error, flush=True)
        time.sleep(0.1)


if __name__ == "__main__":
    if sys.argv[1] == "controller":
        ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Controller).serve_forever()
    worker(*sys.argv[2:6])
