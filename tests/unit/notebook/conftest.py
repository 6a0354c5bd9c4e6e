"""A run written by hand, and the same as a notebook sees it."""

from __future__ import annotations

import pytest
from handmade import HandMadeRun

from pytest_evalrun.notebook.run import load


@pytest.fixture
def hand(tmp_path):
    """An empty run called ``run1``, which is the latest."""
    made = HandMadeRun(tmp_path / "outputs" / "run1")
    (tmp_path / "outputs" / "latest").symlink_to("run1")
    return made


@pytest.fixture
def run(hand):
    """The run that ``hand`` writes."""
    return load(workdir=hand.paths.root.parent)
