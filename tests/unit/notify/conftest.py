from __future__ import annotations

import time

import pytest

from pytest_evalrun.notify.protocol import Fact, Message


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Whatever proxy this host has, a test says itself whom it asks."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def message():
    """One of two facts, one of which has several lines."""
    facts = (Fact("verdict", ("PASSED: 2 pairs",)), Fact("worst gates", ("s/a/one: top1 0.5, min 0.9", "s/b/one")))
    return Message("end", "good", "PASSED: s (run)", facts)


@pytest.fixture
def soon():
    """A moment that is far enough away for whatever is on this machine."""
    return lambda seconds=30.0: time.monotonic() + seconds
