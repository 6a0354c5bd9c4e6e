"""What Slurm prints of jobs, and what it means."""

from __future__ import annotations

import pytest

from pytest_evalrun.engines.protocol import JobState, Phase
from pytest_evalrun.engines.slurmstates import accounted, listed, memory_words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("12_1|RUNNING|0|n1|None|n1|", JobState(Phase.RUNNING, None, "n1", "")),
        ("12_1|COMPLETING|0|n1|None|n1|", JobState(Phase.RUNNING, None, "n1", "COMPLETING")),
        ("12_1|PENDING|0||Resources|(Resources)|", JobState(Phase.WAITING, None, "", "Resources")),
        (
            "12_1|PENDING|0||ReqNodeNotAvail|(ReqNodeNotAvail, UnavailableNodes:n[2-3])|",
            JobState(Phase.WAITING, None, "", "ReqNodeNotAvail, UnavailableNodes:n[2-3]"),
        ),
        ("12_1|REQUEUE_HOLD|0||JobHeldUser||", JobState(Phase.WAITING, None, "", "REQUEUE_HOLD (JobHeldUser)")),
        ("12_1|COMPLETED|0|n1|None|n1|", JobState(Phase.DONE, 0, "n1", "COMPLETED")),
        ("12_1|BOOT_FAIL|1|n1|None|n1|", JobState(Phase.LOST, -1, "n1", "BOOT_FAIL")),
        ("12_1|OUT_OF_MEMORY|9|n1|OutOfMemory|n1|", JobState(Phase.MEMORY, -9, "n1", "OUT_OF_MEMORY (OutOfMemory)")),
        ("12_1|FAILED|53|n1|JobLaunchFailure|n1|", JobState(Phase.FAILED, None, "n1", "FAILED (JobLaunchFailure)")),
        ("12_1|DEADLINE|0|n1|DeadLine|n1|", JobState(Phase.CANCELLED, 0, "n1", "DEADLINE (DeadLine)")),
        ("12_1|A_NEW_STATE|0|n1|None|n1|", JobState(Phase.RUNNING, None, "n1", "A_NEW_STATE")),
    ],
    ids=(
        "running completing waiting waiting-for-nodes held-again completed boot-fail memory not-started deadline "
        "unheard-of"
    ).split(),
)
def test_listed(line, expected):
    """Each state of squeue is a phase; a word that nobody knows is no end, and is shown."""
    assert list(listed(f"{line}\n")) == [("12_1", expected)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("12_1|CANCELLED by 0|0:0|n1", [("12_1", JobState(Phase.CANCELLED, 0, "n1", "CANCELLED by root"))]),
        ("12_1|FAILED|3:0|n1", [("12_1", JobState(Phase.FAILED, 3, "n1", "FAILED"))]),
        ("12_1|FAILED|0:9|n1", [("12_1", JobState(Phase.FAILED, -9, "n1", "FAILED"))]),
        ("12_1|TIMEOUT|0:0|None assigned", [("12_1", JobState(Phase.TIME, 0, "", "TIMEOUT"))]),
        ("12_1|RUNNING|0:0|n1", []),
        ("Slurm accounting storage is disabled", []),
    ],
    ids=["cancelled by whom", "code", "signal", "time", "alive, it thinks", "no table"],
)
def test_accounted(line, expected):
    """What the accounting says of jobs that are over, with who cancelled them."""
    assert list(accounted(line)) == expected


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("slurmstepd-n1: error: StepId=5.batch exceeded memory limit (3 > 2), being killed", True),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=12.batch. Some of the step tasks", True),
        ("slurmstepd: error: *** JOB 5 ON n3 CANCELLED AT 2026-11-28T19:06:11 ***", False),
        ("the model: slurmstepd exceeded memory limit", False),
    ],
    ids=["limit", "kernel", "cancelled", "the job's own"],
)
def test_memory_words(line, says):
    """Only what slurmstepd itself writes into a job's log says that it was ended for its memory."""
    assert memory_words(f"before\n{line}\nafter\n".encode()) == (line if says else "")
