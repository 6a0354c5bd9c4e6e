from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


@pytest.fixture
def project(tmp_path):
    """An empty place for a suite of the test's own."""
    from support import Project

    return Project(tmp_path / "project")


@pytest.fixture(autouse=True)
def light_children(monkeypatch):
    """The pytests that a test starts do without hypothesis: it takes two thirds of the start of each process."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")


@pytest.fixture(autouse=True)
def unmeasured(request, monkeypatch):
    """Where a module starts hundreds of processes that do what those of others do, coverage would see nothing new."""
    if request.node.get_closest_marker("unmeasured"):
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """So many boards that run, with a home each.

    Neither the agent nor the keys of whoever runs the tests open a door, and no lease is anybody else's.
    """
    from sshd import Sshd

    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))
    with ExitStack() as stack:
        yield lambda count=1, **how: [
            stack.enter_context(Sshd(tmp_path / f"b{number}", **how)) for number in range(1, count + 1)
        ]
