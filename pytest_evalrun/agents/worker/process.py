"""A worker of a task as a process: from its options to the task that it serves, and to its end."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_evalrun.agents.worker.taskmaking import HostedTask

# So long the task has to release what it has, and threads to end.
_RELEASE_SECONDS = 10.0
_THREADS_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerOptions:
    """Which task, from which file and directory; where its controller is, and where it listens itself.

    ``heartbeat`` is in seconds; None for AgentBench's 8.
    """

    name: str
    config: Path
    root: Path
    controller: str
    address: str | None
    host: str
    port: int
    token_env: str | None = None
    announce: Path | None = None
    parent: int | None = None
    heartbeat: float | None = None


def serve_worker(options: WorkerOptions) -> None:
    """Serve until it is told to end. Raises ConfigError in one line."""
    from pytest_evalrun.agents.wire.addresses import server_address
    from pytest_evalrun.agents.wire.guard import check_binding, token_of
    from pytest_evalrun.agents.worker.taskcalls import TaskCalls, WorkerPlaces
    from pytest_evalrun.agents.worker.taskmaking import load_task
    from pytest_evalrun.serving import bound_socket, serve

    token = token_of(options.token_env)
    check_binding(options.host, token)
    controller = server_address(options.controller, "--controller")
    if options.address is not None:
        server_address(options.address, "--self")
    announced = None if options.announce is None else options.announce.resolve()
    hosted = load_task(options.config, options.name, options.root.resolve())
    try:
        bound = bound_socket(options.host, options.port)
        places = WorkerPlaces.of(controller, options.address, options.host, bound.getsockname()[1], token)
        calls = TaskCalls(hosted, places, heartbeat=options.heartbeat, announced=announced)
        serve(calls.application(), bound, calls.listens, parent=options.parent)
    finally:
        _release(hosted)
    _end(at_once=calls.samples.left > 0)


def _end(*, at_once: bool) -> None:
    """End the process where threads are left, of samples that blocked or of their pools: they would hold it up."""
    import threading
    import time

    end = time.monotonic() + (0 if at_once else _THREADS_SECONDS)
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in others:
        thread.join(max(0, end - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def print_indices(options: WorkerOptions) -> None:
    """Write the indices of the task to stdout, as JSON, and nothing else: what the task prints goes to stderr."""
    from pytest_evalrun.agents.worker.taskmaking import load_task
    from pytest_evalrun.agents.worker.tasksessions import written

    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(2, 1)
    hosted = load_task(options.config, options.name, options.root.resolve())
    _release(hosted)
    sys.stdout.flush()
    with os.fdopen(out, "wb") as file:
        file.write(written(list(hosted.indices)) + b"\n")


def _release(hosted: HostedTask) -> None:
    """Let the task release what it has: an error there changes nothing any more, and is shown."""
    import traceback

    release = getattr(hosted.task, "release", None)
    if callable(release):
        try:
            hosted.host.call(release).result(_RELEASE_SECONDS)
        except Exception:  # noqa: BLE001 - the task's code may raise anything
            traceback.print_exc()
    hosted.host.close()
