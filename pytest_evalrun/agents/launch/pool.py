"""The controller and the workers of a task server, kept running: who is ready is what the controller lists."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_evalrun.agents.launch.kept import Kept
from pytest_evalrun.agents.launch.ports import is_free
from pytest_evalrun.agents.tasks.commands import TOKEN_ENV, ServerCommand, controller_command, worker_command
from pytest_evalrun.agents.wire.listing import ListedWorker, listed_workers, place_of, with_token
from pytest_evalrun.children.process import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.agents.tasks.commands import TaskHome
    from pytest_evalrun.agents.tasks.definitions import TaskDefinition

CONTROLLER = "controller"
LISTING_SECONDS = 0.2
CONTROLLER_GRACE_SECONDS = 5.0
# A task gives back what it has: containers, databases.
WORKER_GRACE_SECONDS = 10.0


class KeptController:
    """Our own controller on one port, with one database: what it knows outlives it."""

    def __init__(
        self,
        home: TaskHome,
        database: Path,
        log: Path,
        *,
        say: Callable[[str], None],
        output: Callable[[bytes], None] | None,
        lease: float,
        containers: bool,
    ) -> None:
        self._home = home
        self._files = database, log
        self._lease = lease
        self._containers = containers
        self._output = output
        self.kept = Kept(CONTROLLER, self._start, say=say, strict=True, grace=CONTROLLER_GRACE_SECONDS)

    def _start(self) -> Child:
        home = self._home
        argv = controller_command(
            home.controller, *self._files, home.token, lease=self._lease, containers=self._containers
        )
        env = {TOKEN_ENV: home.token} if home.token else {}
        return child_of(argv, env, self._home.root, self._output, "the controller")


class KeptWorker:
    """One worker of a task, on a port of its own; on another one where that was taken meanwhile."""

    def __init__(
        self,
        task: TaskDefinition,
        home: TaskHome,
        take_port: Callable[[], int],
        *,
        say: Callable[[str], None],
        output: Callable[[bytes], None] | None,
        strict: bool,
    ) -> None:
        self.task = task
        self._home = home
        self._take_port = take_port
        self._output = output
        self._port = take_port()
        self._command: ServerCommand | None = None
        self._visit: Any = None
        name = f"{task.name} (port {self._port})"
        self.kept = Kept(name, self._start, say=say, strict=strict, grace=WORKER_GRACE_SECONDS)

    def is_listed_as(self, listed: ListedWorker) -> bool:
        """Whether that is this worker, and was heard of since it was started."""
        assert self._command is not None, "asked of what was started"
        same = listed.task == self.task.name and listed.place == place_of(self._command.address)
        return same and listed.is_alive and listed.visit != self._visit

    def forget(self, listing: Sequence[ListedWorker]) -> None:
        """Before a start: what the controller has heard of the one before says nothing of the next."""
        place = None if self._command is None else place_of(self._command.address)
        self._visit = next((each.visit for each in listing if each.place == place), None)

    def end(self, grace: float | None = None) -> None:
        """Return when nothing of it lives, a container neither."""
        self.kept.end(grace)
        self._clean_up()

    def _start(self) -> Child:
        self._clean_up()
        if not is_free(self._port):
            self._port = self._take_port()
            self.kept.name = f"{self.task.name} (port {self._port})"
        self._command = command = worker_command(self.task, self._home, self._port)
        return child_of(command.argv, command.env, self._home.root, self._output, f"a worker of task {self.task.name}")

    def _clean_up(self) -> None:
        """A client of docker that was killed leaves its container behind."""
        if self._command is not None and self._command.cleanup:
            with child_of(self._command.cleanup, {}, self._home.root, None, "docker") as child:
                child.wait(WORKER_GRACE_SECONDS)


class TaskPool:
    """Workers of tasks, and our own controller where one is to be started; looked after by :meth:`look`.

    ``take_port`` gives each worker, by its name, a port; ``output`` gives each program who gets what it writes;
    ``strict`` is that of :class:`Kept`.
    """

    def __init__(
        self,
        home: TaskHome,
        *,
        take_port: Callable[[str], int],
        say: Callable[[str], None],
        output: Callable[[str], Callable[[bytes], None] | None],
        strict: bool = False,
    ) -> None:
        self.home = home
        self.controller: KeptController | None = None
        self.workers: list[KeptWorker] = []
        self.answered = False
        self._say = say
        self._take_port = take_port
        self._output = output
        self._strict = strict
        self._next_listing = 0.0
        self._listing: list[ListedWorker] = []

    def start_controller(self, database: Path, log: Path, *, lease: float, containers: bool) -> KeptController:
        """Keep one of our own running at the URL of the pool."""
        self.controller = KeptController(
            self.home,
            database,
            log,
            say=self._say,
            output=self._output(CONTROLLER),
            lease=lease,
            containers=containers,
        )
        return self.controller

    def add(self, task: TaskDefinition, count: int) -> None:
        """Keep so many more workers of a task running. Raises ConfigError where there is no command for them."""
        worker_command(task, self.home, 0)
        for _ in range(count):
            name = f"{task.name}-{sum(worker.task.name == task.name for worker in self.workers) + 1}"
            take_port = partial(self._take_port, name)
            output = self._output(name)
            self.workers.append(
                KeptWorker(task, self.home, take_port, say=self._say, output=output, strict=self._strict)
            )

    @property
    def kept(self) -> list[Kept]:
        """All of its programs."""
        controllers = [self.controller.kept] if self.controller else []
        return controllers + [worker.kept for worker in self.workers]

    def of_task(self, name: str) -> list[Kept]:
        """The workers of a task."""
        return [worker.kept for worker in self.workers if worker.task.name == name]

    def look(self) -> None:
        """One look at everything: what ended is started again, what the controller lists is ready.

        No worker is started before a controller has answered: what heard of none might give up.
        """
        if self.controller is not None:
            self.controller.kept.look()
        self._ask()
        for worker in self.workers if self.answered else ():
            if not worker.kept.is_running:
                worker.forget(self._listing)
            worker.kept.look()

    def _ask(self) -> None:
        if not self._awaits_news() or time.monotonic() < self._next_listing:
            return
        listing = listed_workers(with_token(self.home.controller, self.home.token))
        self._next_listing = time.monotonic() + LISTING_SECONDS
        if listing is None:
            return
        self._listing = listing
        if self.controller is not None and self.controller.kept.is_running and not self.controller.kept.is_ready:
            self.controller.kept.became_ready()
            self._say(f"controller: ready at {self.home.controller}")
        self.answered = True
        for worker in self.workers:
            if worker.kept.is_running and not worker.kept.is_ready:
                self._hear(worker, listing)

    def _hear(self, worker: KeptWorker, listing: Sequence[ListedWorker]) -> None:
        mine = next((each for each in listing if worker.is_listed_as(each)), None)
        if mine is not None:
            worker.kept.became_ready()
            self._say(f"{worker.kept.name}: ready, takes {mine.capacity} at once, {mine.indices} indices")

    def _awaits_news(self) -> bool:
        return not self.answered or any(not kept.is_ready and not kept.is_given_up for kept in self.kept)

    def end(self, grace: float | None = None) -> None:
        """End workers all at once, then the controller; return when nothing of them lives."""
        from concurrent.futures import ThreadPoolExecutor

        try:
            with ThreadPoolExecutor(max(1, len(self.workers))) as threads:
                list(threads.map(lambda worker: worker.end(grace), self.workers))
        finally:
            if self.controller is not None:
                self.controller.kept.end(grace)


def child_of(
    argv: Sequence[str],
    env: Mapping[str, str],
    root: Path,
    output: Callable[[bytes], None] | None,
    name: str,
) -> Child:
    """A program that reads nothing, in the directory of the tasks."""
    return Child(
        argv,
        env={**os.environ, **env},
        cwd=str(root),
        output=output,
        started=lambda _: None,
        stdin=False,
        stdout="output",
        name=name,
    )
