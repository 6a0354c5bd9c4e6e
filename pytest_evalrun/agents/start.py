"""Workers of tasks, and a controller, started and kept running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class StartOptions:
    """What to start, as AgentBench's start_task takes it."""

    config: Path
    tasks: tuple[str, ...]
    controller: str | None
    auto_controller: bool
    base_port: int
    root: Path


def start_tasks(options: StartOptions) -> None:
    """Keep them running until Ctrl-C."""
    raise NotImplementedError
