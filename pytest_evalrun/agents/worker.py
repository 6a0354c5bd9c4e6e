"""A worker of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class WorkerOptions:
    """Which task, from which file and directory; where its controller is, and where it listens itself."""

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


def serve_worker(options: WorkerOptions) -> None:
    """Serve until it is told to end."""
    raise NotImplementedError


def print_indices(options: WorkerOptions) -> None:
    """Write the indices of the task to stdout, as JSON."""
    raise NotImplementedError
