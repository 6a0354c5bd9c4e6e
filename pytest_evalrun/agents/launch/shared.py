"""What the processes of a launch and the manager of a task server tell each other, by files of a private directory.

``tasks.yaml`` says what can be wanted, and ``spec.json`` for whom; a file in ``wanted`` asks for the workers of a task,
and ``state.json`` says how they stand. Whoever has the lock ``running`` is the manager; ``end``, beside the directories
of all, ends them.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.lines import json_line
from pytest_evalrun.rundir.locks import is_locked
from pytest_evalrun.rundir.processes import start_time
from pytest_evalrun.suite.jsontext import parse_json

if TYPE_CHECKING:
    from pathlib import Path

END = "end"
# Longer names than files may have are told apart by nothing: tasks are called like datasets, in a few words.
MOST_LOG_BYTES = 200


@dataclass(frozen=True)
class ServerSpec:
    """Where the code of the tasks is, what the file that defines them is called, and the process for which a manager
    works, with the moment at which that started: it ends when that is gone.
    """

    root: str
    source: str
    launcher: int
    start_time: float


@dataclass
class ServerState:
    """How a manager's servers stand: the controller's URL once it answers, who is ready, and who never will be.

    ``failures`` are of tasks, and ``failure`` is that of the controller: why no one can be had, with the last lines.
    ``ports`` are those of the controller and of workers by their names: whoever is started again has the same.
    """

    pid: int
    start_time: float | None
    ports: dict[str, int] = field(default_factory=dict)
    url: str | None = None
    ready: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    failure: str | None = None


class ServerFiles:
    """The files of one manager, in a directory that only this user can read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.running = root / "running"
        self.output = root / "manager.log"
        self.config = root / "tasks.yaml"
        self.database = root / "controller.db"
        self._spec = root / "spec.json"
        self._state = root / "state.json"
        self._token = root / "token"
        self._wanted = root / "wanted"

    def make(self) -> None:
        """Make the directories, where they are missing; that of the launch is never made again once it is gone."""
        self.root.parent.mkdir(mode=0o700, exist_ok=True)
        self.root.mkdir(mode=0o700, exist_ok=True)
        self._wanted.mkdir(exist_ok=True)
        (self.root / "logs").mkdir(exist_ok=True)

    @property
    def is_running(self) -> bool:
        """Whether its manager lives."""
        return is_locked(self.running)

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left of its manager, which ends last of all."""
        state = self.state()
        return not self.is_running and (state is None or start_time(state.pid) != state.start_time)

    @property
    def is_ending(self) -> bool:
        """Whether the session has ended all servers of the launch."""
        return (self.root.parent / END).exists()

    def log(self, name: str) -> Path:
        """The log of a program by its name."""
        return self.root / "logs" / f"{quote(name, safe='')[:MOST_LOG_BYTES]}.log"

    def token(self) -> str:
        """The token of the controller: made once, and the same for whoever comes later."""
        if not self._token.exists():
            import secrets

            write_atomic(self._token, secrets.token_urlsafe(24), private=True)
        return self._token.read_text()

    def write_spec(self, spec: ServerSpec) -> None:
        write_atomic(self._spec, json_line(asdict(spec)), private=True)

    def spec(self) -> ServerSpec:
        return ServerSpec(**parse_json(self._spec.read_bytes()))

    def write_state(self, state: ServerState) -> None:
        write_atomic(self._state, json_line(asdict(state)))

    def state(self) -> ServerState | None:
        """How the servers stand, or stood when their manager died; None before there was one."""
        try:
            return ServerState(**parse_json(self._state.read_bytes()))
        except FileNotFoundError:
            return None

    def want(self, task: str) -> None:
        """Ask for the workers of a task, in a file of its own; not every name can be that of a file."""
        path = self._wanted / hashlib.sha256(task.encode()).hexdigest()
        if not path.exists():
            write_atomic(path, task, private=True)

    def wanted(self) -> set[str]:
        """The tasks that were asked for."""
        return {path.read_text(encoding="utf-8") for path in self._wanted.iterdir() if not path.name.startswith(".")}
