"""Stopping a run, over processes that are real and sessions written by hand."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from pytest_evalrun.control import stop
from pytest_evalrun.control.stop import stop_run
from pytest_evalrun.errors import ConfigError, RunBusy
from pytest_evalrun.rundir.processes import ProcessLog, start_time

# Holds the lock of the run like a session; what SIGTERM does is up to the test.
HOLDER = """
import fcntl, signal, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
count = open(sys.argv[2], "a")
def told(*_):
    count.write("TERM\\n"); count.flush()
    {then}
signal.signal(signal.SIGTERM, told)
print("up", flush=True)
while True:
    time.sleep(0.05)
"""
RUNNING = "*s/a|psnr|1\n-one|1\n*s/b||1\n-one|3\n+summary|2|2\n"


class Run:
    """A run of which a process of ours is the session."""

    def __init__(self, found) -> None:
        self.found = found
        self.paths = found.paths
        self.said: list[str] = []
        self.started: list[subprocess.Popen[str]] = []
        self.told = self.paths.root / "told"
        self.paths.main_pid.write_text("1\n")

    def holder(self, then="sys.exit(0)", **info):
        process = self.start(HOLDER.format(then=then), self.paths.session_lock, self.told)
        self.session(process.pid, **info)
        return process

    def start(self, code, *args, **options):
        command = [sys.executable, "-c", code, *map(str, args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        self.started.append(process)
        assert process.stdout.readline() == "up\n"
        return process

    def session(self, pid, **info):
        content = {"format": 1, "run_id": "r", "pid": pid, "start_time": start_time(pid), "host": socket.gethostname()}
        content |= {"boot_id": "b", "argv": ["/bin/pytest", "evals", "-n", "2"], "started": "2026-11-21T10:30:15Z"}
        self.paths.session_json.write_text(json.dumps(content | info))

    def stop(self, grace=20.0):
        stop_run(self.found.workdir, self.paths, grace, self.said.append)
        return "\n".join(self.said)

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def run(place):
    run = Run(place.run(states=RUNNING))
    yield run
    run.close()


def test_a_session_is_ended_and_tidied_up_after(run):
    """SIGTERM to the main process, running becomes pending, process files go, and it says so."""
    process = run.holder()
    said = run.stop()
    assert process.wait(30) == 0
    assert f"SIGTERM to process {process.pid} (pytest evals -n 2)" in said
    assert "it ended after" in said
    assert "1 running pair is pending now" in said
    assert "removed .main_pid" in said
    assert said.endswith("carry on with: pytest evals -n 2")
    assert run.paths.task_list.read_text() == RUNNING.replace("one|1", "one|0")
    assert "stopped by" in run.paths.main_log.read_text()


def test_a_run_that_is_not_the_latest_is_carried_on_by_its_name(run, place):
    """Else the command would go on with another one."""
    run.holder()
    (place.workdir / "latest").unlink()
    assert run.stop().endswith("carry on with: pytest evals -n 2 --eval-run 20261121_103015")


def test_who_ignores_sigterm_is_killed_after_the_grace(run):
    """And not before."""
    process = run.holder(then="pass")
    said = run.stop(grace=0.5)
    assert process.wait(30) == -signal.SIGKILL
    assert "it did not end within 0.5 s: SIGKILL" in said
    assert run.told.read_text() == "TERM\n"


def test_every_recorded_process_goes_and_what_it_leads(run, monkeypatch):
    """A child that ignores SIGTERM, and the children of a supervisor with a session of its own."""
    monkeypatch.setattr(stop, "LINGER", 0.3)
    run.holder(then="pass")
    stubborn = "import signal, time; signal.signal(15, 1); print('up', flush=True); time.sleep(600)"
    child = run.start(stubborn)
    nested = (
        f"import signal, subprocess, sys; signal.signal(15, 1); subprocess.run([sys.executable, '-c', {stubborn!r}])"
    )
    leader = run.start(nested, start_new_session=True)
    stranger = run.start(stubborn)
    log = ProcessLog(run.paths.processes("gw0"))
    log.add(child.pid, "s/a/one")
    log.add(leader.pid)
    log.close()
    with run.paths.processes("gw0").open("a") as file:
        file.write(json.dumps({"pid": stranger.pid, "pgid": stranger.pid, "start_time": 1, "pair": None}) + "\n{torn")
    said = run.stop(grace=0.2)
    assert child.wait(30) == leader.wait(30) == -signal.SIGKILL
    assert leader.stdout.read() == ""  # ends when its child is gone too
    assert f"{child.pid} (s/a/one)" in said
    assert stranger.poll() is None, "another process with the PID of an old one"


def test_root_ends_nothing_that_is_not_the_users_whose_run_it_is(run, monkeypatch):
    """Who can write a run's files can name any process in them: root is no tool to end it."""
    process = run.holder()
    helper = run.start("import time; print('up', flush=True); time.sleep(600)")
    log = ProcessLog(run.paths.processes("gw0"))
    log.add(helper.pid)
    log.close()
    user = os.getuid()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(stop, "_owner", lambda paths: user + 1)
    with pytest.raises(ConfigError, match=f"names process {process.pid}, which is not of the user whose run this is"):
        run.stop()
    assert process.poll() is None
    process.kill()
    process.wait()
    run.stop()
    assert helper.poll() is None


def test_stopping_a_stopped_run_says_so(run):
    """Twice is once; the second changes nothing."""
    run.holder()
    run.stop()
    run.said.clear()
    run.session(1, ended="2026-11-21T11:00:00Z", start_time=1)
    assert run.stop() == f"{run.found.name} is not running: its last session ended 2026-11-21T11:00:00Z"


def test_a_killed_session_leaves_work_for_stop(run):
    """Running becomes pending although there is nobody left to end."""
    process = run.holder()
    process.kill()
    process.wait()
    said = run.stop()
    assert "SIGTERM" not in said
    assert "1 running pair is pending now" in said
    run.said.clear()
    assert "was killed" in run.stop()


def test_a_pid_that_belongs_to_another_process_now_is_spared(run):
    """The session is dead, whoever has its PID."""
    process = run.start("import time; print('up', flush=True); time.sleep(600)")
    run.session(process.pid, start_time=1)
    assert "SIGTERM" not in run.stop()
    assert process.poll() is None


@pytest.mark.parametrize("held", [True, False])
def test_a_run_on_another_host_is_stopped_there(run, held):
    """It says which; nothing is changed."""
    if held:
        run.holder()
    run.session(2**22 + 7, host="gpu-17", start_time=1)
    with pytest.raises(ConfigError, match=r"host gpu-17 .*`evalrun stop 20261121_103015` there"):
        run.stop()
    assert run.paths.task_list.read_text() == RUNNING
    assert run.paths.main_pid.exists()


def test_a_live_run_whose_process_is_not_ours_is_told(run):
    """Another container of the same name, for one: its PID means nothing here."""
    run.holder(start_time=1)
    with pytest.raises(RunBusy, match="another container"):
        run.stop()


@pytest.mark.parametrize("content", [None, "{torn"])
def test_a_session_that_does_not_name_itself_is_not_guessed(run, content):
    """Without session.json nobody knows which process has the lock."""
    run.holder()
    run.paths.session_json.unlink()
    if content:
        run.paths.session_json.write_text(content)
    with pytest.raises(RunBusy, match="missing or damaged"):
        run.stop(grace=0)


def test_a_session_that_only_begins_is_waited_for(run):
    """The old one's record lies there for a moment longer; it is not taken for the new one's."""
    process = run.holder(ended="2026-11-21T09:00:00Z")
    late = threading.Timer(0.3, lambda: run.session(process.pid))
    late.start()
    assert f"SIGTERM to process {process.pid}" in run.stop()
    late.join()


def test_two_at_once_send_one_signal(run):
    """A second SIGTERM would cut short the end that the first began."""
    process = run.holder(then="time.sleep(1); sys.exit(0)")
    others = [threading.Thread(target=run.stop) for _ in range(3)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(60)
    assert process.wait(30) == 0
    assert run.told.read_text() == "TERM\n"
    assert sum("is not running" in line for line in run.said) == 2


def test_a_kernel_that_ran_an_evaluation_lives_on(run):
    """pytest.main() in a notebook records the notebook; its run is over, and it is nobody's child."""
    process = run.start("import time; print('up', flush=True); time.sleep(600)", start_new_session=True)
    ProcessLog(run.paths.processes("main")).add(process.pid)
    run.session(1, start_time=1, ended="2026-11-21T11:00:00Z")
    run.stop()
    assert process.poll() is None


def test_stragglers_of_an_ended_session_are_ended(run):
    """A worker that still holds its part of the lock still writes."""
    straggler = run.start(HOLDER.format(then="sys.exit(0)"), run.paths.members_lock, run.told)
    ProcessLog(run.paths.processes("gw0")).add(straggler.pid)
    run.session(1, start_time=1, ended="2026-11-21T11:00:00Z")
    assert f"SIGTERM to 1 more: {straggler.pid}" in run.stop()
    assert straggler.wait(30) == 0


def test_a_launch_that_came_in_between_is_not_tidied_away(run, monkeypatch):
    """Whoever has the run now keeps its own files."""
    process = run.holder()
    real = stop._main

    def main(*args):
        ended = real(*args)
        run.holder()
        return ended

    monkeypatch.setattr(stop, "_main", main)
    run.stop()
    assert process.wait(30) == 0
    assert run.paths.main_pid.exists()
    assert run.paths.task_list.read_text() == RUNNING


def test_who_does_not_even_die_is_named(run, monkeypatch):
    """A process that waits for a dead disk; there is a remedy to look at."""
    monkeypatch.setattr(stop, "KILLED", 0.1)
    monkeypatch.setattr(stop.Target, "_send", lambda *_: None)
    run.holder()
    with pytest.raises(ConfigError, match="does not die"):
        run.stop(grace=0.1)


def test_a_damaged_task_list_is_told(run):
    """It is left to the next launch."""
    run.holder()
    run.paths.task_list.write_text("torn")
    assert "is damaged; the next launch makes it again" in run.stop()


def test_a_file_system_that_locks_no_directories_is_no_reason_not_to_stop(run, monkeypatch):
    """NFS, for one."""
    real = fcntl.flock

    def flock(fd, how):
        if how == fcntl.LOCK_EX and os.path.isdir(f"/dev/fd/{fd}"):  # noqa: PTH112
            raise OSError(9, "Bad file descriptor")
        return real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    process = run.holder()
    before = time.monotonic()
    run.stop()
    assert process.wait(30) == 0
    assert time.monotonic() - before < 30
