"""Fingerprints on disk, and predictions put aside: whatever dies when, nothing old is taken for new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalrun.rundir.aside import set_aside
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.markers import StoredFingerprint, read_fingerprint, write_fingerprint
from pytest_evalrun.rundir.results import TIMING
from pytest_evalrun.suite.pairs import PairKey

PARTS = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.dictionaries(st.text(), st.text()))
FILES = ("predictions", "scores", "result", "fingerprint")


@pytest.fixture
def paths(tmp_path):
    return RunPaths(tmp_path / "run $(x)").pair(PairKey("s", "任务", "d"))


@given(PARTS, st.text())
def test_a_fingerprint_survives(tmp_path_factory, parts, launch):
    """What was written is read, whatever letters it has."""
    path = tmp_path_factory.getbasetemp() / "d.fingerprint.json"
    disk = Disk(interval=3600)
    write_fingerprint(disk, path, parts, launch)
    assert read_fingerprint(path) == StoredFingerprint(parts, launch, TIMING)


def test_a_fingerprint_of_an_older_version_is_read(tmp_path):
    """Its predictions were timed in another way, and are good."""
    path = tmp_path / "d.fingerprint.json"
    path.write_text('{"format": 1, "launch": "x", "parts": {"model": "a"}}')
    assert read_fingerprint(path) == StoredFingerprint({"model": "a"}, "x", None)


DAMAGES = {
    "missing": None,
    "empty": b"",
    "torn": b'{"format": 1, "par',
    "list": b"[]",
    "no parts": b'{"format": 1, "launch": "x"}',
    "parts are text": b'{"launch": "x", "parts": "abc"}',
    "no text": b"\xff",
}


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_fingerprint_is_none(tmp_path, content):
    """Then nothing is known about the predictions."""
    path = tmp_path / "d.fingerprint.json"
    if content is not None:
        path.write_bytes(content)
    assert read_fingerprint(path) is None


def lay_down(paths, text):
    others = paths.marker, paths.outputs / "a.png", paths.agent.runs
    for path in (*(getattr(paths, name) for name in FILES), *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def aside(path, suffix):
    return path.with_name(path.name + suffix)


def test_all_that_was_predicted_goes_aside(paths):
    """The marker is gone; the result stays the pair's result until there is a new one."""
    lay_down(paths, "one")
    set_aside(paths, ".stale")
    for name in ("predictions", "scores", "fingerprint"):
        assert not getattr(paths, name).exists()
        assert aside(getattr(paths, name), ".stale").read_text() == "one"
    assert (aside(paths.outputs, ".stale") / "a.png").read_text() == "one"
    assert (aside(paths.agent_directory, ".stale") / "runs.jsonl").read_text() == "one"
    assert not paths.agent_directory.exists()
    assert not paths.marker.exists()
    assert paths.result.read_text() == "one"


def test_the_result_goes_with_them_when_asked(paths):
    """For --eval-fresh; what lay aside before makes room."""
    for text in ("one", "two"):
        lay_down(paths, text)
        set_aside(paths, ".old", with_result=True)
    assert not paths.result.exists()
    assert aside(paths.result, ".old").read_text() == "two"
    assert (aside(paths.outputs, ".old") / "a.png").read_text() == "two"


def test_nothing_to_put_aside(paths):
    """Is no error."""
    set_aside(paths, ".stale", with_result=True)
    assert not paths.run.exists()


def test_what_lies_aside_stays_where_nothing_takes_its_place(paths):
    """Killed half way, or asked twice: files and outputs that were put aside before are not lost."""
    lay_down(paths, "one")
    set_aside(paths, ".old", with_result=True)
    paths.fingerprint.write_text("two")
    set_aside(paths, ".old", with_result=True)
    assert (aside(paths.outputs, ".old") / "a.png").read_text() == "one"
    assert aside(paths.predictions, ".old").read_text() == "one"
    assert aside(paths.fingerprint, ".old").read_text() == "two"


@pytest.mark.parametrize("survivors", range(len(FILES) + 2))
def test_killed_half_way_the_difference_is_still_seen(paths, monkeypatch, survivors):
    """At any moment: without its fingerprint no prediction is left, and no marker vouches for less than it did."""
    from pathlib import Path

    lay_down(paths, "one")
    replace, calls = Path.replace, []

    def dying(self, target):
        calls.append(self)
        if len(calls) > survivors:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dying)
    try:
        set_aside(paths, ".stale", with_result=True)
    except KeyboardInterrupt:
        assert paths.fingerprint.exists()
    assert not paths.marker.exists()
    monkeypatch.undo()
    set_aside(paths, ".stale", with_result=True)
    assert [aside(getattr(paths, name), ".stale").read_text() for name in FILES] == ["one"] * 4
    assert (aside(paths.outputs, ".stale") / "a.png").exists()
