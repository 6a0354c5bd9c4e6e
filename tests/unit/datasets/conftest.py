from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pytest_evalrun.datasets import create_reader
from pytest_evalrun.suite.pairs import Dataset
from pytest_evalrun.suite.settings import Settings


class PlainHashes:
    """The protocol at its plainest: every question reads, derived facts are kept by content."""

    def __init__(self):
        self.facts = {}

    def file(self, path):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def tree(self, root, names):
        lines = sorted(f"{name}\0{self.file(Path(root) / name)}" for name in names)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def derived(self, path, kind, compute):
        key = (self.file(path), kind)
        if key not in self.facts:
            self.facts[key] = compute()
        return self.facts[key]


@pytest.fixture
def hashes():
    return PlainHashes()


@pytest.fixture
def read():
    """``read(path, **settings)``: the reader of a dataset that lies at path."""

    def make(path, root="/", **settings):
        return create_reader(Dataset("data", str(path)), Settings(**settings), str(root))

    return make
