"""What a worker holds while it evaluates pair after pair."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_evalrun.errors import EvalrunWarning
from pytest_evalrun.evaluation.deadline import Guard
from pytest_evalrun.predicting.leaving import Leaving
from pytest_evalrun.predicting.models import LoadedModels
from pytest_evalrun.predicting.services import Slots, WorkerServices
from pytest_evalrun.rundir.costs import CostLedger
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.events import EventWriter
from pytest_evalrun.rundir.hashes import HashCaches
from pytest_evalrun.rundir.layout import RunPaths, WorkDir
from pytest_evalrun.rundir.processes import ProcessLog
from pytest_evalrun.suite.printable import printable
from pytest_evalrun.suite.secrets import NO_SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_evalrun.agents.launch.embedded import TaskServers
    from pytest_evalrun.evaluation.logs import ItemLog
    from pytest_evalrun.predicting.boards import Boards
    from pytest_evalrun.suite.secrets import Secrets


# How often a worker that waits for another looks again.
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Launch:
    """What the launching process tells its workers: where the run is, and what is wanted of it.

    ``gpus`` and ``max_cost`` are the options of these names; ``lacking`` says of needs that this machine cannot meet
    why that is so; ``devices`` is where the processes of the launch keep their notes of boards, ``servers`` what they
    share of task servers. ``hashes`` is the cache of hashes where it is not that of the work directory, ``sources`` are
    runs whose predictions may be taken over.
    """

    run: str
    workdir: str
    run_id: str
    mode: str = "all"
    fresh: bool = False
    distrust: str | None = None
    gpus: str | None = None
    crash_retries: int = 1
    lacking: Mapping[str, str] = field(default_factory=dict)
    devices: str = ""
    servers: str = ""
    max_cost: float | None = None
    hashes: str = ""
    sources: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Launch:
        return cls(**values | {"sources": tuple(values["sources"])})


@dataclass(frozen=True)
class Shows:
    """What is seen on the terminal: what programs write, and the commands that start them."""

    programs: bool = False
    commands: bool = False


class Context:
    """One per worker: the run's files, the hash cache, the loaded model, the log of the pair at hand."""

    def __init__(
        self,
        launch: Launch,
        worker: str,
        secrets: Secrets = NO_SECRETS,
        *,
        launcher: int | None = None,
        check: Callable[[], None] = lambda: None,
        ends_session: tuple[type[BaseException], ...] = (),
        shows: Shows = Shows(),
        leaving: Leaving | None = None,
    ) -> None:
        """``launcher`` and ``check`` are those of :class:`Guard`.

        ``ends_session`` is what a model may raise that is none of its failures: whoever drives the session wants it to
        end. ``leaving`` knows when this process is to leave, and whether it may wait for the batch at hand.
        """
        self.launch = launch
        self.secrets = secrets
        self.paths = RunPaths(Path(launch.run))
        self.workdir = WorkDir(Path(launch.workdir))
        self.hashes = HashCaches(Path(launch.hashes) if launch.hashes else self.workdir.hashes, self.warn)
        self.disk = Disk()
        self.events = EventWriter(self.paths.worker_events(worker), worker, secrets)
        self.processes = ProcessLog(self.paths.processes(worker))
        self.costs = CostLedger(self.paths.costs, worker, launch.run_id, launch.max_cost)
        self.guard = Guard(launcher, check, self.processes.add)
        self.log: ItemLog | None = None
        self.ends_session = ends_session
        self.leaving = leaving or Leaving()
        self.slots = Slots(launch.gpus)
        self._shows = shows
        self.models = LoadedModels(
            self.events,
            self.shown,
            self.slots,
            self.services,
            lacking=launch.lacking,
            boards=lambda: self.boards,
            digest=lambda path: self.hashes.of("content").file(path),
        )
        self._boards: Boards | None = None
        self._launcher = launcher
        self._servers: TaskServers | None = None
        self._committed = time.monotonic()

    @property
    def boards(self) -> Boards:
        """A connection each, and leases; made when the first pair needs one."""
        from pytest_evalrun.predicting.boards import Boards
        from pytest_evalrun.remote.boardnotes import BoardNotes

        if self._boards is None:
            self._boards = Boards(BoardNotes(Path(self.launch.devices)), self.say)
        return self._boards

    @property
    def task_servers(self) -> TaskServers:
        """Those that this launch starts; made when the first pair needs one."""
        from pytest_evalrun.agents.launch.embedded import TaskServers

        if self._servers is None:
            launcher = self._launcher or os.getpid()
            directory = Path(self.launch.servers)
            self._servers = TaskServers(directory, launcher=launcher, say=self.say, started=self.processes.add)
        return self._servers

    def warn(self, text: str) -> None:
        """Into the pair's log, and as a warning that pytest shows at the end."""
        self.say(f"warning: {text}")
        warnings.warn(self.shown(text), EvalrunWarning, stacklevel=2)

    def say(self, text: str) -> None:
        """One line into the log of the pair at hand."""
        if self.log is not None:
            self.log.line(self.shown(text))

    def shown(self, text: str) -> str:
        """The text as it may travel, be written down and shown: without the values of secrets, and printable.

        xdist ends the session at a message that holds half of a character.
        """
        return printable(self.secrets.blank(text))

    def check_launcher(self) -> None:
        """Raise KeyboardInterrupt where this process shall end."""
        self.guard.check()

    @property
    def services(self) -> WorkerServices:
        return WorkerServices(
            event=self.events.write,
            say=self.say,
            check=self.guard.check,
            paused=self.guard.paused,
            output=self._output,
            blanked_output=self._blanked_output,
            started=self.processes.add,
            tell=self.log.tell if self._shows.programs and self.log is not None else None,
            command=self.log.tell if self._shows.commands and self.log is not None else None,
        )

    def wait_a_moment(self) -> None:
        """For another worker, which may itself wait for the GPUs of the model that idles here."""
        self.models.make_room(unused=0.0)
        with self.guard.paused():
            self.guard.check()
            time.sleep(POLL_SECONDS)

    def _output(self, data: bytes) -> None:
        if self.log is not None:
            self.log.write(data)

    def _blanked_output(self, data: bytes) -> None:
        if self.log is not None:
            self.log.write_blanked(data)

    def abandon(self) -> None:
        """After a time-out: the model goes, and so does every process that was started for it or by it."""
        with self.guard.paused():
            self.models.abandon()
            self.guard.end_orphans()

    def item_done(self) -> None:
        """The model is idle; others may see new hashes, at most once a second."""
        self.models.used()
        if time.monotonic() - self._committed > 1:
            self.hashes.commit()
            self._committed = time.monotonic()

    def close(self) -> None:
        """Close the model first: what it still writes must be synced too."""
        self.models.close()
        if self._boards is not None:
            self._boards.close()
        self.hashes.close()
        self.events.close()
        self.processes.close()
        self.costs.close()
        for error in self.disk.close():
            self.warn(f"not synced to disk: {error}")
