from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def project(tmp_path):
    """An empty place for a suite of the test's own."""
    from support import Project

    return Project(tmp_path / "project")


@pytest.fixture(autouse=True)
def light_children(monkeypatch):
    """The pytests that a test starts do without hypothesis: it takes two thirds of the start of each process."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
