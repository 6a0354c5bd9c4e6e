"""The fixture `device`: a board for a test's own use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from boardsuite import BoardSuite
from sshd import Sshd
from support import Project

TESTS = """
import time

def test_has_a_board(pair, device, tmp_path_factory):
    assert device.run("echo", "it's $(me)").text == "it's $(me)\\n"
    place = device.run("sh", "-c", "echo $HOME").text.strip()
    assert device.run("mkdir", f"{place}/only-one").code == 0, "nobody else has it meanwhile"
    time.sleep(0.2)
    assert device.run("rmdir", f"{place}/only-one").code == 0

def test_after_its_pair(evaluation, device):
    assert evaluation.metrics == {}
    assert device.name == "b1"
"""


@pytest.mark.parametrize("workers", ["0", "3"])
def test_a_test_has_a_board_alone(tmp_path, workers, monkeypatch):
    """It is leased for the test and given back; the model of its own pair makes room for it."""
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))
    (tmp_path / "project").mkdir()
    with Sshd(tmp_path / "b1") as board:
        suite = BoardSuite(tmp_path / "project", [board], datasets=3)
        (suite.evals / "test_own.py").write_text(TESTS)
        ran = Project(suite.root).run("evals", "-n", workers)
        assert (ran.code, "9 passed" in ran) == (0, True), ran
        taken, freed = suite.events("slot_taken"), suite.events("slot_freed")
        assert len(taken) == len(freed)
        assert suite.left() == []


def test_without_a_board_the_test_says_so(tmp_path):
    """A suite without devices has none to give."""
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "evalrun.yaml").write_text("models: [{name: m}]\ndatasets: [{path: d.csv}]\nformat: csv\n")
    (tmp_path / "evals" / "d.csv").write_text("id,x\n0,1\n")
    (tmp_path / "evals" / "test_own.py").write_text("def test_it(pair, device): pass\n")
    ran = Project(tmp_path).run("evals", "-n", "0")
    assert "there is no device; write `devices:` into the suite" in ran, ran
    assert ran.code == 1
