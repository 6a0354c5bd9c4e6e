"""Jobs on a real Ray: how they are asked for, how they end, and who is told apart from whom."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from pytest_evalrun.engines import rayjobs
from pytest_evalrun.engines.protocol import ClusterAway, Handle, Job, Phase, Resources
from pytest_evalrun.engines.ray import RayEngine
from pytest_evalrun.errors import ConfigError
from pytest_evalrun.suite.clusters import ClusterWords

NUMBERS = count()
LITTLE = Resources(custom=(("CPU", 0.1),))
BOARD = Resources(custom=(("board", 1.0),))
SECRET = "hf_0123456789abcdef"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    for name in rayjobs.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def engine(rayhost, tmp_path):
    return RayEngine(ClusterWords("ray", ray=rayhost.address), tmp_path)


@pytest.fixture
def a_job(tmp_path):
    """Write the script of a job: ``a_job("exit 3")``."""

    def made(text, resources=LITTLE, **environment):
        directory = tmp_path / f"a unit's {next(NUMBERS)}"
        directory.mkdir()
        script = directory / "job.sh"
        script.write_text(text)
        name = f"evalrun-{os.getpid()}-{next(NUMBERS)}"
        return Job(name, f"title of {name}", script, directory / "job.log", resources, environment=environment)

    return made


def until_over(engine, rayhost, handle):
    """The state of a job once it has ended."""
    return rayhost.until(lambda: (state := engine.poll([handle])[handle]).phase.is_end and state)


def test_a_job_runs_to_its_end_and_its_file_has_all_that_it_said_once(engine, rayhost, a_job):
    """A job goes through waiting and running to its end, and what its script says is in its log once, nothing else."""
    job = a_job('echo out; echo "$GIVEN" >&2; echo "${KEPT-unset}"', GIVEN="a 'word'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEPT", "here")
        engine.check([job])
        [handle] = engine.submit([job], 1)
        state = until_over(engine, rayhost, handle)
    assert handle == Handle(job.name, job.name)
    assert (state.phase, state.code, state.node) == (Phase.DONE, 0, "127.0.0.1")
    assert job.log.read_text() == "out\na 'word'\nunset\n"


OF_ITSELF = "Job entrypoint command failed with exit code"


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        pytest.param("echo x; exit 3", 3, f"{OF_ITSELF} 3", id="its own code"),
        pytest.param("kill -9 $$", -9, f"{OF_ITSELF} -9", id="killed"),
        pytest.param("bash -c 'kill -9 $$'; exit $?", -9, f"{OF_ITSELF} 137", id="killed inside"),
        pytest.param("kill -9 $PPID; sleep 60", None, "its worker process has died", id="Ray's process of it killed"),
    ],
)
def test_a_job_that_fails_says_how(engine, rayhost, a_job, text, code, reason):
    """What ended by itself or by a signal has failed, with its code and Ray's words."""
    [handle] = engine.submit([a_job(text)], 1)
    state = until_over(engine, rayhost, handle)
    assert (state.phase, state.code) == (Phase.FAILED, code)
    assert reason in state.reason and "\n" not in state.reason and len(state.reason) < 300


def test_a_directory_that_the_machine_does_not_see_is_named(engine, rayhost, a_job):
    """Where a job cannot even begin, the reason is what the shell said there."""
    job = a_job("true")
    [handle] = engine.submit([replace(job, log=Path("/nowhere/job.log"))], 1)
    state = until_over(engine, rayhost, handle)
    assert state.phase is Phase.FAILED and "/nowhere/job.log" in state.reason


def test_jobs_get_what_they_ask_for_and_wait_where_it_is_taken(engine, rayhost, a_job, tmp_path):
    """A job sees its GPUs and no others, one that asks for none sees none; what is taken is waited for, as Ray says."""
    gate = tmp_path / "gate"
    gpus = [a_job('echo "gpus=${CUDA_VISIBLE_DEVICES-all}"', Resources(gpus=number)) for number in (2, 0)]
    boards = [a_job(f"until [ -e {shlex.quote(str(gate))} ]; do sleep 0.1; done", BOARD) for _ in range(3)]
    seeing = engine.submit(gpus, 2)
    assert [until_over(engine, rayhost, handle).phase for handle in seeing] == [Phase.DONE, Phase.DONE]
    assert [job.log.read_text() for job in gpus] == ["gpus=0,1\n", "gpus=\n"]
    handles = engine.submit(boards, 3)

    def two_run():
        states = list(engine.poll(handles).values())
        return states if [state.phase for state in states].count(Phase.RUNNING) == 2 else None

    [waiting] = [state for state in rayhost.until(two_run) if state.phase is not Phase.RUNNING]
    assert waiting.phase is Phase.WAITING and "waiting for resources" in waiting.reason
    gate.touch()
    assert [until_over(engine, rayhost, handle).phase for handle in handles] == [Phase.DONE] * 3


def test_a_job_that_is_stopped_has_time_to_end(engine, rayhost, a_job):
    """Cancelled jobs get SIGTERM and longer than Ray's three seconds; those that wait count as cancelled at once."""
    gentle = a_job("trap 'sleep 4; echo kept; exit 75' TERM; echo begun; while true; do sleep 0.1; done")
    waiting = a_job("true", Resources(custom=(("no_such_thing", 1.0),)))
    over = a_job("true")
    handles = engine.submit([gentle, waiting, over], 3)
    until_over(engine, rayhost, handles[2])
    rayhost.until(lambda: gentle.log.exists() and "begun" in gentle.log.read_text())
    engine.cancel([*handles, Handle("nobody", "nobody")])
    assert engine.poll(handles)[handles[1]].phase is Phase.CANCELLED
    assert until_over(engine, rayhost, handles[0]).phase is Phase.CANCELLED
    assert gentle.log.read_text().splitlines()[-1] == "kept"
    assert engine.poll(handles)[handles[2]].phase is Phase.DONE


@pytest.mark.parametrize("announced", [False, True], ids=["power cut", "preempted"])
def test_a_machine_that_goes_away_is_no_fault_of_the_job(engine, rayhost, a_job, announced):
    """Jobs whose machine died are lost, those whose machine Ray was told to give back are preempted."""
    machine = rayhost.add_machine(resources={"doomed": 1})
    job = a_job("echo begun; sleep 600", Resources(custom=(("doomed", 1.0),)))
    [handle] = engine.submit([job], 1)
    rayhost.until(lambda: job.log.exists() and job.log.read_text())
    if announced:
        rayhost.announce(machine)
    rayhost.lose(machine)
    state = until_over(engine, rayhost, handle)
    assert state.phase is (Phase.PREEMPTED if announced else Phase.LOST)
    assert "node" in state.reason and state.code is None


def test_what_no_machine_has_is_refused_before_anything_is_submitted(engine, rayhost, a_job):
    """More GPUs than any machine has are an error that says what they have."""
    with pytest.raises(ConfigError) as refused:
        engine.check([a_job("true"), a_job("true", Resources(gpus=3))])
    assert "no machine of http://127.0.0.1:8265 has 1 CPU and 3 GPU at once" in str(refused.value)
    assert "0 CPU and 0 GPU; 2 CPU and 2 GPU" in str(refused.value)


def test_a_job_is_found_by_its_name_and_never_runs_twice(engine, rayhost, a_job):
    """A job whose submission was not noted is found, submitted again it is the same, and unknown ones are gone."""
    job = a_job("echo once")
    [handle] = engine.submit([job], 1)
    until_over(engine, rayhost, handle)
    assert engine.submit([job], 1) == [handle]
    assert engine.find([job.name, "nobody"]) == [handle]
    nobody = Handle("nobody", "nobody")
    for engine._listed in (0, 10_000):
        states = engine.poll([handle, nobody])
        assert [states[one].phase for one in (handle, nobody)] == [Phase.DONE, Phase.GONE]
    assert job.log.read_text() == "once\n"


def test_the_preview_is_the_command(engine, rayhost, a_job, tmp_path):
    """The lines that are shown submit the very jobs, and tell no secret; nothing lies in a file."""
    needs = Resources(gpus=1, custom=(("CPU", 0.5), ("board", 1.0), ("memory", 1e6)))
    jobs = [a_job('echo "${#TOKEN} $CUDA_VISIBLE_DEVICES"', needs, TOKEN=SECRET) for _ in range(2)]
    shown = engine.preview(jobs, 1)
    assert SECRET not in shown
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", shown], check=True, env=os.environ | {"PATH": path, "TOKEN": SECRET})
    handles = engine.find([job.name for job in jobs])
    assert [until_over(engine, rayhost, handle).phase for handle in handles] == [Phase.DONE] * 2
    assert {job.log.read_text() for job in jobs} <= {f"{len(SECRET)} 0\n", f"{len(SECRET)} 1\n"}
    engine.submit([replace(job, name=f"{job.name}-again") for job in jobs], 2)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and SECRET in file.read_text()]


class Door:
    """A way to a server that can be shut, or let nothing through."""

    def __init__(self, address):
        host, _, port = address.rpartition("/")[2].partition(":")
        self._to = host, int(port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._kept = []
        self.address = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.silent = False
        self.shut = False
        threading.Thread(target=self._let_in, daemon=True).start()

    def _let_in(self):
        while True:
            inside, _ = self._door.accept()
            if self.shut:
                inside.close()
            elif self.silent:
                self._kept.append(inside)
            else:
                outside = socket.create_connection(self._to)
                for source, target in ((inside, outside), (outside, inside)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source, target):
        with suppress(OSError), target:
            while data := source.recv(65536):
                target.sendall(data)


@contextmanager
def away():
    with pytest.raises(ClusterAway, match=r"Ray at http://127\.0\.0\.1:\d+ does not answer: "):
        yield


def test_a_cluster_that_goes_away_is_waited_for(rayhost, a_job, tmp_path, monkeypatch):
    """Once it was there, a cluster that is shut or silent is only away, whatever it is asked; it is found again."""
    door = Door(rayhost.address)
    engine = RayEngine(ClusterWords("ray", ray=door.address), tmp_path)
    job = a_job("echo x")
    [handle] = engine.submit([job], 1)
    for fault in ("shut", "silent"):
        setattr(door, fault, True)
        monkeypatch.setattr(rayjobs, "ANSWER_SECONDS", 0.5)
        for ask in (
            lambda: engine.poll([handle]),
            lambda: engine.cancel([handle]),
            lambda: engine.submit([job], 1),
            lambda: engine.find([job.name]),
        ):
            with away():
                ask()
        setattr(door, fault, False)
        monkeypatch.undo()
    assert until_over(engine, rayhost, handle).phase is Phase.DONE


@pytest.mark.parametrize("silent", [False, True], ids=["nobody there", "no answer"])
def test_no_cluster_at_the_start_is_an_error(silent, rayhost, tmp_path, monkeypatch):
    """A cluster that is not there when first asked is an error that says where it was looked for and how to name it."""
    monkeypatch.setattr(rayjobs, "ANSWER_SECONDS", 0.5)
    door = Door(rayhost.address)
    door.silent, door.shut = silent, not silent
    engine = RayEngine(ClusterWords("ray", ray=door.address), tmp_path)
    with pytest.raises(ConfigError, match=f"found no cluster at {door.address}: .*--eval-ray-address http://HEAD:8265"):
        engine.find(["x"])


def test_the_option_beats_the_environment(rayhost, a_job, tmp_path, monkeypatch):
    """Ray's own functions follow RAY_ADDRESS first; a launch follows its option, and what Ray reads stays as it was."""
    wrong = "http://127.0.0.1:9"
    monkeypatch.setenv("RAY_ADDRESS", wrong)
    engine = RayEngine(ClusterWords("ray", ray=rayhost.address), tmp_path)
    engine.check([a_job("true")])
    assert engine.find(["nobody"]) == []
    assert os.environ["RAY_ADDRESS"] == wrong and "RAY_API_SERVER_ADDRESS" not in os.environ
    monkeypatch.setenv("RAY_ADDRESS", rayhost.address)
    assert RayEngine(ClusterWords("ray"), tmp_path).find(["nobody"]) == []


def test_an_address_of_no_kind_is_named(tmp_path):
    """What Ray itself says of an address is in the error."""
    with pytest.raises(ConfigError, match=r"at nonsense://x: Module: nonsense does not exist\. .*; accepted: where"):
        RayEngine(ClusterWords("ray", ray="nonsense://x"), tmp_path).find(["x"])
