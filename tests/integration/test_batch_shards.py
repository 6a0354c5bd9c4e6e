"""Programs that are started once a batch, and several shards of one pair at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from boardsuite import BoardSuite
from sshd import Sshd
from support import Project

SAMPLES = 24


@pytest.mark.parametrize("adapter", ["command", "ssh"])
def test_tables_of_two_shards_are_not_one_file(tmp_path, monkeypatch, adapter):
    """Each shard reads what its own program wrote, however often all of them write a file of the same name."""
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))
    (tmp_path / "project").mkdir()
    with Sshd(tmp_path / "b1") as one, Sshd(tmp_path / "b2") as two:
        suite = BoardSuite(tmp_path / "project", [one, two], samples=SAMPLES)
        suite.write(adapter=adapter, shards=4, retries=0)
        ran = Project(suite.root).run("evals", "-n", "4")
        assert (ran.code, "5 passed" in ran) == (0, True), ran
        assert suite.predictions() == {f"{number}.txt": str(number) for number in range(SAMPLES)}
        assert suite.left() == []
