"""What DLC says of a job, in the words of every engine; and what its pods write, line by line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.engines.dlclogs import MISSING, append_log, new_lines
from pytest_evalrun.engines.dlcstates import job_state
from pytest_evalrun.engines.protocol import JobState, Phase


def job(status, code=None, message=None, sub=None, pods=()):
    """A job as the SDK reads it."""
    return SimpleNamespace(status=status, reason_code=code, reason_message=message, sub_status=sub, pods=pods)


WAITING = ("Creating", "Queuing", "Bidding", "EnvPreparing", "SanityChecking")
STATUSES = {
    **dict.fromkeys(WAITING, Phase.WAITING),
    **dict.fromkeys(("Running", "Restarting", "Stopping", "SomethingNew"), Phase.RUNNING),
    **dict.fromkeys(("Succeeded", "SucceededReserving"), Phase.DONE),
    **dict.fromkeys(("Failed", "FailedReserving"), Phase.FAILED),
    "Stopped": Phase.CANCELLED,
}


@pytest.mark.parametrize(("status", "phase"), STATUSES.items())
def test_every_status_that_is_published_has_a_phase(status, phase):
    """A new one is that of a job that goes on: never an end that was not one."""
    assert job_state(job(status)).phase is phase


ENDS = {
    "by itself": ("Failed", "JobFailed", "Job failed: pod exit code: 3", Phase.FAILED, 3),
    "by a signal": ("Failed", "JobFailed", "container exited with code 137", Phase.FAILED, -9),
    "memory": ("Failed", "JobFailed", "Pod x OOMKilled, exit code 137", Phase.MEMORY, -9),
    "memory of the node": ("Failed", "Evicted", "The node was low on resource: memory.", Phase.MEMORY, None),
    "preempted": ("Stopped", "JobPreempted", "Job is preempted by dlc2", Phase.PREEMPTED, None),
    "evicted": ("Failed", "PodEvicted", "", Phase.PREEMPTED, None),
    "spot": ("Failed", "", "the spot instance was released", Phase.PREEMPTED, None),
    "node": ("Failed", "NodeNotReady", "node is not ready", Phase.LOST, None),
    "machine": ("Failed", "JobFailed", "Hardware failure on 10.0.0.1", Phase.LOST, None),
    "time": ("Stopped", "JobStopped", "exceeds the max running time", Phase.TIME, None),
    "kubernetes' time": ("Failed", "DeadlineExceeded", "", Phase.TIME, None),
    "somebody": ("Stopped", "JobStoppedByUser", "Job is stopped by user.", Phase.CANCELLED, None),
    "slow image": ("Failed", "ImagePullFailed", "timed out", Phase.FAILED, None),
    "no reason": ("Failed", None, None, Phase.FAILED, None),
}


@pytest.mark.parametrize(("status", "code", "message", "phase", "exit_code"), ENDS.values(), ids=ENDS)
def test_ends_are_told_apart_by_the_reason(status, code, message, phase, exit_code):
    """Its words are kept for people."""
    state = job_state(job(status, code, message))
    assert (state.phase, state.code) == (phase, exit_code)
    assert state.reason == ": ".join(filter(None, [code, message]))


def test_a_reason_does_not_end_what_runs():
    """A job that was preempted before and runs again is running."""
    assert job_state(job("Running", "JobPreempted", "was preempted, restarted")).phase is Phase.RUNNING


def test_a_pod_tells_node_and_eviction():
    """Where the job itself gives no reason."""
    pod = SimpleNamespace(node_name="gpu-7", sub_status="Evicted")
    assert job_state(job("Failed", pods=[pod])) == JobState(Phase.PREEMPTED, node="gpu-7")


@given(st.lists(st.sampled_from("abc")), st.integers(0, 40), st.integers(0, 40))
def test_no_line_is_there_twice_and_none_is_lost(log, seen, length):
    """While an answer is the whole log, or its beginning, the file grows to be the log."""
    known = log[:seen]
    answer = log[: len(known) + length]
    assert known + new_lines(known, answer) == answer


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 60))
def test_the_end_of_a_log_is_joined_to_what_is_known(seen, more, window):
    """Where it overlaps nothing is lost, and where it does not, the gap is told."""
    log = [f"line {number}" for number in range(seen + more)]
    known, answer = log[:seen], log[-window:]
    grown = known + new_lines(known, answer)
    if window > more or answer == log:
        assert grown == log
    else:
        assert grown == [*known, MISSING, *answer]


def test_who_asks_anew_goes_on_where_the_file_ends(tmp_path):
    """Also another process, which adopted the job."""
    file = tmp_path / "job.log"
    for length in (2, 2, 5, 5):
        append_log(file, [f"line {number}" for number in range(length)])
    assert file.read_text() == "line 0\nline 1\nline 2\nline 3\nline 4\n"
