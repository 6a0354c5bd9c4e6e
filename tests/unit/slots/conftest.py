from __future__ import annotations

import sys
from pathlib import Path

import pytest

# nvml.py, which the integration tests use as well, and hosts.py beside this file
sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]


@pytest.fixture
def host(tmp_path):
    """A host with GPUs that a test makes, and processes on it that a test starts."""
    from hosts import Host

    with Host(tmp_path) as host:
        yield host
