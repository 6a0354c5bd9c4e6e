"""Units on a cluster: who runs when, what a loss means, what goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from papercluster import GPU, Launch, PaperCluster, items_of

from pytest_evalrun.engines.attempts import JobUnit
from pytest_evalrun.engines.exits import GO_ON_LATER
from pytest_evalrun.engines.protocol import ClusterAway, Phase, Resources
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.jobfiles import JobItem
from pytest_evalrun.rundir.jobs import JobStore, is_current
from pytest_evalrun.rundir.reportlines import ReportWriter
from pytest_evalrun.suite.clusters import ClusterWords

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_evalrun.engines.protocol import Handle, Job


def test_units_run_to_their_end(tmp_path: Path) -> None:
    """A unit of which all is reported and whose job has said that it ends is over before the cluster says so."""
    cluster = PaperCluster()
    launch = Launch(tmp_path, cluster)
    launch.dispatch.start([JobUnit("u001", items_of("a", "b")), JobUnit("u002", items_of("c"))])
    launch.turn()
    assert [unit for unit, _, _ in launch.made] == ["u001", "u002"]
    for unit, names in (("u001", ["a", "b"]), ("u002", ["c"])):
        launch.dispatch.begun(unit)
        launch.dispatch.reported(unit, names)
        launch.dispatch.ended(unit, 0)
    launch.turn(0.1)
    assert launch.dispatch.is_over
    assert launch.dispatch.take_failures() == {}


def test_names_are_on_disk_before_the_cluster_hears_of_them(tmp_path: Path) -> None:
    """What jobs.json says while the cluster is asked is enough for the next launch to know of every job."""
    seen: list[bool] = []

    class Watching(PaperCluster):
        def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:
            store = JobStore(tmp_path / "engine" / "jobs.json", ClusterWords("paper"))
            seen.append(all(unit.living is not None and unit.living.name == "u001-1" for unit in store.units.values()))
            return super().submit(jobs, at_once)

    launch = Launch(tmp_path, Watching())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    assert seen == [True]


def test_handles_are_on_disk_before_the_turn_ends(tmp_path: Path) -> None:
    """However soon one submission follows another, the next launch would know each by the cluster's name."""
    launch = Launch(tmp_path, PaperCluster())
    for number, seconds in ((1, 1.0), (2, 0.01)):
        launch.dispatch.start([JobUnit(f"u00{number}", items_of(f"i{number}"))])
        launch.turn(seconds)
        living = JobStore(launch.store.path, ClusterWords("paper")).units[f"u00{number}"].living
        assert living is not None
        assert living.handle == str(number)


def test_a_lost_unit_goes_back_with_what_is_left(tmp_path: Path) -> None:
    """A unit whose node went away is submitted again, uncounted, with the items that have no report."""
    cluster = PaperCluster()
    launch = Launch(tmp_path, cluster, retries=0)
    launch.dispatch.start([JobUnit("u001", items_of("a", "b"))])
    launch.turn()
    launch.dispatch.begun("u001")
    launch.dispatch.reported("u001", ["a"])
    cluster.set("u001-1", Phase.LOST, reason="NODE_FAIL")
    launch.turn()
    assert launch.made[-1] == ("u001", 2, ("b",))
    assert launch.said == ["u001: job 1 was lost on n1 (NODE_FAIL); 1 item to go on"]


def test_a_job_that_was_queued_again_by_hand_is_judged_by_its_last_start(tmp_path: Path) -> None:
    """What it said as it was told to leave, and what ran then, are no excuse and no suspect when it dies later."""
    cluster = PaperCluster()
    launch = Launch(tmp_path, cluster, retries=0)
    launch.dispatch.start([JobUnit("u001", items_of("a", "b"))])
    launch.turn()
    launch.dispatch.begun("u001")
    launch.dispatch.started("u001", "a")
    launch.dispatch.ended("u001", GO_ON_LATER)
    launch.dispatch.begun("u001")
    launch.dispatch.started("u001", "b")
    cluster.set("u001-1", Phase.FAILED, 137)
    launch.turn()
    assert launch.dispatch.take_failures() == {"b": "job 1 was killed by signal 9 on n1 while it ran b"}
    assert launch.made[-1] == ("u001", 2, ("a",))


def names_submitted(launch: Launch) -> list[tuple[list[str], int]]:
    return [(list(names), share) for names, share in launch.cluster.submitted]


def test_an_engine_that_holds_the_limit_gets_all_at_once(tmp_path: Path) -> None:
    """Units of one class are one submission, the longest first, of which as many run as may."""
    launch = Launch(tmp_path, PaperCluster(throttles=True), at_once=2)
    launch.dispatch.start([JobUnit(f"u00{at}", items_of(f"i{at}"), seconds=at) for at in (1, 2, 3)])
    launch.turn()
    assert names_submitted(launch) == [(["u003-1", "u002-1", "u001-1"], 2)]


def test_classes_share_what_may_run_at_once(tmp_path: Path) -> None:
    """Each class gets slots by its work, together no more than may run; what gets none waits for a slot."""
    launch = Launch(tmp_path, PaperCluster(throttles=True), at_once=3)
    units = [JobUnit(f"u10{at}", items_of(f"i{at}"), Resources(gpus=1), seconds=100) for at in range(4)]
    units += [JobUnit(f"u20{at}", items_of(f"j{at}"), Resources(gpus=2), seconds=10) for at in range(2)]
    units += [JobUnit(f"u30{at}", items_of(f"k{at}"), Resources(gpus=4), seconds=1) for at in range(2)]
    launch.dispatch.start(units)
    launch.turn()
    assert [(names[0][:2], len(names), share) for names, share in names_submitted(launch)] == [
        ("u1", 4, 1),
        ("u2", 2, 1),
        ("u3", 2, 1),
    ]


def test_a_class_waits_where_there_are_more_classes_than_slots(tmp_path: Path) -> None:
    """The class that got no slot is submitted as soon as another's jobs leave one, and a retry waits alike."""
    launch = Launch(tmp_path, PaperCluster(throttles=True), at_once=1)
    launch.dispatch.start(
        [JobUnit("u001", items_of("a"), Resources(gpus=1), seconds=9), JobUnit("u002", items_of("b"), seconds=1)]
    )
    launch.turn()
    launch.dispatch.begun("u001")
    assert names_submitted(launch) == [(["u001-1"], 1)]
    launch.cluster.set("u001-1", Phase.PREEMPTED)
    launch.turn()
    assert names_submitted(launch)[1:] == [(["u001-2"], 1)], "the longest first, once more"
    tell_all(launch, "u001", 2, "a")
    launch.turn()
    launch.turn()
    assert names_submitted(launch)[2:] == [(["u002-1"], 1)]


def tell_all(launch: Launch, unit: str, attempt: int, *items: str) -> None:
    launch.dispatch.begun(unit)
    launch.dispatch.reported(unit, items)
    launch.dispatch.ended(unit, 0)
    launch.cluster.set(f"{unit}-{attempt}", Phase.DONE, 0)


def test_an_engine_without_a_limit_gets_what_may_run(tmp_path: Path) -> None:
    """Jobs are submitted as slots come free; one that has told everything has its slot until it is gone."""
    launch = Launch(tmp_path, PaperCluster(), at_once=1)
    launch.dispatch.start([JobUnit("u001", items_of("a"), seconds=2), JobUnit("u002", items_of("b"), seconds=1)])
    launch.turn()
    launch.dispatch.reported("u001", ["a"])
    launch.dispatch.ended("u001", 0)
    launch.turn()
    assert names_submitted(launch) == [(["u001-1"], 1)]
    launch.cluster.set("u001-1", Phase.DONE, 0)
    launch.turn()
    assert names_submitted(launch)[1:] == [(["u002-1"], 1)]


def test_the_cluster_is_asked_once_a_second(tmp_path: Path) -> None:
    """Turns of a launch come often, questions about all jobs once a second."""
    launch = Launch(tmp_path, PaperCluster(), at_once=9)
    launch.dispatch.start([JobUnit(f"u00{at}", items_of(f"i{at}")) for at in range(1, 9)])
    for _ in range(45):
        launch.turn(0.1)
    assert 4 <= launch.cluster.polls <= 5


def test_a_cluster_that_is_away_changes_nothing(tmp_path: Path) -> None:
    """However long it does not answer, that is said once, and everything goes on when it does."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    launch.cluster.away = ClusterAway("slurmctld: timed out")
    for _ in range(50):
        launch.turn(100)
    assert [attempt for _, attempt in launch.dispatch.open()] == [1]
    launch.cluster.away = None
    launch.turn()
    assert launch.said == [
        "the cluster does not answer (slurmctld: timed out); waiting for it, and jobs go on meanwhile",
        "the cluster answers again",
    ]
    assert names_submitted(launch) == [(["u001-1"], 1)]


def test_a_submission_without_an_answer_is_not_repeated(tmp_path: Path) -> None:
    """What the cluster took all the same is found by its name once it answers."""

    class Mute(PaperCluster):
        def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:
            super().submit(jobs, at_once)
            self.away = ClusterAway("timed out")
            raise self.away

    launch = Launch(tmp_path, Mute())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    launch.turn(30)
    launch.cluster.away = None
    launch.turn(30)
    tell_all(launch, "u001", 1, "a")
    launch.turn()
    assert launch.dispatch.is_over
    assert names_submitted(launch) == [(["u001-1"], 1)]


def test_a_submission_that_was_not_heard_is_another_attempt(tmp_path: Path) -> None:
    """A job of which the cluster knows nothing has lost its number: should it come up later, nobody waits for it."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.cluster.away = ClusterAway("timed out")
    launch.turn()
    launch.cluster.away = None
    for _ in range(3):
        launch.turn(20)
    assert names_submitted(launch) == [(["u001-2"], 1)]
    assert not is_current(launch.store.path, "u001", 1)
    assert launch.dispatch.fatal is None


def test_what_the_cluster_refuses_at_first_ends_all(tmp_path: Path) -> None:
    """Its words are the one error of the launch."""
    launch = Launch(tmp_path, PaperCluster(refusal=ConfigError("sbatch: error: invalid partition")))
    launch.dispatch.start([JobUnit("u001", items_of("a")), JobUnit("u002", items_of("b"), Resources(gpus=1))])
    launch.turn()
    assert launch.dispatch.fatal == "sbatch: error: invalid partition"
    assert launch.dispatch.is_over
    assert launch.dispatch.take_failures() == {}


def test_what_the_cluster_refuses_later_is_tried_while_jobs_live(tmp_path: Path) -> None:
    """It may have as many jobs as it wants of us; with none of them left, its words are the items' error."""
    launch = Launch(tmp_path, PaperCluster(), at_once=2)
    launch.dispatch.start([JobUnit("u001", items_of("a")), JobUnit("u002", items_of("b"))])
    launch.turn()
    launch.dispatch.begun("u001")
    launch.cluster.refusal = ConfigError("sbatch: error: QOSMaxSubmitJobPerUserLimit")
    launch.cluster.set("u002-1", Phase.PREEMPTED)
    launch.turn()
    launch.turn(40)
    assert launch.dispatch.take_failures() == {}
    tell_all(launch, "u001", 1, "a")
    launch.turn(40)
    assert launch.dispatch.take_failures() == {"b": "sbatch: error: QOSMaxSubmitJobPerUserLimit"}
    assert launch.dispatch.is_over


def test_what_is_not_here_yet_holds_up_nobody_else(tmp_path: Path) -> None:
    """A unit whose job is over waits for its files for as long as these may need, and other units go on meanwhile."""
    launch = Launch(tmp_path, PaperCluster(), at_once=1, retries=0)
    launch.dispatch.start([JobUnit("u001", items_of("a"), seconds=2), JobUnit("u002", items_of("b"), seconds=1)])
    launch.turn()
    launch.dispatch.begun("u001")
    launch.all_here = False
    launch.dispatch.ended("u001", 0)
    launch.cluster.set("u001-1", Phase.DONE, 0)
    launch.turn()
    assert names_submitted(launch)[1:] == [(["u002-1"], 1)]
    launch.turn(100)
    assert launch.dispatch.take_failures() == {}
    launch.turn(30)
    assert launch.dispatch.take_failures().keys() == {"a"}


def test_slots_are_given_again_while_nobody_reads(tmp_path: Path) -> None:
    """The slot of a job that ended goes to another; what its end means is judged once all that it wrote was read."""
    launch = Launch(tmp_path, PaperCluster(), at_once=1)
    launch.dispatch.start([JobUnit("u001", items_of("a"), seconds=2), JobUnit("u002", items_of("b"), seconds=1)])
    launch.turn()
    launch.cluster.set("u001-1", Phase.FAILED, 1)
    launch.now += 1
    launch.dispatch.attend()
    assert len(names_submitted(launch)) == 1, "none has ever begun, as far as anybody knows"
    ReportWriter(launch.store.attempt_paths("u001", 1).reports).write({"kind": "begun"})
    launch.now += 1
    launch.dispatch.attend()
    assert names_submitted(launch)[1:] == [(["u002-1"], 1)]
    assert launch.said == []
    launch.dispatch.begun("u001")
    launch.turn(11)
    assert launch.said == ["u001: job 1 ended with code 1 and 1 of its items have no report on n1; 1 item to go on"]


def test_nothing_breaks_in_while_the_cluster_is_told_something(tmp_path: Path) -> None:
    """What a launch notes and what the cluster does are one step, however a person hurries."""
    told: list[tuple[str, bool]] = []

    class Watching(PaperCluster):
        def submit(self, jobs: Sequence[Job], at_once: int) -> list[Handle]:
            told.append(("submit", launch.undivided))
            return super().submit(jobs, at_once)

        def cancel(self, handles: Sequence[Handle]) -> None:
            told.append(("cancel", launch.undivided))

    launch = Launch(tmp_path, Watching())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    launch.dispatch.cancel_all()
    assert told == [("submit", True), ("cancel", True)]
    assert not launch.undivided


def adopting(tmp_path: Path, launch: Launch, *wanted: JobItem) -> tuple[Launch, list[tuple[str, list[str]]]]:
    """The next launch on the same cluster, and which units it took over with which items."""
    again = Launch(tmp_path, launch.cluster, now=launch.now)
    units = again.dispatch.adopt({item.id: item for item in wanted})
    return again, [(unit.name, [item.id for item in unit.items]) for unit in units]


def test_the_next_launch_adopts_jobs_that_live(tmp_path: Path) -> None:
    """It submits nothing twice; a loss of what it adopted goes back as any other, with the same needs."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a", "b"), GPU), JobUnit("u002", items_of("c"))])
    launch.turn()
    again, adopted = adopting(tmp_path, launch, *items_of("a", "b", "c", "d"))
    assert adopted == [("u001", ["a", "b"]), ("u002", ["c"])]
    again.turn()
    assert len(names_submitted(launch)) == 2
    again.dispatch.begun("u001")
    launch.cluster.set("u001-1", Phase.LOST)
    again.turn()
    assert names_submitted(launch)[2:] == [(["u001-2"], 1)]
    assert again.store.units["u001"].gpus == 1


def test_a_job_of_other_settings_is_cancelled_and_left(tmp_path: Path) -> None:
    """Its items are free for a unit of this launch, whose job gets the slot when the old one has gone."""
    launch = Launch(tmp_path, PaperCluster(), at_once=1)
    launch.dispatch.start([JobUnit("u001", (JobItem("a", "p", "old"),))])
    launch.turn()
    again = Launch(tmp_path, launch.cluster, at_once=1)
    assert again.dispatch.adopt({"a": JobItem("a", "p", "new")}) == []
    again.dispatch.start([JobUnit("u002", (JobItem("a", "p", "new"),))])
    again.turn()
    assert launch.cluster.cancelled == ["u001-1"]
    assert not is_current(again.store.path, "u001", 1)
    assert len(names_submitted(launch)) == 1
    launch.cluster.set("u001-1", Phase.CANCELLED)
    again.turn()
    assert names_submitted(launch)[1:] == [(["u002-1"], 1)]


def test_a_job_of_another_selection_is_left_alone(tmp_path: Path) -> None:
    """It goes on, has its slot, is not waited for, and can be adopted by a later launch that wants it."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    other, adopted = adopting(tmp_path, launch, *items_of("b"))
    other.turn()
    assert (adopted, other.dispatch.is_over, launch.cluster.cancelled) == ([], True, [])
    other.dispatch.cancel_all()
    assert launch.cluster.cancelled == []
    assert adopting(tmp_path, launch, *items_of("a"))[1] == [("u001", ["a"])]


def test_an_edited_file_of_a_job_ends_it(tmp_path: Path) -> None:
    """Nobody knows what such a job runs: it is cancelled, and that is said."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    launch.store.attempt_paths("u001", 1).job.write_text("{}")
    again, adopted = adopting(tmp_path, launch, *items_of("a"))
    again.turn()
    assert adopted == []
    assert launch.cluster.cancelled == ["u001-1"]
    assert "job.json" in again.said[0]


def test_jobs_on_another_cluster_are_not_forgotten(tmp_path: Path) -> None:
    """A launch for another engine is refused as long as they may live, and names the remedies."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    with pytest.raises(ConfigError, match=r"may still run by --eval-engine paper, .*evalrun stop"):
        Launch(tmp_path, PaperCluster(name="stone")).dispatch.adopt({})
    tell_all(launch, "u001", 1, "a")
    launch.turn()
    assert Launch(tmp_path, PaperCluster(name="stone")).dispatch.adopt({}) == []


def test_what_the_launch_before_cancelled_goes_on(tmp_path: Path) -> None:
    """Ctrl-C and the same command again: no item is an error because its job was cancelled by us."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    launch.dispatch.cancel_all()
    launch.cluster.set("u001-1", Phase.CANCELLED)
    again, adopted = adopting(tmp_path, launch, *items_of("a"))
    again.turn()
    assert adopted == [("u001", ["a"])]
    assert again.dispatch.take_failures() == {}
    assert again.said == ["u001: job 1 was cancelled by an earlier launch on n1; 1 item to go on"]
    assert names_submitted(launch)[1:] == [(["u001-2"], 1)]


def test_cancelling_what_waits(tmp_path: Path) -> None:
    """What runs ends by itself and is told; what waits, here or on the cluster, is no error of any item."""
    launch = Launch(tmp_path, PaperCluster(), at_once=3)
    launch.dispatch.start([JobUnit(f"u00{at}", items_of(f"i{at}"), seconds=9 - at) for at in (1, 2, 3, 4)])
    launch.turn()
    launch.cluster.set("u001-1", Phase.RUNNING)
    launch.turn()
    launch.dispatch.begun("u003")  # since the cluster was last asked
    launch.dispatch.cancel_waiting()
    assert launch.cluster.cancelled == ["u002-1"]
    launch.cluster.set("u002-1", Phase.CANCELLED)
    launch.turn()
    assert not launch.dispatch.is_over
    tell_all(launch, "u001", 1, "i1")
    tell_all(launch, "u003", 1, "i3")
    launch.turn()
    assert launch.dispatch.is_over
    assert launch.dispatch.take_failures() == {}
    assert len(launch.made) == 3


def test_what_does_not_end_is_asked_again(tmp_path: Path) -> None:
    """A job that is there long after it was cancelled, or has said that it ends, is cancelled again."""
    launch = Launch(tmp_path, PaperCluster())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    launch.dispatch.reported("u001", ["a"])
    launch.dispatch.ended("u001", 0)
    launch.cluster.set("u001-1", Phase.RUNNING)
    for _ in range(100):
        launch.turn()
    assert launch.cluster.cancelled == ["u001-1"] * 3


def test_a_report_costs_nothing_that_grows(tmp_path: Path) -> None:
    """Whatever a unit holds, a report touches its own item alone, and no file."""
    launch = Launch(tmp_path, PaperCluster())
    items = items_of(*(f"i{at}" for at in range(2000)))
    launch.dispatch.start([JobUnit("u001", items)])
    launch.turn()
    before = launch.store.path.stat().st_mtime_ns
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    for item in items[:1000]:
        sys.setprofile(count)
        launch.dispatch.started("u001", item.id)
        launch.dispatch.reported("u001", [item.id])
        sys.setprofile(None)
    assert calls < 1000 * 150
    assert launch.store.path.stat().st_mtime_ns == before
