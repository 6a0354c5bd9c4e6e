"""The controller of a task server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class ControllerOptions:
    """Where a controller listens, and how patient it is; ``token_env`` names the variable that holds its token."""

    host: str
    port: int
    lease: float
    call_timeout: float
    database: Path
    log: Path
    token_env: str | None = None
    allowed: tuple[str, ...] = ()
    announce: Path | None = None
    parent: int | None = None


def serve_controller(options: ControllerOptions) -> None:
    """Serve until it is told to end."""
    raise NotImplementedError
