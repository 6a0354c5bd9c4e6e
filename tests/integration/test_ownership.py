"""Every process that a run starts is written down, ends with it however it ends, and nobody else's does."""

from __future__ import annotations

import json
import os
import signal

import pytest
from gpuhost import WITNESS, GpuHost, leases
from support import kill_alone, kill_group, wait_for

from pytest_evalrun.rundir.processes import start_time

SAMPLES = 200
# A model that talks, and starts a process that leaves its group and session.
BUSY = WITNESS.replace("import fcntl, os, time", "import fcntl, os, subprocess, sys, time").replace(
    "    def predict(self, batch):\n",
    "        subprocess.Popen(['sleep', '600'], start_new_session=True)\n\n"
    "    def predict(self, batch):\n"
    "        print('asked for', batch[0].id, os.environ.get('TOKEN'))\n"
    "        os.write(2, b'straight to the descriptor\\n')\n"
    "        if batch[0].index >= 4 and self.name == 'dies': os.kill(os.getpid(), 9)\n",
)


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = GpuHost(tmp_path, monkeypatch)
    host.nvml.gpus(80, 80)
    return host


def slow(host, models=("a",), **top):
    """Fifty batches a pair, two seconds long."""
    return host.make(models, samples=SAMPLES, code=BUSY, **{"params": {"delay": 0.04}} | top)


def predicted(project, name="a"):
    path = project.latest / f"predictions/echo/{name}/one.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def started(host, *args, **top):
    """A run in the middle of its pair."""
    project = slow(host, **top)
    process = project.start("evals", *args)
    wait_for(lambda: predicted(project) > 12, process=process)
    return project, process


def finished(process, code=0):
    output, _ = process.communicate(timeout=300)
    kill_group(process)
    assert process.returncode == code, output
    return output


def assert_undisturbed(host, project, name="a"):
    """All samples once and in order, a result, each GPU given back, nothing left."""
    lines = project.predictions(name, "one")
    assert [line["index"] for line in lines] == list(range(SAMPLES))
    assert all(line["status"] == "ok" and line["prediction"] == line["reference"] for line in lines)
    assert project.result(name, "one")["metrics"]["exact_match"]["value"] == 1
    wait_for(host.is_quiet)


def log(project, name="a", dataset="one"):
    return (project.latest / f"logs/infer/echo/{name}/{dataset}.log").read_text()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_model_whose_process_is_killed_is_loaded_again(host, workers):
    """It carries on where it was, with the same result; the worker does not even notice."""
    project, process = started(host, "-n", workers)
    ((_, pid, _),) = host.seen()
    os.kill(pid, signal.SIGKILL)
    output = finished(process)
    assert "1 passed" in output, output
    assert_undisturbed(host, project)
    assert len(host.seen()) == 2
    assert "was ended by SIGKILL" in log(project)
    assert "loading it again" in log(project)
    assert "worker_lost" not in [event["event"] for event in project.events()]
    taken, freed = leases(project.latest)
    assert taken == freed


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_model_whose_process_always_dies_is_an_error(host, workers):
    """That names the signal, and shows the last that it said; its sibling passes."""
    project = slow(host, ("dies", "a"), params={})
    ran = project.run("evals", "-n", workers)
    assert ran.code == 1, ran
    assert "1 passed, 1 error" in ran, ran
    assert "the process of model dies was ended by SIGKILL; the end of its output:" in ran, ran
    assert "asked for 4" in ran, ran
    assert [name for name, *_ in host.seen()].count("dies") == 2
    assert project.result("dies", "one")["status"] == "error"
    assert_undisturbed(host, project)


def worker_of(project, pair):
    for file in (project.latest / "processes").glob("gw*.jsonl"):
        for line in map(json.loads, file.read_text().splitlines()):
            if line["pair"] == pair:
                return int(json.loads(file.read_text().splitlines()[0])["pid"])
    return None


def test_a_worker_that_is_killed_leaves_nothing_behind(host):
    """Its model and what that started end at once, the GPU is free, the item runs again: same result and exit code."""
    project, process = started(host, "-n", "2")
    ((_, model, _),) = host.seen()
    worker = worker_of(project, "echo/a/one")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: model not in host.processes(), 10)
    output = finished(process)
    assert "1 passed" in output, output
    assert "running again (1 of 1)" in output, output
    assert_undisturbed(host, project)
    assert len(host.seen()) == 2


ENDS = ["SIGINT", "SIGTERM", "SIGKILL", "all"]


@pytest.mark.parametrize(("kill", "workers"), [*((kill, "1") for kill in ENDS), ("SIGINT", "0"), ("all", "0")])
def test_however_a_run_is_ended_nothing_is_left(host, kill, workers):
    """Ctrl-C, SIGTERM, kill -9 of the launching process or of its whole group: within seconds all has ended, the GPUs
    are free, and the next run carries on."""
    project, process = started(host, "-n", workers)
    assert host.held()
    if kill == "all":
        kill_group(process)
    elif kill == "SIGKILL":
        kill_alone(process)
    else:
        os.killpg(process.pid, signal.SIGINT) if kill == "SIGINT" else process.send_signal(signal.SIGTERM)
        finished(process, code=2)
        assert host.is_quiet(), (host.processes(), host.held())
    wait_for(host.is_quiet)
    before = predicted(project)
    ran = project.run("evals", "-n", workers, "--eval-set", "params.delay=0.04")
    assert ran.code == 0, ran
    assert before
    assert "resumed at" in ran, ran
    assert_undisturbed(host, project)


@pytest.mark.parametrize(("workers", "args"), [("0", ()), ("1", ()), ("1", ("-s",))])
def test_what_a_model_says_is_in_the_log_of_its_pair(host, workers, args, monkeypatch):
    """Live, in that of the second dataset too, which finds it loaded; secrets are blanked, on the terminal too."""
    monkeypatch.setenv("TOKEN", "swordfish-4711")
    project = host.make(("a",), ("one", "two"), samples=40, code=BUSY, params={"delay": 0.1}, env={"T": "${TOKEN}"})
    process = project.start("evals", "-n", workers, *args)
    path = project.latest / "logs/infer/echo/a/one.log"
    other = project.latest / "logs/infer/echo/a/two.log"
    wait_for(lambda: any(p.exists() and "asked for 0 ***" in p.read_text() for p in (path, other)), process=process)
    assert process.poll() is None
    output = finished(process)
    assert len(host.seen()) == 1
    for dataset in ("one", "two"):
        said = [line for line in log(project, dataset=dataset).splitlines() if line.startswith("asked for")]
        assert said == [f"asked for {first} ***" for first in range(0, 40, 4)]
        assert "straight to the descriptor" in log(project, dataset=dataset)
    assert ("asked for 36 ***" in output) == bool(args), output
    assert "swordfish" not in output
    assert not [p for p in project.workdir.rglob("*") if p.is_file() and b"swordfish" in p.read_bytes()]


def written_down(project):
    """The processes that the run knows: PID → group and start."""
    lines = [
        json.loads(line)
        for file in (project.latest / "processes").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    return {line["pid"]: (line["pgid"], line["start_time"]) for line in lines}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_every_process_is_written_down_while_it_runs(host, workers):
    """Workers, supervisors and models, each with its group and the moment of its start."""
    project, process = started(host, "-n", workers, models=("a", "b"))
    wait_for(lambda: len(host.seen()) == max(1, int(workers)), process=process)
    running = {pid for pid, command in host.processes().items() if "sleep" not in command}
    if workers != "0":
        running -= {process.pid}
    assert len(running) == 3 * max(1, int(workers))
    known = written_down(project)
    assert {pid: known.get(pid) for pid in running} == {pid: (os.getpgid(pid), start_time(pid)) for pid in running}
    finished(process)
    assert host.is_quiet()


BYSTANDERS = """
import signal, subprocess

def pytest_configure(config):
    # Of every process of the run, a child that is none of its models.
    config.bystander = subprocess.Popen(["sleep", "600"])

def pytest_unconfigure(config):
    assert config.bystander.poll() is None, "somebody ended a process that was not theirs to end"
    print("bystander lives")
    config.bystander.kill()
    config.bystander.wait()
"""


@pytest.mark.parametrize("gpus", [0, 1])
def test_nobody_elses_process_is_ended(host, gpus):
    """Not by time-outs, not by models that die, not by leaving."""
    project = host.make(("a", "b"), code=BUSY)
    (project.suite / "dies.bin").write_text("")
    models = [{"name": name, "path": f"{name}.bin"} for name in ("a", "dies")[: gpus + 1]]
    models += [{"name": "b", "path": "b.bin", "params": {"delay": 100}}]
    project.yaml((), ("one",), models=models, gpus=gpus, timeout=6)
    (project.root / "conftest.py").write_text(BYSTANDERS)
    ran = project.run("evals", "-n", "0")
    assert ran.code == 1, ran
    assert "bystander lives" in ran, ran
    assert f"1 passed, {gpus + 1} error" in ran, ran
