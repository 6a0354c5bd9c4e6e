"""Task servers of a launch: started for the first pair that needs one, shared by all, and gone with the launch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.launch.shared import END, ServerFiles, ServerSpec
from pytest_evalrun.agents.tasks.definitions import (
    TaskDefinition,
    counts_in,
    definition_of,
    definitions_in,
    write_definitions,
)
from pytest_evalrun.agents.wire.listing import with_token
from pytest_evalrun.children.output import end_of_output, last_lines
from pytest_evalrun.errors import PairError
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.processes import start_time
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_evalrun.suite.pairs import Pair

POLL_SECONDS = 0.02
# Interpreters that start beside many others on a busy machine take their time.
START_SECONDS = 60.0
# That a pair still waits for workers is said as often as this.
PATIENCE_SECONDS = 30.0
# So often a pair has it started before it gives up.
STARTS = 3
LOCK_POLL_SECONDS = 0.05
# Of the end of a session: what tasks have to give back, then what SIGKILL takes.
END_SECONDS, KILL_SECONDS = 20.0, 5.0
MAIN = "from pytest_evalrun.agents.launch.manager import main; main()"
# Started by a process that ends at once, the manager is no child of ours: it outlives us, and no pair's end ends it.
DETACH = """
import subprocess, sys
with open(sys.argv[1], "ab") as log:
    manager = subprocess.Popen(
        sys.argv[2:], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
print(manager.pid)
"""


@dataclass(frozen=True)
class _Served:
    """One task server: its files, for whom it is, and the tasks that can be had of it."""

    files: ServerFiles
    spec: ServerSpec
    tasks: Mapping[str, TaskDefinition]


class TaskServers:
    """The task servers of a launch, as one of its processes sees them.

    ``directory`` is private to the launch, and ``launcher`` the process with which all of it ends. ``say`` is told
    what is started, ``started`` the PIDs.
    """

    def __init__(
        self,
        directory: Path,
        *,
        launcher: int,
        say: Callable[[str], None],
        started: Callable[[int, str | None], object],
    ) -> None:
        self._directory = directory
        self._launcher = launcher
        self._say = say
        self._started = started
        self._known: dict[tuple[str, str], _Served] = {}

    def address(self, pair: Pair) -> str:
        """The URL of the controller of a pair's task, with its token, once every worker of the task is ready.

        Raises PairError where they cannot be had, with the end of what they wrote; ConfigError for a task that is not
        defined.
        """
        served = self._served(pair)
        task = pair.settings.task or pair.dataset.name
        definition_of(served.tasks, task, served.spec.source)
        files = served.files
        files.make()
        files.want(task)
        starts, say_at = 0, time.monotonic() + PATIENCE_SECONDS
        while not files.is_ending:
            if time.monotonic() >= say_at:
                say_at += PATIENCE_SECONDS
                self._say(f"task {task}: its workers are not ready yet; their logs are in {files.log(task).parent}")
            state = files.state()
            if not files.is_running:
                if starts == STARTS or (starts and state is not None and state.failure is not None):
                    raise PairError(f"task {task}: {state.failure if state and state.failure else _death_of(files)}")
                starts += self._start(served)
            elif state is not None and task in state.failures:
                raise PairError(f"task {task}: {state.failures[task]}")
            elif state is not None and task in state.ready and state.url is not None:
                return with_token(state.url, files.token())
            else:
                time.sleep(POLL_SECONDS)
        raise PairError(f"task {task}: its task server has ended with the session")

    def _served(self, pair: Pair) -> _Served:
        """What is to be started for a pair: the same for all that want the same."""
        tasks = pair.settings.tasks
        known = (pair.root, json.dumps(tasks, sort_keys=True, default=str))
        if known not in self._known:
            definitions, source = _definitions(tasks, Path(pair.root))
            own = start_time(self._launcher)
            if own is None:
                raise PairError(f"process {self._launcher}, which started this launch, is gone")
            directory = self._directory / hashlib.sha256(repr(known).encode()).hexdigest()[:16]
            spec = ServerSpec(pair.root, source, self._launcher, own)
            self._known[known] = _Served(ServerFiles(directory), spec, definitions)
        return self._known[known]

    def _start(self, served: _Served) -> bool:
        """Start the manager; False where another process of the launch did so at this moment."""
        files = served.files
        with FileLock(files.lock) as lock:
            is_ours = lock.take(wait=START_SECONDS, poll=LOCK_POLL_SECONDS)
            if not is_ours or files.is_running or files.is_ending:
                return False
            files.token()
            files.write_spec(served.spec)
            write_definitions(files.config, served.tasks.values())
            pid = _detached(files)
            self._started(pid, None)
            self._say(f"task server of {served.spec.source}: started, process {pid}; its logs are in {files.root}")
            wait_until(lambda: _has_begun(files, pid), START_SECONDS, POLL_SECONDS)
            return True


def _definitions(tasks: Mapping[str, Any] | str | None, root: Path) -> tuple[dict[str, TaskDefinition], str]:
    """The definitions of a suite's `tasks`, each with the number of its workers, and how their source is called."""
    from pytest_evalrun.agents.tasks.taskyaml import load_agentbench

    if tasks is None:
        raise PairError("found neither `controller:` nor `tasks:`; accepted: the URL of one, or tasks to start")
    if not isinstance(tasks, str):
        return definitions_in({"definition": tasks}, "tasks"), "tasks"
    values = load_agentbench(root / tasks)
    definitions, counts = definitions_in(values, tasks), counts_in(values, tasks)
    for name in counts.keys() & definitions.keys():
        entry = {**definitions[name].entry, "workers": counts[name] or 1}
        definitions[name] = TaskDefinition(name, entry, tasks)
    return definitions, tasks


def _detached(files: ServerFiles) -> int:
    """Start the manager; returns its PID. Its output goes to its log."""
    argv = [sys.executable, "-I", "-S", "-c", DETACH, str(files.output), sys.executable, "-P", "-c", MAIN]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [*argv, str(files.root)], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=START_SECONDS
        )
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise PairError(f"the manager of the task server cannot be started: {error}") from None


def _has_begun(files: ServerFiles, pid: int) -> bool:
    """Whether it has said how it stands, or has ended."""
    state = files.state()
    return (state is not None and state.pid == pid) or start_time(pid) is None


def _death_of(files: ServerFiles) -> str:
    try:
        lines = last_lines(files.output.read_bytes())
    except OSError:
        lines = ""
    return f"the manager of its task server ended {STARTS} times{end_of_output(lines)}"


def end_servers(directory: Path, seconds: float = END_SECONDS) -> bool:
    """End all task servers of a launch; True once nothing of them lives. No new one is started in the directory.

    It waits so many seconds for tasks to give back what they have, or up to Ctrl-C; after that everything is killed.
    """
    if not directory.is_dir():
        return True
    (directory / END).touch()
    servers = [ServerFiles(path) for path in directory.iterdir() if path.is_dir()]
    try:
        have_ended = wait_until(lambda: all(files.is_gone for files in servers), seconds, POLL_SECONDS)
    except KeyboardInterrupt:  # whoever is in such a hurry wants nothing left behind, either
        have_ended = False
    if not have_ended:
        for files in servers:
            _kill(files)
    return wait_until(lambda: all(files.is_gone for files in servers), KILL_SECONDS, POLL_SECONDS)


def _kill(files: ServerFiles) -> None:
    """Kill a manager, and wait for its supervisors to end the rest."""
    import psutil

    state = files.state()
    if state is None or files.is_gone:
        return
    with suppress(psutil.Error):  # it has just ended
        manager = psutil.Process(state.pid)
        family = [manager, *manager.children(recursive=True)]
        manager.kill()
        psutil.wait_procs(family, KILL_SECONDS)
