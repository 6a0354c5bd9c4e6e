"""What a controller says of its workers, asked by whoever starts them, and the URLs of task servers taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pytest_evalrun.agents.statuses import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_SECONDS = 3.0
LONGEST_LIST = 64 << 20
LOCALHOST = "localhost"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_TOKEN = re.compile(r"^(.*)/t/([^/]+)(/.*)?$")


@dataclass(frozen=True)
class ListedWorker:
    """A worker as the controller lists it: where it is, how much it takes and has, and when it was last heard of."""

    task: str
    place: tuple[str, int]
    is_alive: bool
    capacity: int
    current: int
    visit: Any
    indices: int


def listed_workers(controller: str) -> list[ListedWorker] | None:
    """All workers that a controller has, by its ``/list_workers``; None where no controller answers."""
    from pytest_evalrun.suite.jsontext import parse_json

    text = _get(f"{controller}/list_workers")
    try:
        tasks = None if text is None else parse_json(text)
    except ValueError:
        return None
    return list(_workers_in(tasks)) if isinstance(tasks, dict) else None


def _workers_in(tasks: dict[str, Any]) -> Iterator[ListedWorker]:
    """What is no worker, by whatever dialect, is passed over."""
    for name, task in tasks.items():
        workers = task.get("workers") if isinstance(task, dict) else None
        entries = workers.values() if isinstance(workers, dict) else workers if isinstance(workers, list) else ()
        indices = task.get("indices") if isinstance(task, dict) else None
        for worker in entries:
            try:
                place = place_of(worker["address"])
                alive = worker.get("status") in {WorkerStatus.ALIVE, "ALIVE", "alive"}
                capacity, current = int(worker.get("capacity", 0)), int(worker.get("current", 0))
            except (TypeError, KeyError, ValueError, AttributeError):
                continue
            count = len(indices) if isinstance(indices, list) else 0
            yield ListedWorker(name, place, alive, capacity, current, worker.get("last_visit"), count)


def _get(url: str) -> bytes | None:
    """The body of a good answer; never by a proxy: what is asked is a server of tasks, mostly of this machine."""
    from http.client import HTTPException
    from urllib.request import ProxyHandler, build_opener

    try:
        with build_opener(ProxyHandler({})).open(url, timeout=ANSWER_SECONDS) as response:
            return bytes(response.read(LONGEST_LIST))
    except (OSError, HTTPException, ValueError):
        return None


def place_of(url: str) -> tuple[str, int]:
    """Host and port of a URL; all names of this machine are one. Raises ValueError."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (LOCALHOST if host in LOCAL else host), port


def without_token(url: str) -> tuple[str, str | None]:
    """A controller's URL without the token in its path, and that token: arguments of programs are seen by everybody."""
    found = _TOKEN.match(url)
    return (url, None) if found is None else (f"{found[1]}{found[3] or '/api'}", found[2])


def with_token(url: str, token: str | None) -> str:
    """``http://HOST:PORT/t/TOKEN/api``; the URL itself where there is no token."""
    if not token:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/t/{token}{parts.path}", "", ""))
