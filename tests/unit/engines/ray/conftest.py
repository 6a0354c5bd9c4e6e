"""Tests that need the extra ``ray``, in a network namespace, as tox runs them: tests/rayhost.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rayhost import RayHost

# support.py, for whole launches
sys.path.insert(0, str(Path(__file__).parents[3] / "integration"))


@pytest.fixture(scope="session")
def rayhost():
    """A cluster of a head and two machines, each with two cores, two GPUs and a board."""
    host = RayHost()
    try:
        host.add_machine()
        host.add_machine()
        yield host
    finally:
        host.close()
