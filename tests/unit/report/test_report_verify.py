"""Whether a run still says what it said when it was written."""

from __future__ import annotations

import os

import pytest

from pytest_evalrun.report.verify import Problem, verify_run
from pytest_evalrun.rundir.durable import Disk
from pytest_evalrun.rundir.markers import write_marker


@pytest.fixture
def marked(run):
    """One complete pair."""
    run.result("s", "t", "d", metrics={"top1": 0.5}, total=1)
    run.predictions("s", "t", "d", [(0, 1, 1)])
    run.scores("s", "t", "d", [{"index": 0, "top1": 1}])
    disk = Disk()
    write_marker(disk, run.paths.pair(run.key("s", "t", "d")), {"prediction": {}, "score": {}})
    disk.close()
    return run


def files(run):
    return run.paths.pair(run.key("s", "t", "d"))


def test_a_run_as_it_was_written_has_no_problem(marked):
    """Nothing is found where nothing changed."""
    assert verify_run(marked.paths) == []


@pytest.mark.parametrize("name", ["predictions", "scores", "result"])
def test_a_changed_byte_is_found(marked, name):
    """By hash: neither size nor time need tell."""
    path = getattr(files(marked), name)
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    problems = verify_run(marked.paths)
    assert [problem.file for problem in problems] == ["state/s/t/d.complete.state"]
    assert str(path.relative_to(marked.paths.root)) in problems[0].text


def test_a_missing_file_is_found(marked):
    """A marker that vouches for what is not there does not hold."""
    files(marked).predictions.unlink()
    assert [problem.text for problem in verify_run(marked.paths)] == ["predictions/s/t/d.jsonl is missing"]


def test_damaged_marker_and_result_are_found(marked):
    """Each is named once, with what becomes of it."""
    files(marked).marker.write_text("{")
    files(marked).result.write_text("{")
    text = "cannot be read; the pair will be scored again"
    assert verify_run(marked.paths) == [
        Problem("results/s/t/d.json", text),
        Problem("state/s/t/d.complete.state", text),
    ]


def test_a_newer_format_is_found(marked):
    """What a newer version wrote cannot be judged here."""
    marked.paths.run_json.write_text('{"format": 99}')
    assert [problem.file for problem in verify_run(marked.paths)] == ["run.json"]
