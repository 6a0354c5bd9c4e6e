"""What DLC says of a job, in the words of every engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_evalrun.engines.protocol import JobState, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

PHASES = {
    "Creating": Phase.WAITING,
    "Queuing": Phase.WAITING,
    "Bidding": Phase.WAITING,
    "EnvPreparing": Phase.WAITING,
    "SanityChecking": Phase.WAITING,
    "Running": Phase.RUNNING,
    "Restarting": Phase.RUNNING,
    "Stopping": Phase.RUNNING,
    "SucceededReserving": Phase.DONE,
    "Succeeded": Phase.DONE,
    "FailedReserving": Phase.FAILED,
    "Failed": Phase.FAILED,
    "Stopped": Phase.CANCELLED,
}
# The service documents no list of its reasons: these are words of Kubernetes, and of the few examples that it gives.
# The first that is found holds; a pod that is evicted because a node has no memory left needs another node's memory.
REASONS = (
    (Phase.MEMORY, re.compile(r"\boom|out ?of ?memory|low on resource: memory", re.IGNORECASE)),
    (
        Phase.TIME,
        re.compile(r"max(imum)?_?-? ?running ?time|deadline ?exceeded|time ?limit", re.IGNORECASE),
    ),
    (Phase.PREEMPTED, re.compile(r"preempt|evict|reclaim|spot ?instance", re.IGNORECASE)),
    (
        Phase.LOST,
        re.compile(
            r"node ?(is |was |has )?(lost|fail|not ?ready|unreachable|down|unhealthy|shutdown|gone)|(lost|faulty) ?node"
            r"|machine ?(fail|fault|down)|hardware",
            re.IGNORECASE,
        ),
    ),
)
# Told apart from a failure: who stops a job by hand gives no other reason.
BY_USER = re.compile(r"stopped ?by ?(the )?user", re.IGNORECASE)
EXIT_CODE = re.compile(r"exit(?:ed)?(?: with)?[ _]?(?:code|status)[ :=]*(-?\d+)", re.IGNORECASE)
SIGNALS = 128


def job_state(job: Any) -> JobState:
    """Read a job as ListJobs and GetJob give it; a status that is new is that of a job that goes on."""
    told = [text for text in (job.reason_code, job.reason_message) if text]
    pods = job.pods or []
    phase = PHASES.get(job.status, Phase.RUNNING)
    if phase in (Phase.FAILED, Phase.CANCELLED):
        phase = _why(phase, [*told, job.sub_status, *(pod.sub_status for pod in pods)])
    reason = ": ".join(told) or (job.status if job.status not in PHASES else "")
    node = next((pod.node_name for pod in pods if pod.node_name), "")
    return JobState(phase, _code(phase, reason), node, " ".join(reason.split()))


def _why(phase: Phase, told: Iterable[str | None]) -> Phase:
    text = "\n".join(filter(None, told))
    if BY_USER.search(text):
        return Phase.CANCELLED
    return next((why for why, pattern in REASONS if pattern.search(text)), phase)


def _code(phase: Phase, reason: str) -> int | None:
    if phase is Phase.DONE:
        return 0
    found = EXIT_CODE.search(reason) if phase.is_end else None
    if found is None:
        return None
    code = int(found[1])
    return SIGNALS - code if SIGNALS < code < 2 * SIGNALS else code
