"""Where exports write: never over what somebody else has put there."""

from __future__ import annotations

import json

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.report.export.target import MARKER, ExportTarget


def written(directory, text="ours", name="a.txt"):
    target = ExportTarget(directory, "inspect")
    (path,) = target.claim([(name,)])
    path.write_text(text)
    target.close()
    return path


def test_what_an_export_has_written_is_written_again(tmp_path):
    """The same command may be given twice."""
    written(tmp_path / "out")
    assert written(tmp_path / "out", "newer").read_text() == "newer"


def test_a_file_of_somebody_else_stays(tmp_path):
    """It is named, with the remedy, and nothing at all is written: not even what it would not hurt."""
    (tmp_path / "b.txt").write_text("mine")
    target = ExportTarget(tmp_path, "inspect")
    with pytest.raises(ConfigError, match=r"b\.txt: it exists and was not written by evalrun export; .*--force"):
        target.claim([("a.txt",), ("b.txt",)])
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_what_somebody_has_changed_is_his(tmp_path):
    """A file of ours that was edited is not replaced."""
    path = written(tmp_path)
    path.write_text("ours, with a remark of mine")
    with pytest.raises(ConfigError, match=r"a\.txt: somebody has changed it since"):
        written(tmp_path)


def test_force_replaces_both(tmp_path):
    """Whoever says so gets it."""
    written(tmp_path).write_text("changed")
    (tmp_path / "b.txt").write_text("mine")
    target = ExportTarget(tmp_path, "inspect", force=True)
    assert [path.name for path in target.claim([("a.txt",), ("b.txt",)])] == ["a.txt", "b.txt"]


def test_what_a_killed_export_has_left_is_ours(tmp_path):
    """It never came to its end, and can be begun anew."""
    (path,) = ExportTarget(tmp_path, "inspect").claim([("a.txt",)])
    path.write_text("half of")
    written(tmp_path)
    assert path.read_text() != "half of"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', "\0"])
def test_a_damaged_marker_makes_nothing_ours(tmp_path, text):
    """Nobody can say who wrote a file: it stays."""
    written(tmp_path)
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(ConfigError, match="it exists"):
        written(tmp_path)


def test_a_directory_in_the_way_stays_even_by_force(tmp_path):
    """It may hold anything."""
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(ConfigError, match="a directory is in the way"):
        ExportTarget(tmp_path, "inspect", force=True).claim([("a.txt",)])


def test_a_file_is_no_place_for_files(tmp_path):
    """The message says what lies there."""
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="out: it is a file"):
        ExportTarget(tmp_path / "out", "inspect")


def test_files_of_earlier_exports_are_remembered(tmp_path):
    """Another run in the same directory adds to it."""
    written(tmp_path, name="a.txt")
    written(tmp_path, name="b.txt")
    assert sorted(json.loads((tmp_path / MARKER).read_text())["files"]) == ["a.txt", "b.txt"]
