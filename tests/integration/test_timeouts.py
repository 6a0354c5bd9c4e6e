"""A limit for an item: what hangs is an ERROR with its stacks in its log, its processes are ended, the others go on."""

from __future__ import annotations

import pytest
from gpuhost import GpuHost

HANGS = """
import ctypes, os, subprocess, time
from pathlib import Path

def lock_twice(library):
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)

def swallow():
    try:
        time.sleep(100)
    except Exception:
        pass

def swallow_all():
    while True:
        try:
            time.sleep(100)
        except:
            pass

def swallow_once():
    try:
        time.sleep(100)
    except BaseException:
        pass

def in_a_process():
    with open(os.environ["STARTED"], "w") as file:
        child = subprocess.Popen(["sleep", "600"])
        file.write(str(child.pid))
    child.wait()

HANG = {
    "sleeps": lambda: time.sleep(100),
    "swallows": swallow,
    "swallows_once": swallow_once,
    "swallows_all": swallow_all,
    "native": lambda: lock_twice(ctypes.CDLL(None)),
    "keeps": lambda: lock_twice(ctypes.PyDLL(None)),
    "process": in_a_process,
}

class Model:
    def __init__(self, path):
        self.name = Path(path).stem
        print("model in process", os.getpid())

    def load(self):
        if self.name == "load":
            time.sleep(100)

    def predict(self, batch):
        if hang := HANG.get(self.name):
            if batch[0].index:
                hang_here(hang)
        return [sample.input for sample in batch]

def hang_here(hang):
    with open(Path(__file__).with_name("tries"), "a") as file:
        file.write("x")
    hang()
"""
# What the watch thread or faulthandler has to end takes 5 or 10 seconds longer.
IN_PLACE = ("sleeps", "swallows", "swallows_once", "process", "load")
GIVEN_UP = ("swallows_all", "native", "keeps")


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setenv("STARTED", str(tmp_path / "started.txt"))
    return GpuHost(tmp_path, monkeypatch)


def hanging(host, *names, **top):
    """Models that hang after their first batch, between two that do not; each has a worker's life of its own."""
    return host.make(("first", *names, "last"), code=HANGS, **{"gpus": 0, "retries": 2, "timeout": 1} | top)


def log(project, name, suite="echo"):
    return (project.latest / f"logs/infer/{suite}/{name}/one.log").read_text()


def tries(project):
    file = project.suite / "tries"
    return len(file.read_text()) if file.exists() else 0


@pytest.mark.parametrize(("name", "workers"), [*((name, "0") for name in IN_PLACE), ("swallows", "2"), ("load", "2")])
def test_what_python_can_interrupt(host, name, workers):
    """An ERROR, tried once; its stacks show where; nothing that it started lives; the worker goes on."""
    project = hanging(host, name)
    ran = project.run("evals", "-n", workers)
    assert ran.code == 1, ran
    assert ran.counts == {"passed": 2, "error": 1}, ran
    assert f"echo/{name}/one  timed out after 1 s (--eval-timeout, or timeout: in the suite)" in ran, ran
    assert tries(project) == (name != "load")
    assert "; the stacks of all threads:\n" in log(project, name)
    assert f'File "{project.suite / "model.py"}"' in log(project, name)
    assert "in hang_here" in ran or name == "load", ran
    assert "worker_lost" not in [event["event"] for event in project.events()]
    assert host.processes() == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", GIVEN_UP)
def test_what_nothing_can_interrupt_costs_its_worker(host, name):
    """An ERROR, tried once; the worker is replaced, and the others pass."""
    project = hanging(host, name)
    ran = project.run("evals", "-n", "2")
    assert ran.code == 1, ran
    assert ran.counts == {"passed": 2, "error": 1}, ran
    assert f"echo/{name}/one  timed out after 1 s" in ran, ran
    assert "replaced" in ran, ran
    assert tries(project) == 1
    assert "in hang_here" in log(project, name)
    assert host.processes() == {}
    assert f"*echo/{name}||1\n-one|3\n" in (project.latest / ".task_list").read_text()


def test_without_workers_what_nothing_can_interrupt_ends_pytest(host):
    """No worker can be replaced there; the next run carries on."""
    project = hanging(host, "native")
    ran = project.run("evals", "-n", "0")
    assert ran.code == 70, ran
    assert "with -n 1 the other items would go on" in ran, ran
    assert "in hang_here" in log(project, "native")
    ran = project.run("evals", "-n", "0", "-k", "first or last")
    assert "2 passed" in ran, ran


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "workers"),
    [*((name, "2") for name in ("native", "keeps", "swallows_all", "process", "load")), ("sleeps", "0"), ("load", "0")],
)
def test_a_hang_in_a_process_of_its_own_costs_that_process(host, name, workers):
    """Whatever it does: the process is ended, the worker lives, the stacks of both are in the log, the GPU is free."""
    host.nvml.gpus(80)
    project = hanging(host, name, gpus=1, timeout=2)
    ran = project.run("evals", "-n", workers)
    assert ran.code == 1, ran
    assert ran.counts == {"passed": 2, "error": 1}, ran
    assert f"echo/{name}/one  timed out after 2 s" in ran, ran
    assert f'File "{project.suite / "model.py"}"' in log(project, name), log(project, name)
    assert "worker_lost" not in [event["event"] for event in project.events()]
    assert tries(project) == (name != "load")
    taken, freed = ([e for e in project.events() if e["event"] == kind] for kind in ("slot_taken", "slot_freed"))
    assert len(taken) == len(freed)
    assert host.is_quiet(), (host.processes(), host.held())


# That of the suite is the one of all tests above.
LAYERS = {
    "run_config": ({"timeout": 99}, "TIMEOUT=1", ()),
    "option": ({"timeout": 99}, None, ("--eval-timeout", "1")),
}


@pytest.mark.parametrize(("top", "config", "args"), LAYERS.values(), ids=LAYERS)
def test_where_the_limit_comes_from(host, top, config, args):
    """The suite, a ``.run_config``, or the command line."""
    project = host.make(("sleeps",), code=HANGS, gpus=0, **top)
    if config:
        (project.suite / "own").mkdir()
        (project.suite / "own" / ".run_config").write_text(config)
        (project.suite / "sleeps.bin").rename(project.suite / "own" / "sleeps.bin")
        project.yaml((), ("one",), gpus=0, models=[{"name": "sleeps", "path": "own/sleeps.bin"}], **top)
    ran = project.run("evals", *args)
    assert ran.code == 1, ran
    assert "timed out after 1 s" in ran, ran


READER = """
import time
from pytest_evalrun.datasets.protocol import Sample

class Reader:
    def __init__(self, path): self.path = path
    def __iter__(self):
        if "slow" in str(self.path): time.sleep(100)
        return (Sample(i, str(i), i, i) for i in range(8))
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_reader_that_hangs(host, workers):
    """Reading belongs to the item; its sibling passes."""
    project = host.make(("a",), ("slow", "one"), gpus=0, code=HANGS, format="./reader.py:Reader", timeout=2)
    (project.suite / "reader.py").write_text(READER)
    ran = project.run("evals", "-n", workers)
    assert ran.code == 1, ran
    assert ran.counts == {"passed": 1, "error": 1}, ran
    assert "echo/a/slow  timed out after 2 s" in ran, ran


OWN = """
import subprocess, time, pytest

@pytest.fixture(scope="session")
def server():
    process = subprocess.Popen(["sleep", "600"])
    yield process
    assert process.poll() is None, "the server of the session was ended"
    process.kill()
    process.wait()

def test_before(evaluation):
    pass

def test_hangs(evaluation, server):
    subprocess.run(["sleep", "601"])

def test_server_lives(evaluation, server):
    assert server.poll() is None
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_body_that_hangs(host, workers):
    """A test of the user's that hangs is an ERROR, not FAILED; what it started is ended, what its session's fixtures
    started is not, though that is younger than the model."""
    project = host.make(("a",), gpus=0, code=HANGS, timeout=2)
    (project.suite / "test_own.py").write_text(OWN)
    ran = project.run("evals", "-n", workers)
    assert ran.code == 1, ran
    assert ran.counts == {"passed": 3, "error": 1}, ran
    assert "timed out after 2 s" in ran, ran
    assert host.processes() == {}


@pytest.mark.parametrize("env", [{}, {"TIMES": "2"}], ids=["once", "unlimited"])
def test_a_debugger_has_no_limit(host, env):
    """Whoever stands at a prompt is not hurried."""
    project = host.make(("first",), gpus=0, code=HANGS, timeout=0.000001)
    ran = project.run("evals", *(["--pdb"] if env else []))
    assert ("1 passed" in ran) == bool(env), ran
