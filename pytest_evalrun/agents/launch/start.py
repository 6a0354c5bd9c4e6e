"""Workers of tasks, and a controller, started and kept running: what AgentBench's start_task does, and sees through."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.launch.pool import TaskPool
from pytest_evalrun.agents.launch.ports import PortsFrom, is_free, owner_of
from pytest_evalrun.agents.tasks.commands import TaskHome, bridge_address
from pytest_evalrun.agents.tasks.definitions import (
    counts_in,
    counts_of,
    definition_of,
    definitions_in,
    write_definitions,
)
from pytest_evalrun.agents.wire.addresses import server_address
from pytest_evalrun.agents.wire.listing import (
    LOCALHOST,
    listed_workers,
    place_of,
    with_token,
    without_token,
)
from pytest_evalrun.children.faults import ChildError
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.printable import counted, one_line
from pytest_evalrun.suite.secrets import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from pytest_evalrun.agents.tasks.definitions import TaskDefinition


DEFAULT_CONTROLLER = "http://localhost:5000/api"
LOOK_SECONDS = 0.1
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class StartOptions:
    """What to start, as AgentBench's start_task takes it."""

    config: Path
    tasks: tuple[str, ...]
    controller: str | None
    auto_controller: bool
    base_port: int
    root: Path
    lease: float


def start_tasks(options: StartOptions) -> None:
    """Keep them running until Ctrl-C, SIGTERM or a closed terminal, and end all of them then.

    Raises ConfigError before anything is started, and ChildError where everything had to be given up.
    """
    root = options.root.resolve()
    values, source = _read(options, root)
    definitions, counts = definitions_in(values, source), counts_of(options.tasks) or counts_in(values, source)
    wanted = [(definition_of(definitions, name, source), count) for name, count in counts.items() if count]
    if not wanted and not options.auto_controller:
        raise ConfigError(f"{source}: found nothing to start; accepted: `start:` there, or -s NAME NUM")
    screen = StartScreen()
    tasks = [task for task, _ in wanted]
    found = _controller(options, values, source, tasks, screen)
    with _ending() as ending, tempfile.TemporaryDirectory(prefix="evalrun-start-") as directory:
        config = write_definitions(Path(directory, "tasks.yaml"), tasks)
        screen.rename(config, source)
        ports = PortsFrom(options.base_port, screen.say)
        home = TaskHome(root, config, found.url, found.token)
        pool = TaskPool(home, take_port=lambda _: ports.take(), say=screen.say, output=screen.output)
        try:
            for task, count in wanted:
                pool.add(task, count)
            if found.is_ours:
                log = Path("controller.log").absolute()
                database, containers = log.with_suffix(".db"), found.is_for_containers
                pool.start_controller(database, log, lease=options.lease, containers=containers)
            _keep(pool, ending, screen)
        finally:
            screen.say(f"ending {counted(len(pool.workers), 'worker')}{' and the controller' * bool(pool.controller)}")
            pool.end()


def _read(options: StartOptions, root: Path) -> tuple[dict[str, Any], str]:
    """The configuration, where there is one: with a path that is relative, from here or from the root."""
    from pytest_evalrun.agents.tasks.taskyaml import load_agentbench

    path = options.config if options.config.exists() else root / options.config
    if not path.exists():
        raise ConfigError(f"{options.config}: there is no such file, neither here nor below {root}; see --config")
    return load_agentbench(path), str(options.config)


@dataclass(frozen=True)
class _Controller:
    """Where the controller is, without its token; whether it is started here, and for workers in containers too."""

    url: str
    token: str | None
    is_ours: bool = False
    is_for_containers: bool = False


def _controller(
    options: StartOptions, values: Mapping[str, Any], source: str, tasks: Sequence[TaskDefinition], screen: StartScreen
) -> _Controller:
    """Find the controller, or a place for one where that is asked for. Raises ConfigError where neither can be."""
    url, token = without_token(_named(options, values, source))
    screen.hide(token)
    if listed_workers(with_token(url, token)) is not None:
        screen.say(f"controller: there is one at {url}")
        return _Controller(url, token)
    if not options.auto_controller:
        screen.say(f"controller: nobody answers at {url}; waiting for it (-a starts one)")
        return _Controller(url, token)
    host, port = place_of(url)
    if host != LOCALHOST:
        raise ConfigError(f"{url}: nobody answers there, and -a starts a controller on this machine only")
    if not is_free(port):
        raise ConfigError(f"port {port} is taken by {owner_of(port)}, which is no controller; name another one: -l URL")
    bridge = bridge_address(tasks)
    if bridge is None:
        return _Controller(url, token, is_ours=True)
    url, token = f"http://{bridge}:{port}/api", token or secrets.token_urlsafe(24)
    screen.say(f"controller: listens where containers reach it; clients use {with_token(url, token)}")
    screen.hide(token)
    return _Controller(url, token, is_ours=True, is_for_containers=True)


def _named(options: StartOptions, values: Mapping[str, Any], source: str) -> str:
    """The URL that was given, or that the file has: as ``controller``, or as AgentBench's documents call it."""
    if options.controller:
        return server_address(options.controller, "--controller")
    for key in ("controller", "controller_address"):
        if values.get(key) is not None:
            return server_address(values[key], f"{source}: {key}")
    return DEFAULT_CONTROLLER


def _keep(pool: TaskPool, ending: Ending, screen: StartScreen) -> None:
    """Look after all of them until told to end. Raises ChildError where nothing is left to look after."""
    began, is_told = time.monotonic(), False
    while ending.signal is None:
        pool.look()
        given_up = [kept for kept in pool.kept if kept.is_given_up]
        if pool.controller is not None and pool.controller.kept.failure is not None:
            raise ChildError(screen.shown(str(pool.controller.kept.failure)))
        if given_up and len(given_up) == len(pool.workers):
            raise ChildError(screen.shown(str(given_up[0].failure)))
        if not is_told and all(kept.is_ready or kept.is_given_up for kept in pool.kept):
            is_told = True
            ready = sum(worker.kept.is_ready for worker in pool.workers)
            workers = counted(len(pool.workers), "worker")
            screen.say(f"{ready} of {workers} ready after {time.monotonic() - began:.1f} s; Ctrl-C ends them")
        time.sleep(LOOK_SECONDS)


class Ending:
    """The signal that said to end; None while nobody has. A second one ends us at once, and supervisors the rest."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def take(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number


@contextmanager
def _ending() -> Iterator[Ending]:
    ending = Ending()
    before = {number: signal.signal(number, ending.take) for number in ENDS}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StartScreen:
    """What a person sees: a line each, of us and of each program by its name; secrets are blanked."""

    def __init__(self) -> None:
        self._secrets = NO_SECRETS
        self._names = ("", "")
        self._lock = Lock()

    def hide(self, token: str | None) -> None:
        """Blank a token from now on."""
        self._secrets = Secrets((token,)) if token else NO_SECRETS

    def rename(self, file: Path, source: str) -> None:
        """Speak of the user's own file where programs speak of the one that was made of it."""
        self._names = (str(file), source)

    def shown(self, text: str) -> str:
        """A text as it may be seen, of the user's own file."""
        text = self._secrets.blank(text)
        return text.replace(*self._names) if self._names[0] else text

    def say(self, line: str) -> None:
        """Write one line at once, also where stdout is no terminal."""
        with self._lock:
            sys.stdout.write(f"{one_line(self.shown(line))}\n")
            sys.stdout.flush()

    def output(self, name: str) -> NamedLines:
        """Take what a program writes, whose name stands before each line."""
        return NamedLines(f"{name} | ", self.say)


class NamedLines:
    """The lines of what comes in pieces; one that has no end yet waits for it, unless it is very long."""

    LONGEST = 4096

    def __init__(self, head: str, say: Callable[[str], None]) -> None:
        self._head = head
        self._say = say
        self._rest = b""

    def __call__(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > self.LONGEST:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._say(self._head + line.decode(errors="replace"))
