"""Under pytest an item's output goes to its log, and its reports show the end of that."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pytest_evalrun.evaluation.deadline import STACKS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TAIL_BYTES = 4096
MOST_SEARCHED = 1 << 20


def tail_of(path: Path, start: int) -> str:
    """Read what a log ends with since the byte ``start``; after a time-out, where each thread was.

    One that was shortened since then ends with nothing older either.
    """
    with path.open("rb") as file:
        file.seek(start := start if start <= path.stat().st_size else 0)
        _, stacks, found = file.read(MOST_SEARCHED).rpartition(STACKS)
        if stacks:
            return found[:TAIL_BYTES].decode(errors="replace")
        file.seek(max(start, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return file.read().decode(errors="replace")


def is_debugging(config: pytest.Config) -> bool:
    """Under a debugger nothing is redirected, so that its prompt is seen and answered."""
    asked = config.getoption("usepdb") or config.getoption("trace", False)
    return bool(asked) or "pydevd" in sys.modules


def echo(config: pytest.Config) -> int | None:
    """With ``-s`` a copy goes to the terminal; an xdist worker has only its stderr left for that."""
    if config.getoption("capture", "no") != "no":
        return None
    return 2 if hasattr(config, "workerinput") else 1
