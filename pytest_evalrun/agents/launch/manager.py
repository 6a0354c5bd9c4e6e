"""The process that keeps the task server of a launch running, whichever of its workers asked for it first.

It is nobody's child: workers of the launch come and go. It ends, with all that it started, when the launching process
is gone, when the session says so, and by SIGTERM; were it killed, supervisors would see to the rest.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalrun.agents.launch.pool import CONTROLLER, TaskPool
from pytest_evalrun.agents.launch.ports import is_free
from pytest_evalrun.agents.launch.shared import ServerFiles, ServerState
from pytest_evalrun.agents.tasks.commands import TaskHome, bridge_address
from pytest_evalrun.agents.tasks.definitions import read_definitions
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.llm.served import HOST, free_port
from pytest_evalrun.rundir.locks import FileLock
from pytest_evalrun.rundir.processes import start_time
from pytest_evalrun.suite.printable import one_line
from pytest_evalrun.suite.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from pytest_evalrun.children.faults import ChildError

LOOK_SECONDS = 0.05
# What a client that was killed had under way is free again so soon; ours renew theirs much more often.
LEASE_SECONDS = 60.0
# Others ask for the lock by sharing it for a moment.
LOCK_SECONDS = 5.0


class Manager:
    """Looks after the pool of a directory until told to end."""

    def __init__(self, files: ServerFiles) -> None:
        self._files = files
        self._spec = files.spec()
        before = files.state()
        self._ports = {} if before is None else before.ports
        self._state = ServerState(os.getpid(), start_time(os.getpid()), dict(self._ports))
        files.write_state(self._state)
        self._tasks = read_definitions(files.config, self._spec.source)
        self._secrets = Secrets((files.token(),))
        bridge = bridge_address(self._tasks.values())
        url = f"http://{bridge or HOST}:{self._port(CONTROLLER)}/api"
        home = TaskHome(Path(self._spec.root), files.config, url, files.token())
        self._pool = TaskPool(home, take_port=self._port, say=say, output=self._output, strict=True)
        log = files.log("controller-own")
        self._pool.start_controller(files.database, log, lease=LEASE_SECONDS, containers=bridge is not None)
        self._added: set[str] = set()
        self.told = False

    def take(self, _number: int, _frame: FrameType | None) -> None:
        """A signal told to end."""
        self.told = True

    def run(self) -> None:
        """Look after all until that is over; then nothing of it lives."""
        try:
            while not self.told and not self._files.is_ending and self._is_launcher_there():
                self._add_wanted()
                self._pool.look()
                self._tell()
                if self._state.failure is not None:
                    break
                time.sleep(LOOK_SECONDS)
        finally:
            self._pool.end()

    def _port(self, name: str) -> int:
        """The port of a program by its name: the one that it had, where nobody else has it now."""
        if name not in self._ports or not is_free(self._ports[name]):
            self._ports[name] = free_port()
        return self._ports[name]

    def _is_launcher_there(self) -> bool:
        return start_time(self._spec.launcher) == self._spec.start_time

    def _add_wanted(self) -> None:
        for name in sorted(self._files.wanted() - self._added):
            self._added.add(name)
            try:
                self._pool.add(self._tasks[name], self._tasks[name].workers)
            except ConfigError as error:
                self._state.failures[name] = str(error)
                self._files.write_state(self._state)

    def _tell(self) -> None:
        """Write down how all stand, where that has changed."""
        state = ServerState(self._state.pid, self._state.start_time, dict(self._ports))
        state.failures = dict(self._state.failures)
        controller = self._pool.controller
        if controller is not None and controller.kept.failure is not None:
            state.failure = self._told(controller.kept.failure)
        state.url = self._pool.home.controller if self._pool.answered else None
        for name in sorted(self._added - state.failures.keys()):
            workers = self._pool.of_task(name)
            failures = [worker.failure for worker in workers if worker.failure is not None]
            was_ready = name in self._state.ready
            if failures and (not was_ready or len(failures) == len(workers)):
                state.failures[name] = self._told(failures[0])
            elif was_ready or all(worker.is_ready for worker in workers):
                state.ready.append(name)
        if state != self._state:
            self._state = state
            self._files.write_state(state)

    def _told(self, failure: ChildError) -> str:
        """A failure with no token in it, that speaks of the user's file and not of what was made of it."""
        return self._secrets.blank(str(failure)).replace(str(self._files.config), self._spec.source)

    def _output(self, name: str) -> Callable[[bytes], None]:
        path = self._files.log(name)

        def write(chunk: bytes) -> None:
            with path.open("ab") as file:
                file.write(chunk)

        return write


def say(line: str) -> None:
    """A line of the manager's own log."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {one_line(line)}\n")
    sys.stdout.flush()


def main() -> None:
    """Be the manager of the directory that the first argument names, unless there is one."""
    files = ServerFiles(Path(sys.argv[1]))
    with FileLock(files.running) as running:
        if not running.take(wait=LOCK_SECONDS):
            return
        manager = Manager(files)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, manager.take)
        manager.run()
