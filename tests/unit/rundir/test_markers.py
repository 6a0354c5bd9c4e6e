"""Markers: what they vouch for, and when they do not hold."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.layout import PairPaths, RunPaths
from pytest_evalrun.rundir.markers import read_marker, write_marker
from pytest_evalrun.suite.pairs import PairKey

if TYPE_CHECKING:
    from pathlib import Path

FINGERPRINT = {"prediction": {"model": "abc"}, "score": {"metrics": {}}}


@pytest.fixture
def disk():
    disk = Disk(interval=3600)
    yield disk
    disk.close()


@pytest.fixture(params=["plain", "two words", "任务 $(x) 'y'"])
def paths(request, tmp_path: Path) -> PairPaths:
    paths = RunPaths(tmp_path / "run").pair(PairKey("suite", request.param, "n" * 100))
    for path in (paths.predictions, paths.result, paths.scores):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {path.name}")
    return paths


def test_marker_survives_the_file(disk: Disk, paths: PairPaths) -> None:
    """Reading is the inverse of writing; files are named relative to the run."""
    written = write_marker(disk, paths, FINGERPRINT, {"seconds": 1.5})
    read = read_marker(paths.marker)
    assert read == written
    assert read.fingerprint == FINGERPRINT
    assert read.extra == {"seconds": 1.5}
    assert set(read.files) == {
        path.relative_to(paths.run).as_posix() for path in (paths.predictions, paths.result, paths.scores)
    }
    assert read.holds(paths.run) is None
    assert read.holds(paths.run, by_hash=True) is None


def test_pair_without_scores_can_be_marked(disk: Disk, paths: PairPaths) -> None:
    """Scores need not be; predictions and result must."""
    paths.scores.unlink()
    assert len(write_marker(disk, paths, FINGERPRINT).files) == 2
    paths.result.unlink()
    with pytest.raises(FileNotFoundError):
        write_marker(disk, paths, FINGERPRINT)


def test_copied_run_holds(disk: Disk, paths: PairPaths) -> None:
    """New mtimes alone are no change: the content decides."""
    marker = write_marker(disk, paths, FINGERPRINT)
    os.utime(paths.predictions, ns=(1, 1))
    assert marker.holds(paths.run) is None


@pytest.mark.parametrize("kept", [False, True], ids=["new mtime", "mtime put back"])
def test_change_of_same_size_is_found(disk: Disk, paths: PairPaths, kept: bool) -> None:
    """A changed byte is found by its mtime, or where that was put back by hash."""
    marker = write_marker(disk, paths, FINGERPRINT)
    before = paths.predictions.stat()
    paths.predictions.write_text(paths.predictions.read_text().replace("c", "C", 1))
    os.utime(paths.predictions, ns=(1, before.st_mtime_ns if kept else 1))
    assert (marker.holds(paths.run) is None) == kept
    assert "changed after it was marked" in marker.holds(paths.run, by_hash=True)


def test_other_size_and_missing_file_are_told(disk: Disk, paths: PairPaths) -> None:
    """The reason names the file."""
    marker = write_marker(disk, paths, FINGERPRINT)
    with paths.result.open("a") as file:
        file.write("x")
    assert (
        marker.holds(paths.run)
        == f"results/{paths.key.suite}/{paths.key.task}/{paths.key.dataset}.json changed after it was marked"
    )
    paths.predictions.unlink()
    assert marker.holds(paths.run).endswith(".jsonl is missing")


def test_file_that_cannot_be_read_does_not_hold(disk: Disk, paths: PairPaths) -> None:
    """An error of the disk is a reason, not a crash."""
    marker = write_marker(disk, paths, FINGERPRINT)
    name = next(iter(marker.files))
    (paths.run / name).unlink()
    (paths.run / name).symlink_to(paths.run / name)
    assert "cannot be read" in marker.holds(paths.run)


def damage(text: str, **changes: object) -> str:
    return json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda t: "", id="empty"),
        pytest.param(lambda t: "\0" * len(t), id="zeros"),
        pytest.param(lambda t: t[: len(t) // 2], id="torn"),
        pytest.param(lambda t: "[1]", id="list"),
        pytest.param(lambda t: damage(t, format=2), id="newer format"),
        pytest.param(lambda t: damage(t, files={}), id="vouches for nothing"),
        pytest.param(lambda t: damage(t, files={"a": {"size": 1}}), id="no hash"),
        pytest.param(lambda t: damage(t, files=[1]), id="files no object"),
        pytest.param(lambda t: damage(t, fingerprint={"prediction": {}}), id="no score"),
        pytest.param(lambda t: damage(t, fingerprint={"prediction": 1, "score": {}}), id="no parts"),
    ],
)
def test_damaged_marker_is_none(disk: Disk, paths: PairPaths, spoil) -> None:
    """A marker that is not whole vouches for nothing."""
    write_marker(disk, paths, FINGERPRINT)
    paths.marker.write_text(spoil(paths.marker.read_text()))
    assert read_marker(paths.marker) is None


@pytest.mark.parametrize("name", ["/etc/hostname", "../x", "predictions/../../x"])
def test_marker_cannot_point_out_of_the_run(disk: Disk, paths: PairPaths, name: str) -> None:
    """Names that leave the run do not hold, whatever lies there."""
    write_marker(disk, paths, FINGERPRINT)
    facts = {"size": 0, "mtime_ns": 0, "sha256": ""}
    paths.marker.write_text(damage(paths.marker.read_text(), files={name: facts}))
    assert read_marker(paths.marker).holds(paths.run) == f"{name} lies outside the run"
