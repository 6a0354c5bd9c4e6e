"""Units on a cluster: who runs when, what a loss means, what goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from papercluster import Launch, PaperCluster, items_of

from pytest_evalrun.engines.attempts import JobUnit, UnitChange
from pytest_evalrun.engines.protocol import Phase
from pytest_evalrun.rundir.jobs import JobStore
from pytest_evalrun.suite.clusters import ClusterWords

if TYPE_CHECKING:
    from pathlib import Path


def test_units_run_to_their_end(tmp_path: Path) -> None:
    """A unit of which all is reported and whose job has said that it ends is over before the cluster says so."""
    cluster = PaperCluster()
    launch = Launch(tmp_path, cluster)
    launch.dispatch.start([JobUnit("u001", items_of("a", "b")), JobUnit("u002", items_of("c"))])
    assert [change.what for change in launch.turn()] == [UnitChange.SUBMITTED] * 2
    for unit, names in (("u001", ["a", "b"]), ("u002", ["c"])):
        launch.dispatch.begun(unit)
        launch.dispatch.reported(unit, names)
        launch.dispatch.ended(unit, 0)
    assert [change.what for change in launch.turn(0.1)] == [UnitChange.OVER] * 2
    assert launch.dispatch.is_over
    assert launch.dispatch.take_failures() == {}


def test_names_are_on_disk_before_the_cluster_hears_of_them(tmp_path: Path) -> None:
    """What jobs.json says while the cluster is asked is enough for the next launch to know of every job."""
    seen: list[bool] = []

    class Watching(PaperCluster):
        def submit(self, jobs, at_once):  # type: ignore[no-untyped-def]
            store = JobStore(tmp_path / "engine" / "jobs.json", ClusterWords("paper"))
            seen.append(all(unit.living is not None and unit.living.name == "u001-1" for unit in store.units.values()))
            return super().submit(jobs, at_once)

    launch = Launch(tmp_path, Watching())
    launch.dispatch.start([JobUnit("u001", items_of("a"))])
    launch.turn()
    assert seen == [True]


def test_a_lost_unit_goes_back_with_what_is_left(tmp_path: Path) -> None:
    """A unit whose node went away is submitted again, uncounted, with the items that have no report."""
    cluster = PaperCluster()
    launch = Launch(tmp_path, cluster, retries=0)
    launch.dispatch.start([JobUnit("u001", items_of("a", "b"))])
    launch.turn()
    launch.dispatch.begun("u001")
    launch.dispatch.reported("u001", ["a"])
    cluster.set("u001-1", Phase.LOST, reason="NODE_FAIL")
    changes = [UnitChange.ENDED, UnitChange.OVER, UnitChange.SUBMITTED]
    assert [change.what for change in launch.turn()] == changes
    assert launch.made[-1] == ("u001", 2, ("b",))
    assert launch.said == ["u001: job 1 was lost on n1 (NODE_FAIL); 1 item to go on"]
