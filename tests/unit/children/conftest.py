"""Real programs, and what a test must know of processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pytest_evalrun.children import handle
from pytest_evalrun.children.process import Child
from pytest_evalrun.rundir.processes import start_time

LINUX = sys.platform == "linux"


@pytest.fixture(autouse=True, scope="session")
def measured():
    """Where coverage is measured the supervisor is too, which the bare interpreter would not allow."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("COVERAGE_PROCESS_CONFIG") or os.environ.get("COVERAGE_PROCESS_START"):
            patch.setattr(handle, "BARE", ())
        yield
        handle.close_idle()


@pytest.fixture
def wait_until():
    """Polls until a condition is true; fails loudly when it never is."""

    def wait(condition, seconds=120.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.005)
        raise AssertionError("it never happened")

    return wait


@pytest.fixture
def lives():
    """Whether a PID is a process that has not ended, reaped or not."""
    return lambda pid: start_time(pid) is not None


class Started:
    """Starts programs, keeps what they write and who was started, and ends them with the test."""

    def __init__(self):
        self.output = bytearray()
        self.pids = []
        self._children = []

    def __call__(self, *argv, **more):
        options = {
            "env": os.environ,
            "cwd": None,
            "output": self.output.extend,
            "started": self.pids.append,
            "stdin": True,
            "stdout": "protocol",
        }
        child = Child(argv, **(options | more))
        self._children.append(child)
        return child

    def shell(self, script, **more):
        return self("/bin/sh", "-c", script, **more)

    def python(self, script, **more):
        return self(sys.executable, "-c", script, **more)

    def end(self):
        for child in self._children:
            child.end(0)


@pytest.fixture
def start():
    started = Started()
    yield started
    started.end()


@pytest.fixture
def number_in(wait_until):
    """The number that a program writes to a file, once it is there."""

    def read(path):
        return wait_until(lambda: Path(path).exists() and int((Path(path).read_text() or "0").strip() or 0))

    return read
