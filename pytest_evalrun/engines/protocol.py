"""What every engine promises: jobs are submitted, looked at, cancelled. The cluster schedules them, we do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from pytest_evalrun.errors import EvalrunError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_evalrun.suite.clusters import ClusterWords


class ClusterAway(EvalrunError):  # noqa: N818 - how the cluster is, not an error of ours
    """The cluster does not answer now (its controller is being started again, say): to be asked again later."""


class Phase(StrEnum):
    """How a job stands, by what the cluster says of it. All from ``DONE`` on are ends."""

    WAITING = "waiting"
    """Queued."""
    RUNNING = "running"
    DONE = "done"
    """It ended by itself, with the exit code 0."""
    FAILED = "failed"
    """It ended by itself, or by a signal that nobody of the cluster sent."""
    PREEMPTED = "preempted"
    """The cluster wanted its machine for others."""
    LOST = "lost"
    """Its machine went away."""
    TIME = "time limit"
    MEMORY = "out of memory"
    CANCELLED = "cancelled"
    """By somebody else than us, where we have not asked for it."""
    GONE = "gone"
    """The cluster has forgotten it, or never knew: what it has written tells the rest."""

    @property
    def is_end(self) -> bool:
        return self not in (Phase.WAITING, Phase.RUNNING)


@dataclass(frozen=True)
class JobState:
    """What the cluster says of a job.

    ``code`` is its exit code, where it has one, negative of a signal; ``node`` where it runs or ran; ``reason`` in the
    cluster's own words: why it waits, or why it ended.
    """

    phase: Phase
    code: int | None = None
    node: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Handle:
    """A submitted job: ``id`` is the cluster's name for it (``4711_3``), ``name`` the one that we gave it."""

    id: str
    name: str


@dataclass(frozen=True)
class Resources:
    """What a job needs: its resource class.

    ``gpus`` in all, ``gpu_memory`` in GB for each; ``flags`` are words for Slurm, verbatim; ``custom`` are resources of
    Ray by name.
    """

    gpus: int = 0
    gpu_memory: float = 0.0
    flags: str = ""
    custom: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Job:
    """One attempt of a unit, ready to be submitted.

    ``name`` is like no other in the cluster and carries the run; ``title`` is for people: run, unit, attempt, what is
    in it. ``script`` is the file that runs it (``bash SCRIPT``), written before ``submit`` is called, ``log`` the file
    for all that it says. ``minutes`` are expected, None where nobody knows. ``environment`` are variables to be handed
    on by engines whose jobs do not inherit ours.
    """

    name: str
    title: str
    script: Path
    log: Path
    resources: Resources = Resources()
    minutes: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """A cluster. Raises ClusterAway where it does not answer now, ConfigError for what it will never accept."""

    name: str
    """As ``--eval-engine`` has it."""

    throttles: bool
    """It holds ``at_once`` itself: all jobs are submitted at once. Otherwise it is given no more than may run."""

    @property
    def remarks(self) -> Sequence[str]:
        """What a person is to know before jobs are submitted: words of theirs that have no effect here, and why."""

    def check(self, jobs: Sequence[Job]) -> None:
        """Raise ConfigError, before anything is submitted, for what this cluster can never run, in its own words."""

    def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:
        """Submit jobs, all of one resource class, of which no more than ``at_once`` are to run together.

        One handle a job, in their order. Raises ConfigError with the cluster's words where it refuses them.
        """

    def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        """Say how jobs stand, with one question for all; ``Phase.GONE`` of what the cluster knows nothing of."""

    def cancel(self, handles: Sequence[Handle]) -> None:
        """End jobs as gently as the cluster can (SIGTERM first); those that are over already are passed over."""

    def find(self, names: Sequence[str]) -> list[Handle]:
        """Find jobs by the names we gave them, of which a launch died before it noted the handle.

        One handle for each that is known, in the order of the names; none where the cluster has no such question.
        """

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Write what the command of ``preview`` names besides the scripts of these jobs, all of one resource class."""

    def preview(self, jobs: Sequence[Job], at_once: int) -> str:
        """Give the very command that would submit these jobs, as a line for a shell."""

    def close(self) -> None:
        """Let go of connections; jobs go on."""


class EngineMaker(Protocol):
    """What the entry point of an engine is: it makes one. Raises ConfigError where a tool or a word is missing."""

    def __call__(self, words: ClusterWords, directory: Path) -> Engine: ...
