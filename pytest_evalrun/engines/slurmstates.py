"""How Slurm says what became of a job, and what that means to us."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_evalrun.engines.protocol import JobState, Phase
from pytest_evalrun.suite.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where a script could not be started, Slurm says that this signal ended it, which nobody has sent.
NEVER_STARTED = 53
# Fields of `squeue -O`, a mark after each; those that may hold anything come last. Unlike JSON it is the same in every
# version, and squeue asks the controller for our own jobs only.
FIELDS = "JobArrayID:|,State:|,exit_code:|,NodeList:|,Reason:|,ReasonList:|"
SACCT_FIELDS = "JobID,State,ExitCode,NodeList"

_PHASES = {
    **dict.fromkeys(
        ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"),
        Phase.WAITING,
    ),
    # What a job that ends, or is stopped for others, becomes is not said yet.
    **dict.fromkeys(
        ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"), Phase.RUNNING
    ),
    "COMPLETED": Phase.DONE,
    "FAILED": Phase.FAILED,
    "PREEMPTED": Phase.PREEMPTED,
    **dict.fromkeys(("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED"), Phase.LOST),
    "TIMEOUT": Phase.TIME,
    "OUT_OF_MEMORY": Phase.MEMORY,
    # A deadline is of the user's own words, and no smaller job would meet it.
    **dict.fromkeys(("CANCELLED", "DEADLINE"), Phase.CANCELLED),
}
# Nothing to tell.
_NO_REASON = ("", "None", "(null)", "N/A", "(None)")


def listed(text: str) -> Iterator[tuple[str, JobState]]:
    """Read what squeue prints of FIELDS: the id of each job and array element, and how it stands."""
    yield from filter(None, map(_listed, text.splitlines()))


@lru_cache(maxsize=4096)
def _listed(line: str) -> tuple[str, JobState] | None:
    """Kept, for a second later most lines are the same."""
    parts = line.strip().split("|")
    if len(parts) < 6:
        return None
    identity, state, code, node, reason = (part.strip() for part in parts[:5])
    long = "|".join(parts[5:]).strip().removesuffix("|").removeprefix("(").removesuffix(")")
    return identity, _state(state, _exit_code(code), node, long if long != node and long else reason)


def accounted(text: str) -> Iterator[tuple[str, JobState]]:
    """Read what sacct prints of SACCT_FIELDS; a job that it thinks alive is none that the controller knows."""
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) >= 4:
            found = _state(parts[1], _exit_code(parts[2]), parts[3], "")
            if found.phase.is_end:
                yield parts[0], found


def _state(words: str, code: int | None, node: str, reason: str) -> JobState:
    """``words`` is a state, or one with who wanted it: ``CANCELLED by 1000``."""
    state, _, by = words.partition(" by ")
    phase = _PHASES.get(state.rstrip("+"), Phase.RUNNING)
    why = "" if reason in _NO_REASON else one_line(reason)
    if phase.is_end:
        said = f"{state} by {_user(by)}" if by else state
        return JobState(phase, code, _node(node), f"{said} ({why})" if why and phase is not Phase.DONE else said)
    ordinary = state in ("PENDING", "RUNNING")
    told = why if state == "PENDING" else "" if ordinary else state + (f" ({why})" if why else "")
    return JobState(phase, None, _node(node), told)


def _node(text: str) -> str:
    return "" if text in ("(null)", "None assigned", "None") else text


def _exit_code(text: str) -> int | None:
    """``3:0`` is a code and a signal; squeue gives what wait() gave."""
    code, colon, number = text.partition(":")
    if not code.isdecimal():
        return None
    status, ended_by = (int(code), int(number or 0)) if colon else (int(code) >> 8 & 0xFF, int(code) & 0x7F)
    if ended_by == NEVER_STARTED:
        return None
    return -ended_by if ended_by else status


def _user(text: str) -> str:
    import pwd

    try:
        return pwd.getpwuid(int(text)).pw_name
    except (KeyError, ValueError):
        return text


# What slurmstepd writes into the log of a job: states alone do not always say it.
_MEMORY = re.compile(rb"^slurmstepd[^\n]*(exceeded (job )?memory limit|oom.kill)[^\n]*", re.IGNORECASE | re.MULTILINE)


def memory_words(tail: bytes) -> str:
    """Say in Slurm's words that a job was ended for its memory; empty where the end of its log does not."""
    found = _MEMORY.search(tail)
    return one_line(found[0].decode(errors="replace")) if found else ""
