"""A program that serves a model behind an endpoint of its own: started, waited for, ended with all that it started."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.children.process import Child
from pytest_evalrun.errors import PairError
from pytest_evalrun.llm.settings import endpoint_of, served_environment
from pytest_evalrun.suite.secrets import expand
from pytest_evalrun.suite.template import as_text, fill, words_of
from pytest_evalrun.suite.waiting import pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_evalrun.children.faults import ModelDied
    from pytest_evalrun.suite.pairs import Pair

HOST = "127.0.0.1"
# A port that was free when it was chosen may be taken when the program gets to it.
PORTS = 3
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.02, 0.5
ANSWER_SECONDS = 5.0
# What a server has to end in order: it keeps nothing that we need.
GRACE_SECONDS = 2.0
LONGEST_LIST = 1 << 20
# How programs say that somebody else has their port.
TAKEN = re.compile(
    r"address (is )?(already )?in use|EADDRINUSE|\[Errno (48|98)\]|port is already allocated", re.IGNORECASE
)


class _PortTaken(Exception):  # noqa: N818 - what is the case
    """Somebody else listens on the port; the message says who, as far as that can be known."""


class Served:
    """The program of a pair's model; one for all pairs that are asked of it.

    ``gpus`` are the variables that show it the GPUs of its lease, whose locks are in ``hold``. ``output`` gets what it
    writes, ``started`` its PIDs, ``say`` its command. ``check`` raises what shall end the wait for it. Once it is
    loaded it is asked at ``base_url``, and ``model`` is the name by which it knows its only model, where it has one.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        gpus: Mapping[str, str],
        hold: Sequence[int],
        output: Callable[[bytes], None] | None,
        started: Callable[[int], None],
        check: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = f"the server of model {pair.task.model}"
        self.base_url = ""
        self.model: str | None = None
        self._pair = pair
        self._own = endpoint_of(pair.settings)
        self._env = {**os.environ, **expand(served_environment(pair.settings)), **gpus}
        self._hold = hold
        self._output = output
        self._started = started
        self._check = check
        self._say = say
        self._child: Child | None = None
        self._death: ModelDied | None = None
        # Whoever asks it hears of its end in the thread of the requests, others in theirs.
        self._lock = threading.Lock()

    @property
    def pids(self) -> tuple[int, ...]:
        """Supervisor and program; none while nothing runs."""
        return self._child.pids if self._child is not None else ()

    def load(self) -> None:
        """Start it and wait until it is ready; where that fails, nothing is left of it.

        Raises ModelDied where it ends before, PairError where it takes longer than `ready_timeout`, or where another
        process answers in its place.
        """
        self.kill()
        for tries in range(1, PORTS + 1):
            try:
                self._serve(free_port())
                return
            except _PortTaken as taken:
                self.kill()
                if tries == PORTS:
                    raise PairError(f"{self.name}: {taken}; {PORTS} ports were tried") from None
                self._say(f"{taken}; trying another port")
            except BaseException:
                self.kill()
                raise

    def died(self) -> ModelDied | None:
        """How it ended by itself; None while it runs, and for what was ended here."""
        with self._lock:
            if self._death is None and self._child is not None and self._child.poll() is not None:
                self._death = self._child.death()
            return self._death

    def close(self) -> None:
        """End it and all that it started; after :meth:`kill` that does nothing."""
        self.kill(GRACE_SECONDS)

    def kill(self, grace: float = 0.0) -> None:
        """Returns when nothing of it lives."""
        with self._lock:
            child, self._death = self._child, None
            if child is not None:
                child.end(grace)
                self._child = None

    def _serve(self, port: int) -> None:
        argv = command(self._pair, port)
        self._say(f"$ {shlex.join(argv)}")
        self._child = Child(
            argv,
            env=self._env,
            cwd=self._pair.root,
            output=self._output,
            started=self._started,
            stdin=False,
            stdout="output",
            hold=self._hold,
            name=self.name,
        )
        self._wait(self._child, port)
        self.base_url = f"http://{HOST}:{port}/v1"
        self.model = self._only_model(port)

    def _wait(self, child: Child, port: int) -> None:
        deadline = time.monotonic() + self._own.ready_timeout
        looks = pauses(FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS)
        while (missing := self._missing(child, port)) is not None:
            if (death := self.died()) is not None:
                if TAKEN.search(child.last_lines):
                    raise _PortTaken(f"port {port} was taken when the program got to it")
                raise death
            if time.monotonic() >= deadline:
                raise self._never_ready(child, port, missing)
            self._check()
            time.sleep(min(next(looks), max(0.0, deadline - time.monotonic())))

    def _missing(self, child: Child, port: int) -> str | None:
        """Say what it still lacks; None once it answers, and nobody else in its place."""
        status = self._ask(port, self._own.ready)[0]
        if status is None or not 200 <= status < 300:
            return "nothing answered" if status is None else f"it answered HTTP {status}"
        own = family(child.pids)
        listening = listeners(port, own)
        strangers = listening - own
        if strangers:
            raise _PortTaken(f"port {port} is answered by {_named(strangers)}, which it did not start")
        return None if listening else "what answers is no process that it started"

    def _never_ready(self, child: Child, port: int, missing: str) -> PairError:
        lines = f"; the end of its output:\n{child.last_lines}" if child.last_lines else "; it wrote no output"
        what = f"was not ready within {self._own.ready_timeout:g} s (`ready_timeout`)"
        url = f"http://{HOST}:{port}{self._own.ready}"
        return PairError(f"{self.name} {what}: GET {url}: {missing}{lines}", brief=f"{what}: {missing}")

    def _only_model(self, port: int) -> str | None:
        if self._own.model:
            return None
        from pytest_evalrun.suite.jsontext import parse_json

        status, text = self._ask(port, "/v1/models")
        try:
            models = parse_json(text)["data"] if status == 200 else []
            (name,) = {model["id"] for model in models}
        except (ValueError, LookupError, TypeError):
            return None
        return name if isinstance(name, str) else None

    def _ask(self, port: int, path: str) -> tuple[int | None, bytes]:
        """Its answer to a GET, never by a proxy; no status where there is none, or where it is no HTTP."""
        connection = HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", path, headers=self._headers())
            response = connection.getresponse()
            return response.status, response.read(LONGEST_LIST)
        except (OSError, HTTPException):
            return None, b""
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        key = expand(self._own.api_key)
        headers: dict[str, str] = expand(dict(self._own.headers))
        return headers | ({"Authorization": f"Bearer {key}"} if key else {})


def command(pair: Pair, port: int) -> list[str]:
    """Fill the words of `serve`; ``${SECRETS}`` in parameters are read here."""
    settings = pair.settings
    own, path = endpoint_of(settings), pair.task.path
    assert own.serve is not None, "asked of what is served"
    directory = Path(pair.task.directory) if path is None else Path(path) if Path(path).is_dir() else Path(path).parent
    name = own.model or pair.task.model
    values = {name: as_text(value) for name, value in expand(dict(settings.params)).items()}
    values |= {"port": str(port), "model": path or name, "model_dir": str(directory), "name": name}
    values |= {"gpus": str(settings.gpus), "python": sys.executable}
    return [fill(word, values) for word in words_of(own.serve)]


def free_port() -> int:
    """One that nobody on this machine listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def family(pids: Iterable[int]) -> set[int]:
    """Processes with all that they started and that lives; daemons too, where their supervisor adopts them."""
    import psutil

    found = set(pids)
    for pid in pids:
        try:
            found |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
        except psutil.Error:  # it has just ended
            continue
    return found


def listeners(port: int, own: set[int]) -> set[int | None]:
    """Who listens on a port; None is somebody whose processes this user may not look into."""
    import psutil

    try:
        sockets = psutil.net_connections("tcp")
        return {each.pid for each in sockets if _listens(each, port)}
    except psutil.AccessDenied:  # where the system shows only processes of one's own
        return {pid for pid in own if any(_listens(each, port) for each in _sockets_of(pid))}


def _sockets_of(pid: int) -> list[Any]:
    import psutil

    try:
        process = psutil.Process(pid)
        return list(process.net_connections("tcp") if hasattr(process, "net_connections") else process.connections())
    except psutil.Error:
        return []


def _listens(connection: Any, port: int) -> bool:
    return connection.status == "LISTEN" and bool(connection.laddr) and connection.laddr.port == port


def _named(pids: Iterable[int | None]) -> str:
    return " and ".join("a process of another user" if pid is None else f"process {pid}" for pid in pids)
