"""The commands of ``evalrun`` that serve tasks to agents: AgentBench's roles, with its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pytest_evalrun.cli.common import WORKDIR, JsonOption, WorkDirOption, find
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.screen import print_json, print_lines, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_evalrun.agents.seen import SeenSession, SeenWorker
    from pytest_evalrun.rundir.layout import RunPaths

CONTROLLER = "http://localhost:5000/api"
NAME_ONE = f"a server that no run started is shown by --controller {CONTROLLER}"
HostOption = Annotated[str, typer.Option("--host", help="Address to listen on; another than 127.0.0.1 needs a token")]
TokenOption = Annotated[
    str | None, typer.Option("--token-env", metavar="NAME", help="Environment variable that holds the token")
]
AnnounceOption = Annotated[Path | None, typer.Option("--announce", hidden=True)]
ParentOption = Annotated[int | None, typer.Option("--with-parent", hidden=True)]


def controller(
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on")] = 5000,
    host: HostOption = "127.0.0.1",
    token_env: TokenOption = None,
    lease: Annotated[float, typer.Option(help="Seconds that a session waits for its agent")] = 240.0,
    call_timeout: Annotated[float, typer.Option(help="Seconds that a worker may take for a call")] = 240.0,
    db: Annotated[Path | None, typer.Option(help="File of its sessions [default: beside the log]")] = None,
    log: Annotated[Path, typer.Option(help="Its log")] = Path("controller.log"),
    allow_worker: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Where workers may be besides their own address")
    ] = None,
    announce: AnnounceOption = None,
    with_parent: ParentOption = None,
) -> None:
    """Run the controller of a task server, which AgentBench's clients and workers may use."""
    from pytest_evalrun.agents.controller.app import ControllerOptions, serve_controller

    options = ControllerOptions(
        host, port, lease=lease, call_timeout=call_timeout, database=db or log.with_suffix(".db"), log=log,
        token_env=token_env, allowed=tuple(allow_worker or ()), announce=announce, parent=with_parent,
    )  # fmt: skip
    serve_controller(options)


def task_worker(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The task, as the configuration calls it")],
    config: Annotated[Path, typer.Option("--config", "-c", help="YAML file that defines the task")] = Path(
        "configs/tasks/task_assembly.yaml"
    ),
    controller: Annotated[str, typer.Option("--controller", "-C", help="URL of the controller")] = CONTROLLER,
    address: Annotated[str | None, typer.Option("--self", "-s", help="URL at which the controller reaches it")] = None,
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on")] = 5001,
    host: HostOption = "127.0.0.1",
    root: Annotated[Path, typer.Option(help="Directory of the task's code")] = Path(),
    indices: Annotated[bool, typer.Option("--indices", help="Only print the task's indices, as JSON")] = False,
    token_env: TokenOption = None,
    announce: AnnounceOption = None,
    with_parent: ParentOption = None,
    heartbeat: Annotated[float | None, typer.Option("--heartbeat", hidden=True)] = None,
) -> None:
    """Run a worker of one task, as AgentBench's task_worker does; usually `evalrun start` does it."""
    from pytest_evalrun.agents.worker.process import WorkerOptions, print_indices, serve_worker

    options = WorkerOptions(
        name, config, root, controller, address, host, port,
        token_env=token_env, announce=announce, parent=with_parent, heartbeat=heartbeat,
    )  # fmt: skip
    print_indices(options) if indices else serve_worker(options)


class TasksCommand(TyperCommand):
    """Its ``-s`` takes all words up to the next option, as AgentBench's does: ``-s os-std 2 dbbench-std 1 -a``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give each of these words a ``-s`` of its own."""
        spread: list[str] = []
        of_tasks = False
        for word in args:
            if word.startswith("-"):
                of_tasks = word in {"-s", "--start"}
                spread += [] if of_tasks else [word]
            else:
                spread += ["-s", word] if of_tasks else [word]
        return super().parse_args(ctx, spread)


def start(
    config: Annotated[Path, typer.Option("--config", help="AgentBench's start_task.yaml")] = Path(
        "configs/start_task.yaml"
    ),
    tasks: Annotated[
        list[str] | None,
        typer.Option("--start", "-s", metavar="NAME NUM...", help="Tasks, and how many workers of each"),
    ] = None,
    controller: Annotated[str | None, typer.Option("--controller", "-l", help="URL of the controller")] = None,
    auto_controller: Annotated[bool, typer.Option("--auto-controller", "-a", help="Start a controller, too")] = False,
    port: Annotated[int, typer.Option("--base-port", "-p", help="Port of the first worker")] = 5001,
    root: Annotated[Path, typer.Option(help="Directory of the tasks' code")] = Path(),
    lease: Annotated[float, typer.Option(help="With -a: seconds that a session waits for its agent")] = 240.0,
) -> None:
    """Start workers of tasks, and keep them running until Ctrl-C, as AgentBench's start_task does."""
    from pytest_evalrun.agents.launch.start import StartOptions, start_tasks

    start_tasks(StartOptions(config, tuple(tasks or ()), controller, auto_controller, port, root, lease))


def sessions(
    controller: Annotated[
        str | None, typer.Option("--controller", "-C", help="URL of a controller [default: that of the running run]")
    ] = None,
    cancel: Annotated[int | None, typer.Option(metavar="ID", help="Cancel this session")] = None,
    token_env: TokenOption = None,
    workdir: WorkDirOption = WORKDIR,
    json: JsonOption = False,
) -> None:
    """Show the workers and sessions of a task server: how long they last, and what they wait for."""
    import asyncio

    from pytest_evalrun.agents.seen import SESSIONS_HEADER, WORKERS_HEADER, cancel_at, controllers_of, seen
    from pytest_evalrun.agents.wire.guard import token_of

    token = token_of(token_env)
    run = None if controller else _latest(workdir)
    asked = controllers_of(run) if run is not None else {str(controller): {}}
    if not asked:
        raise ConfigError(f"{workdir}: no pair of the latest run asks a task server; {NAME_ONE}")
    if cancel is not None:
        asyncio.run(cancel_at(list(asked), cancel, token))
        print_lines([f"session {cancel}: cancelled"])
        return
    found = [asyncio.run(seen(url, token)) for url in asked]
    if run is not None:  # what pairs say is read last: it is said after the sessions began
        pairs = controllers_of(run)
        found = [one.of_pairs({**asked[url], **pairs.get(url, {})}) for url, one in zip(asked, found, strict=True)]
    if json:
        print_json([one.to_json() for one in found])
        return
    for one in found:
        print_lines([f"controller: {one.shown}"])
        _print_any(WORKERS_HEADER, one.workers, "no workers; `evalrun start` starts some")
        _print_any(SESSIONS_HEADER, one.sessions, "no sessions")


def _latest(workdir: Path) -> RunPaths:
    """The run that is looked at. Raises ConfigError, which speaks of servers that are no run's, too."""
    try:
        return find(workdir, "latest").paths
    except ConfigError as error:
        raise ConfigError(f"{error}; {NAME_ONE}") from None


def _print_any(header: Sequence[str], rows: Sequence[SeenWorker | SeenSession], nothing: str) -> None:
    """A table; where it would have no row, one line."""
    if rows:
        print_table(header, (row.cells() for row in rows))
    else:
        print_lines([nothing])
