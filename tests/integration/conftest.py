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
