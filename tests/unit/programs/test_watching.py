"""How far a running program is."""

from __future__ import annotations

import glob
import os
import time

import pytest

from pytest_evalrun.errors import PairError
from pytest_evalrun.programs.results import TICK_SECONDS, is_older, located, matching, read_metrics
from pytest_evalrun.programs.tables import CsvTable
from pytest_evalrun.programs.watching import Files, Lines, OwnState, Pace

STATE = """# state
RUNNING_CURRENT_BATCH=2
RUNNING_TOTAL_BATCHES=3
RUNNING_BATCH_COMPLETED=1
RUNNING_BATCH_TOTAL=4
RUNNING_FAILED_BATCHES=0
RUNNING_RETRY_COUNT=0
RUNNING_TIMESTAMP=1
MAX_BATCH_SIZE=4
TOTAL_DATA=12
"""


def test_rows_are_counted_as_they_come(tmp_path):
    """Whole rows without the header, in all files of the pattern; a file begun anew is counted anew."""
    lines = Lines(str(tmp_path / "*.csv"), header=True)
    assert lines.count() == 0
    with (tmp_path / "a.csv").open("w") as file:
        file.write("id,x\n1,2\n3")
        file.flush()
        assert lines.count() == 1
        file.write(",4\n")
    (tmp_path / "b.csv").write_text("id,x\n5,6\n")
    assert lines.count() == 3
    (tmp_path / "a.csv").write_text("id\n")
    assert lines.count() == 1


def test_files_are_counted_as_they_come(tmp_path):
    """Files that end as the results do; those that were there do not count."""
    (tmp_path / "old.png").touch()
    files = Files(tmp_path, ".png")
    assert files.count() == 0
    for name in ("a.png", "b.png", "c.txt"):
        (tmp_path / name).touch()
    assert files.count() == 2
    assert Files(tmp_path / "nowhere", ".png").count() == 0


def test_the_state_of_a_program(tmp_path):
    """What it was told to write comes first, then its own name, then any; old, damaged and final files do not count."""
    prefix, out = tmp_path / "told", tmp_path / "out"
    out.mkdir()
    (out / "x.complete.state").write_text(STATE)
    (out / "old.state").write_text(STATE)
    os.utime(out / "old.state", (1, 1))
    own = OwnState(prefix, [out, tmp_path / "nowhere"], "/any/.curve")
    assert own.read() is None
    (out / "a.state").write_text(STATE.replace("CURRENT_BATCH=2", "CURRENT_BATCH=1"))
    assert own.read().current_batch == 1
    (out / ".curve.state").write_text(STATE)
    assert own.read().current_batch == 2
    (tmp_path / "told.state").write_text("half")
    assert own.read().current_batch == 2
    (tmp_path / "told.state").write_text(STATE.replace("CURRENT_BATCH=2", "CURRENT_BATCH=3"))
    assert own.read().current_batch == 3


def own_state(path):
    return OwnState(path.with_suffix(""), [], None).read()


def metrics(path):
    with pytest.raises(PairError, match="no metrics"):
        read_metrics(path)


def rows(path):
    with pytest.raises(PairError, match="the results cannot be read"):
        list(CsvTable(path, "id", True).rows())


GUARDED = {
    "rows that are counted": lambda path: Lines(str(path), header=False).count(),
    "state": own_state,
    "metrics": metrics,
    "rows": rows,
}


@pytest.mark.parametrize("read", GUARDED.values(), ids=GUARDED)
def test_a_fifo_among_the_files_of_a_program_holds_nobody_up(tmp_path, read):
    """It is no file: nothing is read from it, and where something must be, that is an error."""
    os.mkfifo(tmp_path / "a.state")
    assert not read(tmp_path / "a.state")


def test_looking_costs_little(monkeypatch):
    """What takes long is done seldom."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    assert pace.due()
    now[0] = 1.0
    pace.done()
    now[0] = 20.0
    assert not pace.due()
    now[0] = 21.1
    assert pace.due()


def test_only_the_users_words_are_magic(tmp_path):
    """Brackets in the names of directories and models are no patterns; a relative template lies in the output."""
    out = tmp_path / "run [1]*"
    out.mkdir()
    for name in ("a_0.csv", "a_1.csv"):
        (out / name).touch()
    values = {"output": str(out), "low": "0"}
    assert [path.name for path in matching(located("a_{low}.csv", values))] == ["a_0.csv"]
    assert [path.name for path in matching(located("a_*.csv", values))] == ["a_0.csv", "a_1.csv"]
    assert [path.name for path in matching(located("{output}/a_{low}.csv", values))] == ["a_0.csv"]
    assert matching("") == []
    assert glob.escape(str(out)) in located("a_*.csv", values)


def test_times_of_files(tmp_path):
    """A file is old by the time of its inode, which nobody sets back; a clock that ticks is forgiven."""
    path = tmp_path / "a"
    path.touch()
    made = path.stat().st_ctime
    os.utime(path, (1, 1))
    assert not is_older(path, made + TICK_SECONDS / 2)
    assert is_older(path, path.stat().st_ctime + 1)
    assert not is_older(tmp_path / "nowhere", made)
