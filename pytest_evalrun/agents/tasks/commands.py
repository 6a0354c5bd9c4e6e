"""The commands by which controllers and workers are started: lists of arguments, with no secret in them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pytest_evalrun.agents.wire.listing import LOCALHOST, place_of, with_token
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.llm.served import HOST
from pytest_evalrun.suite.problems import found
from pytest_evalrun.suite.template import fill, names_in, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pytest_evalrun.agents.tasks.definitions import TaskDefinition

# The command evalrun of this very Python; -P: nothing that lies in the working directory takes a module's place.
EVALRUN = (sys.executable, "-P", "-c", "from pytest_evalrun.cli import main; main()")
TOKEN_ENV = "EVALRUN_TASK_TOKEN"  # noqa: S105 - its name
CONTROLLER_ENV = "EVALRUN_TASK_CONTROLLER"
WORDS = ("name", "port", "address", "controller", "config", "root", "python")
DOCKER_SECONDS = 10.0
IN_DOCKER = "host.docker.internal"
# Where AgentBench's images expect the project.
WORKSPACE = "/root/workspace"


@dataclass(frozen=True)
class ServerCommand:
    """A command, the variables that it is given besides, and where the controller finds what it starts.

    ``cleanup`` is a command that takes away what may be left where it was killed.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    address: str
    cleanup: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class TaskHome:
    """What all workers of a pool have in common: the directory of their code, the file that defines their tasks, the
    controller's URL without its token, and the token.
    """

    root: Path
    config: Path
    controller: str
    token: str | None = None

    @property
    def env(self) -> dict[str, str]:
        given = {CONTROLLER_ENV: with_token(self.controller, self.token), "PYTHONUNBUFFERED": "1"}
        return given | ({TOKEN_ENV: self.token} if self.token else {})


def controller_command(
    url: str, database: Path, log: Path, token: str | None, *, lease: float, containers: bool
) -> list[str]:
    """Our own controller at a URL of this machine; its token is in ``TOKEN_ENV``, its ``lease`` in seconds.

    Workers in ``containers`` call from addresses of their own, and are called at this machine.
    """
    host, port = place_of(url)
    argv = [*EVALRUN, "controller", "--port", str(port), "--db", str(database), "--log", str(log)]
    argv += ["--host", HOST if host == LOCALHOST else host, "--lease", f"{lease:g}"]
    argv += ["--allow-worker", LOCALHOST] if containers else []
    return [*argv, "--token-env", TOKEN_ENV] if token else argv


def bridge_address(tasks: Iterable[TaskDefinition]) -> str | None:
    """The address of this machine at which its containers reach it, where that is not loopback.

    None without tasks in docker; and of Docker Desktop, which hands on what containers send to loopback.
    """
    if not any(task.image for task in tasks) or shutil.which("docker") is None:
        return None
    asked = ["docker", "network", "inspect", "bridge", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{end}}"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=DOCKER_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return next((address for address in told.stdout.split() if _is_ours(address)), None)


def _is_ours(address: str) -> bool:
    try:
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def worker_command(task: TaskDefinition, home: TaskHome, port: int) -> ServerCommand:
    """One worker of a task: in docker where its definition names an image, by ``command`` where it has one, or ours.

    Raises ConfigError.
    """
    if task.image is not None:
        return _in_docker(task, task.image, home, port)
    address = f"http://{HOST}:{port}/api"
    if task.entry.get("command") is not None:
        return ServerCommand(_own_command(task, home, port, address), home.env, address)
    argv = [*EVALRUN, "task-worker", "--config", str(home.config), "--root", str(home.root), "--port", str(port)]
    argv += ["--self", address, "--controller", home.controller]
    argv += ["--token-env", TOKEN_ENV] if home.token else []
    return ServerCommand((*argv, "--", task.name), home.env, address)


def _own_command(task: TaskDefinition, home: TaskHome, port: int, address: str) -> tuple[str, ...]:
    """The user's own words for a worker, as those of ``serve`` of a model."""
    command: Any = task.entry["command"]
    where = f"{task.place}.command"
    if not isinstance(command, str) and not (isinstance(command, list) and all(isinstance(w, str) for w in command)):
        raise ConfigError(f"{where}: {found(command)}; accepted: a command, or the list of its words")
    values = {"name": task.name, "port": str(port), "address": address, "python": sys.executable}
    values |= {"config": str(home.config), "root": str(home.root), "controller": home.env[CONTROLLER_ENV]}
    try:
        words = words_of(command)
        unknown = [name for word in words for name in names_in(word) if name not in values]
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if unknown or not words:
        known = ", ".join(f"{{{name}}}" for name in WORDS)
        raise ConfigError(f"{where}: found {{{unknown[0]}}}; accepted: {known}" if words else f"{where}: it is empty")
    return tuple(fill(word, values) for word in words)


def _in_docker(task: TaskDefinition, image: str, home: TaskHome, port: int) -> ServerCommand:
    """AgentBench's own worker in its image, with the project mounted, as AgentBench starts it.

    What comes from names are words of their own, never a part of the script; the controller's URL is a variable.
    """
    if shutil.which("docker") is None:
        raise ConfigError(
            f"{task.place}: its workers run in docker (image {image}), and there is no program `docker` on the PATH; "
            "install it, or take `docker.image` away where the task's code runs here"
        )
    before = (task.entry.get("docker") or {}).get("command", "")
    if not isinstance(before, str):
        raise ConfigError(f"{task.place}.docker.command: {found(before)}; accepted: text for a shell in the container")
    name = f"evalrun-{os.getpid()}-{port}"
    inside = _seen_from_inside(home.controller)
    env = {**home.env, CONTROLLER_ENV: with_token(inside, home.token)}
    address = f"http://localhost:{port}/api"
    argv = ["docker", "run", "--rm", "--name", name, "-p", f"{HOST}:{port}:{port}"]
    argv += ["--add-host", f"{IN_DOCKER}:host-gateway", "-v", f"{home.root}:{WORKSPACE}", "-w", WORKSPACE]
    argv += ["-e", CONTROLLER_ENV, image, "bash", "-c", _script(before), "bash", task.name]
    argv += ["--self", address, "--port", str(port)]
    return ServerCommand(tuple(argv), env, address, ("docker", "rm", "-f", name))


def _script(before: str) -> str:
    return f'{before} python -m src.server.task_worker "$@" --controller "${CONTROLLER_ENV}"'.strip()


def _seen_from_inside(url: str) -> str:
    """A URL of this machine as a container reaches it."""
    host, port = place_of(url)
    return urlunsplit(urlsplit(url)._replace(netloc=f"{IN_DOCKER}:{port}")) if host == LOCALHOST else url
