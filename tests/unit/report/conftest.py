"""Runs written by hand, for reports to be made of."""

from __future__ import annotations

import pytest
from handmade import HandMadeRun, metric


def breach(name, value=0.5, limit=0.9):
    return {"metric": name, "kind": "min", "value": value, "limit": limit, "by": limit - value, "holds": False}


@pytest.fixture
def run(tmp_path):
    return HandMadeRun(tmp_path / "outputs" / "run 1")


@pytest.fixture(name="breach")
def breach_fixture():
    return breach


@pytest.fixture(name="metric")
def metric_fixture():
    return metric


@pytest.fixture
def present():
    """Nothing is gone."""
    return lambda *_: False
