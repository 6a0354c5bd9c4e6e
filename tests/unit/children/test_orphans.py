"""Whose a child of this process is, is told by when it came."""

from __future__ import annotations

import itertools
import queue
import subprocess
import sys
import threading
from contextlib import contextmanager

import psutil
import pytest

from pytest_evalrun.children import orphans
from pytest_evalrun.children.orphans import OrphanProcesses, children

FAMILY = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"


@contextmanager
def sleeper(*argv, **options):
    process = subprocess.Popen(argv or ("sleep", "600"), **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_was_started_at_work_ends_with_its_children():
    """In the stretch at hand and in those before it; each is told before it is ended."""
    mine, told = OrphanProcesses(), []
    with mine.working():
        first = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
        grandchild = int(first.stdout.readline())
        first.stdout.close()
    with mine.working():
        second = subprocess.Popen(["sleep", "600"])
        mine.end(lambda pid: told.append((pid, psutil.pid_exists(pid))))
    assert {pid for pid, lived in told if lived} == {first.pid, grandchild, second.pid}
    assert first.poll() is not None
    assert second.poll() is not None
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_what_others_started_stays():
    """Before, between and after, however close in time."""
    mine = OrphanProcesses()
    with sleeper() as before:
        with mine.working():
            pass
        with sleeper() as between:
            with mine.working():
                mine.end(lambda pid: None)
            with sleeper() as after:
                mine.end(lambda pid: None)
                assert [process.poll() for process in (before, between, after)] == [None] * 3


def test_supervisors_are_left_alone(monkeypatch):
    """They end their programs themselves, and are kept for the next one."""
    mine = OrphanProcesses()
    with mine.working(), sleeper() as supervisor:
        monkeypatch.setattr(orphans, "supervisors", lambda: {supervisor.pid})
        mine.end(lambda pid: None)
        assert supervisor.poll() is None


def test_who_ignores_the_request_is_killed(monkeypatch):
    """After the grace."""
    monkeypatch.setattr(orphans, "GRACE_SECONDS", 0.2)
    mine = OrphanProcesses()
    words = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with mine.working(), sleeper(sys.executable, "-c", words, stdout=subprocess.PIPE) as stubborn:
        stubborn.stdout.readline()
        stubborn.stdout.close()
        mine.end(lambda pid: None)
        assert stubborn.poll() is not None


@pytest.mark.parametrize("linux", [True, False])
def test_children_of_every_thread_are_seen(monkeypatch, tmp_path, linux):
    """Where the system does not list them by thread, psutil does."""
    if not linux:
        monkeypatch.setattr(orphans, "_THREADS", tmp_path / "none")
    started, done = queue.SimpleQueue(), threading.Event()

    def start():
        started.put(subprocess.Popen(["sleep", "600"]))
        done.wait(60)

    thread = threading.Thread(target=start)
    thread.start()
    with started.get(timeout=60) as other:
        try:
            with sleeper() as own:
                assert {own.pid, other.pid} <= children()
            done.set()
            thread.join()
            assert other.pid in children()
        finally:
            done.set()
            other.kill()
    assert other.pid not in children()


def test_a_child_that_changes_threads_is_seen(monkeypatch, tmp_path):
    """A thread that ends while the others are looked at hands its children on to one that was read before."""
    monkeypatch.setattr(orphans, "_THREADS", tmp_path)
    for thread in ("1", "2"):
        (tmp_path / thread).mkdir()
    looks = iter([[], [], [7], [], [7], []])
    monkeypatch.setattr(orphans, "_children_of", lambda thread: next(looks))
    assert children() == {7}


def test_children_that_never_settle_are_listed_by_psutil(monkeypatch):
    """Nobody waits for ever for two looks that agree."""
    pids = itertools.count(1)
    monkeypatch.setattr(orphans, "_children_of", lambda thread: [next(pids)])
    with sleeper() as own:
        assert own.pid in children()
