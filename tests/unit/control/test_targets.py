"""A process is signalled only while it is the very one that was recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from pytest_evalrun.control import targets
from pytest_evalrun.control.targets import Target
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.rundir.processes import ProcessEntry, start_time

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, 1); print('up', flush=True); time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])"


@pytest.fixture(params=["pidfd", "kill"])
def way(request, monkeypatch):
    """Where the system has descriptors of processes, and where it has none."""
    if request.param == "kill":
        monkeypatch.setattr(targets, "_pidfd", lambda pid: None)


@pytest.fixture
def start():
    """Starts a program that has said that it is up."""
    started = []

    def start(code, **options):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)
        started.append(process)
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def entry_of(pid):
    return ProcessEntry(pid, os.getpgid(pid), start_time(pid))


@pytest.mark.usefixtures("way")
def test_it_ends_what_was_recorded(start):
    """SIGTERM, and a wait that ends when the process does, reaped or not."""
    process = start(SLEEPER)
    with Target(entry_of(process.pid)) as target:
        assert not target.wait(0.1)
        assert target.send(signal.SIGTERM)
        assert target.wait(30)
        assert not target.alive
        assert not target.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGTERM


@pytest.mark.usefixtures("way")
def test_a_pid_that_now_belongs_to_another_process_is_never_signalled(start):
    """The same PID, another start: the process lives on."""
    process = start(SLEEPER, start_new_session=True)
    for start_then in (1, None):
        with Target(replace(entry_of(process.pid), start_time=start_then)) as target:
            assert not target.alive
            assert not target.send(signal.SIGKILL)
            assert not target.send_group(signal.SIGKILL)
    assert process.poll() is None


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("pid", [0, -1, 2**22 + 7])
def test_no_pid_is_nobody(pid):
    """To signal 0 or -1 would be to signal a whole group, or everybody."""
    with Target(ProcessEntry(pid, pid, 1)) as target:
        assert not target.send(signal.SIGKILL)
        assert not target.send_group(signal.SIGKILL)


def test_a_group_goes_with_its_leader(start):
    """What a recorded leader has started dies too, even what ignores SIGTERM."""
    leader = start(PARENT, start_new_session=True)
    with Target(entry_of(leader.pid)) as target:
        assert target.leads
        assert target.send_group(signal.SIGKILL)
        assert target.wait(30)
    assert leader.stdout.read() == ""  # ends when the last process that holds it has


def test_the_group_of_another_is_left_alone(start):
    """Who leads no group, or shares ours, is signalled alone."""
    process = start(SLEEPER)
    with Target(entry_of(process.pid)) as target:
        assert not target.leads
        assert not target.send_group(signal.SIGKILL)
    with Target(ProcessEntry(os.getpgrp(), os.getpgrp(), start_time(os.getpgrp()))) as target:
        assert not target.leads
    assert process.poll() is None


def test_a_process_of_another_user_is_told(start, monkeypatch):
    """With the remedy."""
    process = start(SLEEPER)

    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(targets.Target, "_send", refused)
    with Target(entry_of(process.pid)) as target, pytest.raises(ConfigError, match="belongs to another user"):
        target.send(signal.SIGTERM)
