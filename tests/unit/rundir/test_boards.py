"""What a run remembers of boards: names only, more of them with each launch."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.layout import WorkDir
from pytest_evalrun.rundir.runs import BoardRecord, add_manifest, boards_in, create_run, merged, read_run_json
from pytest_evalrun.suite.devices import DeviceSpec

B1 = DeviceSpec("b1", "10.0.0.5", user="root", identity_file=("/keys/a", "/keys/b"), labels={"soc": "j5"}, slots=2)
RECORD = BoardRecord(B1, "/data", ("task_a_one",), ("a_model.onnx",))


@pytest.fixture
def run(tmp_path):
    return create_run(WorkDir(tmp_path / "work"), datetime(2026, 11, 21, tzinfo=UTC))


def test_boards_are_written_and_read_again(run):
    """All that is needed to get to a board comes back as it was, and json is all that it takes to read it."""
    add_manifest(run, {}, [], [RECORD])
    assert boards_in(run, read_run_json(run)) == [RECORD]
    (entry,) = json.loads(run.run_json.read_text())["boards"]
    assert entry["work"] == ["task_a_one"]
    assert entry["models"] == ["a_model.onnx"]
    assert entry["home"] == "/data"
    assert entry["spec"]["labels"] == {"soc": "j5"}


def test_runs_without_boards_say_nothing_of_them(run):
    """What a run of CPU suites writes is what it always wrote."""
    add_manifest(run, {"s": "evalrun.yaml"}, ["/out"])
    assert "boards" not in read_run_json(run)
    assert boards_in(run, read_run_json(run)) == []


def test_launches_add_up(run):
    """What an earlier launch has named is kept; a board that is described anew is believed to be there now."""
    add_manifest(run, {}, [], [RECORD])
    moved = DeviceSpec("renamed", "10.0.0.5", user="root", jump="gate")
    add_manifest(run, {}, [], [BoardRecord(moved, "/data", ("task_b_one",), ())])
    add_manifest(run, {}, ["/out"])
    expected = BoardRecord(moved, "/data", ("task_a_one", "task_b_one"), ("a_model.onnx",))
    assert boards_in(run, read_run_json(run)) == [expected]


def test_homes_are_places_of_their_own():
    """The same board with another REMOTE_TASK_HOME has other directories."""
    other = BoardRecord(B1, "/elsewhere", ("task_a_one",), ())
    assert merged([RECORD], [other]) == [RECORD, other]


@pytest.mark.parametrize(
    "boards",
    [
        *([1], [{}], 5, [{"spec": {}, "home": "", "work": [], "models": []}]),
        [{"spec": {"name": "b", "colour": "red"}, "home": "", "work": [], "models": []}],
        [{"spec": {"name": "b", "host": "h"}, "home": "", "work": [1], "models": []}],
        [{"spec": {"name": "b", "host": "h"}, "home": None, "work": [], "models": []}],
        [{"spec": 3, "home": "", "work": [], "models": []}],
    ],
)
def test_what_we_did_not_write_is_refused(run, boards):
    """A run.json that somebody edited is named, and is no traceback."""
    content = read_run_json(run) | {"boards": boards}
    with pytest.raises(ConfigError, match=r"run\.json: boards: "):
        boards_in(run, content)
