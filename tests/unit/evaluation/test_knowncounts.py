"""Samples are counted where somebody has read the data before, and nowhere else."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from pytest_evalrun.evaluation.cuts import DatasetFacts
from pytest_evalrun.evaluation.knowncounts import KnownCounts
from pytest_evalrun.rundir.hashes import HashCaches
from pytest_evalrun.suite.layers import Layer
from pytest_evalrun.suite.pairs import Dataset, Pair, Task


@pytest.fixture
def table(tmp_path):
    """Five rows, written long ago: what is new may change again unseen, and is not remembered."""
    file = tmp_path / "one.jsonl"
    file.write_text("".join(f'{{"x": {place}, "y": {place}}}\n' for place in range(5)))
    return file


def pair(table, **more):
    values = {"format": "jsonl", "inputs": ["x"], "reference": "y"} | more
    layers = (Layer("suite", "evalrun.yaml", values),)
    return Pair("letters", str(table.parent), Task("a", None, "/"), Dataset("one", str(table)), layers)


def count(db, one):
    with closing(KnownCounts(db)) as known:
        return known.count(one)


def test_what_was_read_is_known_until_it_changes(table, tmp_path, monkeypatch):
    """And nothing is read to find out more; a limit caps it."""
    db, one = tmp_path / "hashes.db", pair(table)
    assert count(db, one) is None
    assert not db.exists()
    monkeypatch.setattr("pytest_evalrun.rundir.hashes.settled", lambda *_: True)
    with closing(HashCaches(db, lambda _: None)) as caches:
        assert DatasetFacts(caches.of).count(one) == 5
    assert count(db, one) == 5
    assert count(db, pair(table, limit=3)) == 3
    os.utime(table, (1, 1))
    assert count(db, one) is None


def test_directories_are_not_walked(table, tmp_path):
    """There may be 100,000 files in one."""
    (tmp_path / "hashes.db").touch()
    assert count(tmp_path / "hashes.db", pair(table, format="images")) is None
