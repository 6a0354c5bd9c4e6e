"""The run at one moment, as a monitor knows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_evalrun.monitor.tasks import STATUS_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_evalrun.monitor.death import Death
    from pytest_evalrun.monitor.jobs import ShownJobs
    from pytest_evalrun.monitor.launch import LaunchState
    from pytest_evalrun.monitor.tasks import Tasks
    from pytest_evalrun.rundir.agentfiles import UnderWay
    from pytest_evalrun.rundir.state import RunningState
    from pytest_evalrun.rundir.tasklist import Status

FORMAT = 1


@dataclass(frozen=True)
class Running:
    """A pair that runs: how far it is, how fast (samples a second), where, and for how many seconds.

    ``sessions`` are those that an agent has at its task server.
    """

    pair: str
    worker: str
    slot: str
    seconds: float
    share: float
    rate: float | None
    state: RunningState | None
    sessions: UnderWay | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class FailedTask:
    """A pair that failed, and why; ``outcome`` is ``error`` for trouble, ``failed`` for a breached gate."""

    pair: str
    outcome: str
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class TaskProgress:
    """The progress of the selected pairs: how many ended, the share that is done (0 to 1), seconds gone and left."""

    selected: int
    done: int
    share: float
    seconds: float | None
    left: float | None


@dataclass(frozen=True)
class Snapshot:
    """``tasks`` is the live list itself, for a copy of 10,000 rows a second would be its whole cost.

    ``failed`` are the last ones, newest first, ``slowest`` pairs with their seconds, ``log`` the last lines;
    ``jobs`` are those on a cluster, where the run has any.
    """

    run: str
    standing: LaunchState
    progress: TaskProgress
    counts: Mapping[Status, int]
    skipped: int
    running: tuple[Running, ...]
    failed: tuple[FailedTask, ...]
    slowest: tuple[tuple[str, float], ...]
    log: tuple[str, ...]
    problems: tuple[str, ...]
    death: Death | None
    quiet: float | None
    tasks: Tasks
    jobs: ShownJobs | None = None

    def to_json(self) -> dict[str, Any]:
        """Return one object of builtins."""
        return self.facts() | {"tasks": self.tasks.to_json()}

    def facts(self) -> dict[str, Any]:
        """Return all but the list of pairs, of which there may be 10,000."""
        info = self.standing.info
        return {
            "format": FORMAT,
            "run": self.run,
            "session": self.standing.word,
            "interrupted": self.standing.interrupted,
            "stopped": info.stopped if info else None,
            "pid": info.pid if info else None,
            "host": info.host if info else None,
            "started": info.started if info else None,
            "ended": info.ended if info else None,
            "death": asdict(self.death) if self.death else None,
            "progress": asdict(self.progress),
            "counts": {STATUS_WORDS[status]: count for status, count in self.counts.items()}
            | {"skipped": self.skipped, "deselected": self.tasks.deselected},
            "running": [running.to_json() for running in self.running],
            "failed": [asdict(failed) for failed in self.failed],
            "jobs": self.jobs.to_json() if self.jobs else None,
            "slowest": [{"pair": pair, "seconds": seconds} for pair, seconds in self.slowest],
            "log": list(self.log),
            "problems": list(self.problems),
        }
