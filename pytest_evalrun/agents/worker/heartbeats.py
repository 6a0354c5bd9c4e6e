"""A worker tells its controller that it lives, from a thread of its own: nothing that a task does holds it up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_evalrun.agents.wire.addresses import shown_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# AgentBench's controller gives a worker up after 11 s without one.
HEARTBEAT_SECONDS = 8.0
# A controller that is started anew shall have its workers back soon.
AGAIN_SECONDS = 1.0
_CALL_SECONDS = 10.0
_LONGEST_ANSWER = 2_000


class Heartbeats:
    """One as soon as it is started, then one every ``interval`` seconds; sooner where one is not taken.

    ``say`` hears when that changes.
    """

    def __init__(self, controller: str, body: bytes, *, interval: float, say: Callable[[str], None]) -> None:
        self._controller = controller
        self._body = body
        self._interval = interval
        self._say = say
        self._end = threading.Event()
        self._refusal: str | None = ""
        self._thread = threading.Thread(target=self._beat, name="evalrun-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()

    def _beat(self) -> None:
        pause = 0.0
        while not self._end.wait(pause):
            refusal = called(f"{self._controller}/receive_heartbeat", self._body)
            if refusal != self._refusal:
                where = shown_address(self._controller)
                self._say(f"registered at {where}" if refusal is None else f"not registered at {where}: {refusal}")
            self._refusal = refusal
            pause = self._interval if refusal is None else min(AGAIN_SECONDS, self._interval)


def called(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> str | None:
    """POST a body of JSON; None where it was taken, or why it was not.

    Never by a proxy: what is called is a server of tasks, mostly of this machine.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, Request, build_opener

    try:
        request = Request(url, body, {"Content-Type": "application/json", **(headers or {})})  # noqa: S310 - http, checked
        with build_opener(ProxyHandler({})).open(request, timeout=_CALL_SECONDS):
            return None
    except HTTPError as error:
        with error:
            said = error.read(_LONGEST_ANSWER).decode(errors="replace")
        return f"HTTP {error.code}: {' '.join(said.split())}"
    except (OSError, HTTPException, ValueError) as error:
        return str(getattr(error, "reason", error))
