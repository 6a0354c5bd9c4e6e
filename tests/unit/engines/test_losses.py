"""What the end of a job means: who is to blame, who goes on, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from papercluster import Launch, PaperCluster, items_of

from pytest_evalrun.engines.attempts import JobUnit
from pytest_evalrun.engines.exits import CANNOT_BEGIN, GO_ON_LATER
from pytest_evalrun.engines.losses import MOST_IDLE
from pytest_evalrun.engines.protocol import Phase

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = ("a", "b", "c:p", "d:p")


@dataclass(frozen=True)
class End:
    """How a job with the items a, b and two of one pair ends; ``runs`` were running, ``told`` is its own exit code."""

    phase: Phase
    code: int | None = None
    told: int | None = None
    runs: tuple[str, ...] = ()
    reason: str = ""
    reported: tuple[str, ...] = ()
    items: tuple[str, ...] = ITEMS


def end(launch: Launch, unit: str, attempt: int, how: End) -> None:
    """Let a job begin, report, and end; and wait until no line of it can still be seen."""
    dispatch = launch.dispatch
    dispatch.begun(unit)
    for name in (*how.reported, *how.runs):
        dispatch.started(unit, name)
    dispatch.reported(unit, how.reported)
    if how.told is not None:
        dispatch.ended(unit, how.told)
    launch.cluster.set(f"{unit}-{attempt}", how.phase, how.code, how.reason)
    launch.turn()
    launch.turn(20)


def begin(tmp_path: Path, how: End, retries: int = 1) -> Launch:
    launch = Launch(tmp_path, PaperCluster(), at_once=8, retries=retries)
    launch.dispatch.start([JobUnit(launch.store.next_unit_name(), items_of(*how.items), seconds=10)])
    launch.turn()
    return launch


GOES_ON = {
    "preempted": End(Phase.PREEMPTED, runs=("a",)),
    "its node is gone": End(Phase.LOST, runs=("a",)),
    "forgotten by the cluster": End(Phase.GONE),
    "told to go on later": End(Phase.FAILED, GO_ON_LATER),
    "forgotten, and told to go on later": End(Phase.GONE, told=GO_ON_LATER),
    "preempted, as it says itself": End(Phase.PREEMPTED, GO_ON_LATER, told=GO_ON_LATER),
}


@pytest.mark.parametrize("how", GOES_ON.values(), ids=GOES_ON.keys())
def test_nobody_is_to_blame(tmp_path: Path, how: End) -> None:
    """What the cluster took away goes back with all that is left, however often, as long as something is reported."""
    launch = begin(tmp_path, how, retries=0)
    end(launch, "u001", 1, how)
    assert launch.made[1:] == [("u001", 2, ("a", "b", "c", "d"))]
    end(launch, "u001", 2, replace(how, reported=("a",), runs=()))
    assert launch.made[2:] == [("u001", 3, ("b", "c", "d"))]
    assert launch.dispatch.take_failures() == {}


@pytest.mark.parametrize("how", GOES_ON.values(), ids=GOES_ON.keys())
def test_nothing_goes_on_for_ever(tmp_path: Path, how: End) -> None:
    """A unit lost so many times in a row without a single report is given up, and says so."""
    launch = begin(tmp_path, how)
    for attempt in range(1, MOST_IDLE + 1):
        assert not launch.dispatch.is_over
        end(launch, "u001", attempt, how)
    failures = launch.dispatch.take_failures()
    assert list(failures) == ["a", "b", "c", "d"]
    assert "20 jobs in a row were lost so without a single report" in failures["a"]
    assert launch.dispatch.is_over


COUNTS = {
    "killed by a signal": (End(Phase.FAILED, -9, runs=("b",)), "job 2 was killed by signal 9 on n1 while it ran b"),
    "an exit code": (End(Phase.FAILED, 3, runs=("b",)), "job 2 ended with code 3 on n1 while it ran b"),
    "its own last line": (End(Phase.GONE, told=2, runs=("b",)), "job 2 ended with code 2 on n1 while it ran b"),
    "no code": (End(Phase.FAILED, runs=("b",), reason="BOOT_FAIL"), "job 2 died on n1 (BOOT_FAIL) while it ran b"),
    "short of reports": (
        End(Phase.DONE, 0, told=0, runs=("b",)),
        "job 2 ended with code 0 and 3 of its items have no report on n1 while it ran b",
    ),
}


@pytest.mark.parametrize(("how", "text"), COUNTS.values(), ids=COUNTS.keys())
def test_a_death_is_charged_to_the_item_that_was_running(tmp_path: Path, how: End, text: str) -> None:
    """It is run again as often as it may be; then it is an error, and the others go on without it."""
    launch = begin(tmp_path, how)
    end(launch, "u001", 1, replace(how, reported=("a",)))
    assert launch.made[1:] == [("u001", 2, ("b", "c", "d"))]
    assert launch.dispatch.take_failures() == {}
    end(launch, "u001", 2, how)
    assert launch.dispatch.take_failures() == {"b": f"{text}, after 1 like it"}
    assert launch.made[2:] == [("u001", 3, ("c", "d"))]


def test_without_an_item_that_ran_all_are_charged(tmp_path: Path) -> None:
    """A job that dies between items has no one to blame: after as many tries all that is left are errors."""
    how = End(Phase.FAILED, 2)
    launch = begin(tmp_path, how)
    end(launch, "u001", 1, how)
    end(launch, "u001", 2, how)
    assert list(launch.dispatch.take_failures()) == ["a", "b", "c", "d"]
    assert launch.dispatch.is_over


def test_deaths_of_others_are_not_charged(tmp_path: Path) -> None:
    """Each item has tries of its own: one that dies for the first time is run again, whoever died before it."""
    launch = begin(tmp_path, End(Phase.FAILED), retries=1)
    end(launch, "u001", 1, End(Phase.FAILED, -9, runs=("a",)))
    end(launch, "u001", 2, End(Phase.FAILED, -9, runs=("b",), reported=("a",)))
    assert launch.made[-1] == ("u001", 3, ("b", "c", "d"))
    assert launch.dispatch.take_failures() == {}


def test_a_time_limit_makes_smaller_units(tmp_path: Path) -> None:
    """What is left is cut in two, no pair in both; a single pair counts as a death, whose error says what it was."""
    how = End(Phase.TIME, reason="TIMEOUT", reported=("a",))
    launch = begin(tmp_path, how)
    end(launch, "u001", 1, how)
    assert launch.made[1:] == [("u003", 1, ("c", "d")), ("u002", 1, ("b",))], "the longest first"
    assert launch.said == ["u001: job 1 reached its time limit on n1 (TIMEOUT); 3 items to go on in 2 jobs"]
    again = End(Phase.TIME, reason="TIMEOUT")
    end(launch, "u003", 1, again)
    assert launch.made[-1] == ("u003", 2, ("c", "d"))
    end(launch, "u003", 2, again)
    text = "job 4 reached its time limit on n1 (TIMEOUT), after 1 like it"
    assert launch.dispatch.take_failures() == {"c": text, "d": text}


def test_memory_is_an_error_of_the_item_that_ran(tmp_path: Path) -> None:
    """It is not tried again, and the others go on at once."""
    how = End(Phase.MEMORY, -9, runs=("b",), reason="OUT_OF_MEMORY", reported=("a",))
    launch = begin(tmp_path, how, retries=5)
    end(launch, "u001", 1, how)
    assert launch.dispatch.take_failures() == {"b": "job 1 was killed for memory on n1 (OUT_OF_MEMORY) while it ran b"}
    assert launch.made[-1] == ("u001", 2, ("c", "d"))


def test_memory_with_several_suspects(tmp_path: Path) -> None:
    """Of items that ran together each is to show alone what it needs; the others are kept out of it."""
    how = End(Phase.MEMORY, runs=("a", "d"), items=("a", "b", "c:p", "d:p", "e"))
    launch = begin(tmp_path, how)
    end(launch, "u001", 1, how)
    assert sorted(items for _, _, items in launch.made[1:]) == [("a",), ("b", "e"), ("c", "d")]
    assert launch.dispatch.take_failures() == {}


def test_cancelled_by_somebody_else(tmp_path: Path) -> None:
    """What an administrator has cancelled is not submitted again: its items are errors that say so."""
    how = End(Phase.CANCELLED, reported=("a",), reason="CANCELLED by 0")
    launch = begin(tmp_path, how)
    end(launch, "u001", 1, how)
    text = "job 1 was cancelled on the cluster (by an administrator?) (CANCELLED by 0)"
    assert launch.dispatch.take_failures() == dict.fromkeys(("b", "c", "d"), text)
    assert launch.dispatch.is_over


NEVER = {
    "refused": (End(Phase.FAILED, CANNOT_BEGIN), "other settings", "job 1 refused to begin on n1: other settings"),
    "refused in lines": (
        End(Phase.FAILED, CANNOT_BEGIN),
        "needed: 1 GPU; there is:\n  GPU 0  A100\nask for less\n",
        "job 1 refused to begin on n1: needed: 1 GPU; there is: GPU 0 A100; ask for less",
    ),
    "a directory that is not seen": (End(Phase.FAILED, CANNOT_BEGIN), "", "job 1 ended with code 78 on n1"),
    "a usage error": (End(Phase.FAILED, 4), "", "job 1 ended with code 4 on n1"),
    "killed": (End(Phase.FAILED, -11), "", "job 1 was killed by signal 11 on n1"),
    "killed below its script": (End(Phase.FAILED, 137), "", "job 1 was killed by signal 9 on n1"),
    "no time": (End(Phase.TIME), "", "job 1 reached its time limit on n1"),
    "no memory": (End(Phase.MEMORY), "", "job 1 was killed for memory on n1"),
    "nothing done": (End(Phase.DONE, 0), "", "job 1 ended with code 0 and 1 of its items have no report on n1"),
}


@pytest.mark.parametrize(("how", "refusal", "text"), NEVER.values(), ids=NEVER.keys())
def test_the_first_job_that_cannot_begin_ends_all(tmp_path: Path, how: End, refusal: str, text: str) -> None:
    """One error instead of a queue of them, with the end of the job's log; the other jobs are cancelled."""
    launch = Launch(tmp_path, PaperCluster(), at_once=2)
    launch.dispatch.start([JobUnit(f"u00{at}", items_of(f"i{at}"), seconds=9 - at) for at in (1, 2, 3)])
    launch.turn()
    log = launch.store.attempt_paths("u001", 1).log
    log.write_text("cd: /shared: no such directory\n\n")
    if refusal:
        launch.dispatch.refused("u001", refusal)
    launch.cluster.set("u001-1", how.phase, how.code)
    launch.turn()
    launch.turn(20)
    fatal = f"{text}, before it began; {log} ends with\n    cd: /shared: no such directory"
    assert launch.dispatch.fatal == fatal
    assert launch.cluster.cancelled == ["u002-1"]
    assert [name for name, _, _ in launch.made] == ["u001", "u002"]
    assert launch.dispatch.take_failures() == {}


def test_once_a_job_has_begun_another_may_fail_to(tmp_path: Path) -> None:
    """A node that cannot run a job costs its unit a try, and the launch goes on."""
    launch = Launch(tmp_path, PaperCluster(), at_once=2)
    launch.dispatch.start([JobUnit("u001", items_of("a")), JobUnit("u002", items_of("b"))])
    launch.turn()
    launch.dispatch.begun("u001")
    launch.cluster.set("u002-1", Phase.FAILED, CANNOT_BEGIN)
    launch.turn()
    assert launch.dispatch.fatal is None
    assert launch.made[-1] == ("u002", 2, ("b",))


def test_jobs_that_never_begin_are_not_submitted_for_ever(tmp_path: Path) -> None:
    """Where one job after another is lost before any has begun, the launch says so and ends."""
    launch = Launch(tmp_path, PaperCluster(), at_once=5)
    launch.dispatch.start([JobUnit(f"u{at:03d}", items_of(f"i{at}")) for at in range(1, 41)])
    for _ in range(MOST_IDLE):
        launch.turn()
        for handle in launch.cluster.states:
            launch.cluster.set(handle.name, Phase.LOST)
    assert launch.dispatch.fatal is not None
    assert launch.dispatch.fatal.endswith("was lost on n1, as 19 jobs before it, and none has ever begun")


def test_lines_of_a_job_that_is_over_may_come_late(tmp_path: Path) -> None:
    """Who ended by itself and has not said so is waited for a moment: on a shared disk its lines are seen late."""
    launch = begin(tmp_path, End(Phase.DONE))
    launch.cluster.set("u001-1", Phase.DONE, 0)
    launch.turn()
    assert launch.dispatch.fatal is None
    launch.dispatch.begun("u001")
    launch.dispatch.reported("u001", ["a", "b", "c", "d"])
    launch.turn()
    assert launch.dispatch.is_over
    assert launch.dispatch.take_failures() == {}
    assert launch.said == []
