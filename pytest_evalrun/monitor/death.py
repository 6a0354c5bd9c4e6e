"""The likely cause of death of a session that did not end, from what it left."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalrun.rundir.lines import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_evalrun.monitor.launch import LaunchState

TAIL_BYTES = 4096
FULL_BYTES = 1 << 20
# What was said long before is about something else.
LOG_LINES = 20
_SIGNS = (
    ("it ran out of memory", r"out of memory|\bMemoryError\b|oom-?kill|(failed to|cannot|can't) allocate"),
    ("the disk was full", r"no space left on device|disk quota exceeded|\bENOSPC\b|disk (is|was) full"),
    ("a signal ended it", r"\bSIG(TERM|KILL|SEGV|INT|HUP|ABRT|BUS|ILL|FPE)\b|segmentation fault|signal \d+|\bkilled\b"),
)
SIGNS = tuple((reason, re.compile(pattern, re.IGNORECASE)) for reason, pattern in _SIGNS)
UNEXPLAINED = "nothing in its logs says why: kill -9, or the kernel for lack of memory (dmesg would tell)"


@dataclass(frozen=True)
class Death:
    """The likely reason, the line that tells it (``""`` where none does), and the command to carry on."""

    reason: str
    evidence: str
    command: str


def find_cause(standing: LaunchState, log: Iterable[str], item_logs: Iterable[Path], run: Path) -> tuple[str, str]:
    """Find the likely reason and its evidence. ``item_logs`` are those of the pairs that ran."""
    if _started_again(standing):
        return "the machine was started again", ""
    lines = [*(line for path in item_logs for line in _tail(path)), *list(log)[-LOG_LINES:]]
    for line in reversed(lines):
        for reason, sign in SIGNS:
            if sign.search(line):
                return reason, line.strip()
    if _is_full(run):
        return "the disk is full", ""
    return UNEXPLAINED, ""


def _started_again(standing: LaunchState) -> bool:
    import psutil

    since = standing.since
    return since is not None and psutil.boot_time() > since


def _is_full(run: Path) -> bool:
    try:
        return shutil.disk_usage(run).free < FULL_BYTES
    except OSError:
        return False


def _tail(path: Path) -> list[str]:
    try:
        with open_file(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
