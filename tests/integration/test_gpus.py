"""Models on GPUs: each alone on what it leased, whoever else is there, and nothing left of it at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from gpuhost import WITNESS, GpuHost, leases
from nvml import uuid
from support import Project, kill_group, wait_for

from pytest_evalrun.slots.directory import LeaseDirectory

DIGITS = Path(__file__).parents[2] / "evals" / "digits"
LOCKED_ONNX = """
import fcntl, os
from pytest_evalrun.adapters.onnx import OnnxAdapter

class Model(OnnxAdapter):
    def __init__(self, path, locks, preprocess, output):
        self.files = [open(f"{locks}/gpu{gpu}", "w") for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        for file in self.files:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        super().__init__(str(path), {}, preprocess, output)
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    return GpuHost(tmp_path, monkeypatch)


def digits(root, locks):
    """The sample suite, whose models lock a file by the name of their GPU."""
    shutil.copytree(DIGITS, root / "digits")
    (root / "pytest.ini").write_text("[pytest]\n")
    suite = yaml.safe_load((root / "digits" / "evalrun.yaml").read_text())
    of_onnx = {name: suite.pop(name) for name in ("preprocess", "output")}
    suite |= {"adapter": "./model.py:Model", "params": {"locks": str(locks), **of_onnx}, "retries": 0}
    (root / "digits" / "evalrun.yaml").write_text(json.dumps(suite))
    (root / "digits" / "model.py").write_text(LOCKED_ONNX)


@pytest.mark.slow
def test_two_sessions_never_meet_on_a_gpu(host, tmp_path):
    """Six workers in all, four GPUs: every model is alone on its own, and at the end all is given back."""
    host.nvml.gpus(80, 80, 80, 80)
    projects = [Project(tmp_path / name) for name in ("first", "second")]
    for project in projects:
        project.root.mkdir()
        digits(project.root, tmp_path)
    processes = [project.start("digits", "-n", "3", "--eval-gpus-per-item", "1") for project in projects]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    for project, process, output in zip(projects, processes, outputs, strict=True):
        kill_group(process)
        assert process.returncode == 0, output
        assert "9 passed" in output, output
        taken, freed = leases(project.latest)
        assert taken
        assert taken == freed
    assert host.is_quiet(), (host.processes(), host.held())


SEEN = {
    "the host's": ((), {}, "0,1"),
    "of the option": (("--eval-gpus", "1,3"), {}, "1,3"),
    "of the caller": ((), {"CUDA_VISIBLE_DEVICES": "3,2"}, "3,2"),
    "of the caller, by UUID": ((), {"CUDA_VISIBLE_DEVICES": f"{uuid(2)},{uuid(1)}"}, f"{uuid(2)},{uuid(1)}"),
    "of both": (("--eval-gpus", "1,3"), {"CUDA_VISIBLE_DEVICES": "3,2,1"}, "3,1"),
}


@pytest.mark.parametrize(("args", "env", "expected"), SEEN.values(), ids=SEEN)
def test_a_model_sees_what_it_leased_and_nothing_else(host, args, env, expected):
    """By the caller's own names, and of the caller's GPUs only; the events tell their UUIDs."""
    host.nvml.gpus(80, 80, 80, 80)
    project = host.make(gpus=2)
    ran = project.run("evals", *args, **env)
    assert ran.code == 0, ran
    ((_, pid, seen),) = host.seen()
    assert set(seen.split(",")) == set(expected.split(","))
    assert pid not in host.processes()
    indices = [token if token.startswith("GPU-") else uuid(int(token)) for token in seen.split(",")]
    assert leases(project.latest) == ([indices], [indices])
    assert "GPU 2 Fake A100 (80.0 of 80.0 GB free)" in ran or "2" not in expected


TOGETHER = WITNESS.replace("fcntl.LOCK_EX", "fcntl.LOCK_SH").replace(
    "time.sleep(self.delay)",
    "deadline = time.monotonic() + 120\n"
    "        while (HERE / 'seen.txt').read_text().count('\\n') < 2: assert time.monotonic() < deadline",
)


def test_models_share_a_gpu_where_they_may(host):
    """``workers_per_gpu: 2`` has two models on one GPU at the same time, and -n auto starts a worker for each."""
    host.nvml.gpus(80)
    project = host.make(models=("a", "b"), code=TOGETHER, workers_per_gpu=2, min_gpu_memory=30)
    ran = project.run("evals", "-n", "auto")
    assert ran.code == 0, ran
    assert "2 workers" in ran, ran
    assert [seen for _, _, seen in host.seen()] == ["0", "0"]


def test_many_gpus_and_few(host):
    """Models that need one GPU, two or all four come each to their own, and nobody starves."""
    host.nvml.gpus(80, 80, 80, 80)
    needs = {"one": 1, "two": 2, "four": 4, "uno": 1, "due": 2, "one_more": 1}
    models = [{"name": name, "path": f"{name}.bin", "gpus": count} for name, count in needs.items()]
    project = host.make(models=needs, datasets=("one", "two"), params={"delay": 0.05})
    project.yaml(needs, ("one", "two"), models=models, params={"delay": 0.05}, retries=0)
    ran = project.run("evals", "-n", "4")
    assert ran.code == 0, ran
    assert {(name, len(seen.split(","))) for name, _, seen in host.seen()} == set(needs.items())
    taken, freed = leases(project.latest)
    assert taken == freed
    assert host.is_quiet()


FOREIGN_COMES = """
import os
from pytest_evalrun.datasets.protocol import Sample

class Reader:
    "When the data is read, after all GPUs were looked at, somebody else takes memory."
    def __init__(self, path): open(os.environ["COMES"], "w").close()
    def __iter__(self): return (Sample(i, str(i), i, i) for i in range(8))
"""


def foreign(host, index):
    """A process that nobody of us knows, and the file by which it comes to have 60 GB of a GPU."""
    process = subprocess.Popen(["sleep", "600"])
    directory = Path(f"{host.nvml.state}.d")
    directory.mkdir()
    return process, str(directory / f"{index}.{process.pid}.{60 << 10}")


def test_memory_that_is_taken_after_the_look_is_noticed(host):
    """The lease looks again: the model goes to the other GPU."""
    host.nvml.gpus(80, 80)
    process, comes = foreign(host, 0)
    project = host.make(min_gpu_memory=40, format="./reader.py:Reader")
    (project.suite / "reader.py").write_text(FOREIGN_COMES)
    ran = project.run("evals", COMES=comes)
    process.kill()
    process.wait()
    assert ran.code == 0, ran
    assert [seen for _, _, seen in host.seen()] == ["1"]


TAKES = """
import os
from pathlib import Path

class Model:
    def __init__(self, path):
        self.held = Path(os.environ["FAKE_NVML_STATE"] + ".d")
        self.held.mkdir(exist_ok=True)

    def predict(self, batch):
        for gigabytes in (30, 12):
            for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(","):
                (self.held / f"{gpu}.{os.getpid()}.{gigabytes * 1024}").touch()
        return [sample.input for sample in batch]
"""


def test_peak_memory_is_in_the_result(host):
    """Of all the GPUs that the model was leased, together, whoever used them."""
    host.nvml.gpus(80, 80).used(0, 2)
    host.nvml.used(1, 2)
    project = host.make(gpus=2, code=TAKES)
    ran = project.run("evals", "-n1")
    assert ran.code == 0, ran
    assert project.result("a", "one")["environment"]["gpu_peak_gb"] == 88


def test_memory_of_others_is_waited_for(host):
    """The log says who has it; once they have ended the model is loaded, and its limit did not run meanwhile."""
    host.nvml.gpus(80)
    process, comes = foreign(host, 0)
    project = host.make(min_gpu_memory=40, format="./reader.py:Reader", timeout=4)
    (project.suite / "reader.py").write_text(FOREIGN_COMES)
    run = project.start("evals", "-n", "1", COMES=comes)
    log = project.latest / "logs/infer/echo/a/one.log"
    said = f"waiting for 1 GPU with 40 GB free: GPU 0: 20.0 of 80.0 GB free, used by process {process.pid} (60.0 GB)"
    wait_for(lambda: log.exists() and said in log.read_text(), process=run)
    time.sleep(4.5)  # longer than the limit
    assert run.poll() is None
    process.kill()
    process.wait()
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output


def test_a_lease_of_another_session_is_waited_for(host):
    """The log says whose it is."""
    host.nvml.gpus(80)
    project = host.make()
    (lock,) = LeaseDirectory(host.slots).take(uuid(0), 1, 0)
    run = project.start("evals", "-n", "1")
    log = project.latest / "logs/infer/echo/a/one.log"
    said = f"GPU 0: leased by process {os.getpid()} of"
    wait_for(lambda: log.exists() and said in log.read_text(), process=run)
    lock.close()
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output


LACKING = {
    "count": ({"gpus": 3}, (), ["needed: 3 GPUs", "--eval-gpus-per-item"]),
    "memory": ({"min_gpu_memory": 200}, (), ["1 GPU with 200 GB free", "--eval-min-gpu-memory"]),
    "none": ({}, ("--eval-gpus", "none"), ["no GPU", "--eval-gpus is none", "--eval-gpus-per-item 0"]),
    "used": ({"min_gpu_memory": 50, "gpus": 2}, (), ["2 GPUs with 50 GB free each", "end what uses the memory"]),
}


@pytest.mark.parametrize(("needs", "args", "words"), LACKING.values(), ids=LACKING)
def test_what_the_host_lacks_is_told_before_anything_starts(host, needs, args, words):
    """Exit code 4, no run, each GPU with its free memory, what was asked, the pair, and the option to change."""
    host.nvml.gpus(80, 80).used(1, 60)
    project = host.make(**needs)
    ran = project.run("evals", *args)
    assert ran.code == 4, ran
    assert all(word in ran for word in ["echo/a/one: needed", "optional: true", *words]), ran
    if not args:
        assert "GPU 0  Fake A100  80.0 of 80.0 GB free" in ran, ran
        assert "GPU 1  Fake A100  20.0 of 80.0 GB free" in ran, ran
    assert not project.workdir.exists()
    assert host.seen() == []


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_is_optional_is_skipped_with_the_reason(host, workers):
    """The others run."""
    host.nvml.gpus(80)
    models = [{"name": "a", "path": "a.bin", "gpus": 2, "optional": True}, {"name": "b", "path": "b.bin"}]
    project = host.make(models=("a", "b"))
    project.yaml((), ("one",), models=models, gpus=1)
    ran = project.run("evals", "-n", workers, "-rs")
    assert ran.code == 0, ran
    assert "1 passed, 1 skipped" in ran, ran
    assert "needed: 2 GPUs; this host has: GPU 0" in " ".join(ran.output.split()), ran


def test_without_a_driver(host, monkeypatch):
    """Told like any other lack; nothing crashes."""
    monkeypatch.delenv("LD_LIBRARY_PATH")
    project = host.make()
    ran = project.run("evals", "-n", "auto")
    assert ran.code == 4, ran
    assert "the NVIDIA driver cannot be asked" in ran, ran
    assert not project.workdir.exists()


@pytest.mark.parametrize(("gpus", "workers"), [((80, 80, 80), 3), ((80, 80, 20), 2)])
def test_auto_is_the_number_of_slots(host, gpus, workers):
    """As many workers as there can be models on GPUs."""
    host.nvml.gpus(*gpus)
    project = host.make(models=("a", "b", "c", "d"), min_gpu_memory=40)
    ran = project.run("evals", "-n", "auto")
    assert ran.code == 0, ran
    assert f"{workers} workers" in ran, ran
    assert f"room for {workers} models at once" in ran, ran


def test_scoring_needs_no_gpu(host):
    """``--eval-mode eval`` runs where there is none, on what was predicted where there was one."""
    host.nvml.gpus(80)
    project = host.make()
    assert project.run("evals", "--eval-mode", "infer").code == 0
    host.nvml.fail("nvmlInitWithFlags", 9)
    ran = project.run("evals", "--eval-mode", "eval")
    assert ran.code == 0, ran
    ran = project.run("evals", "--eval-fresh")
    assert ran.code == 4, ran


NO_PYNVML = """
import sys
def pytest_sessionfinish():
    assert "pynvml" not in sys.modules
"""


@pytest.mark.parametrize("workers", ["0", "auto"])
def test_models_on_the_cpu_never_touch_the_driver(host, workers):
    """Neither worker nor launching process imports pynvml."""
    project = host.make(gpus=0)
    (project.root / "conftest.py").write_text(NO_PYNVML)
    ran = project.run("evals", "-n", workers)
    assert ran.code == 0, ran
    assert "1 passed" in ran, ran
    assert not host.slots.exists()


OWN = """
import fcntl, os, pytest
from pathlib import Path

HERE = Path(__file__).parent

@pytest.fixture
def alone(gpus):
    "Fails where any other test or model has one of these GPUs."
    files = [open(HERE / f"gpu{gpu.token}", "w") for gpu in gpus]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield gpus
    for file in files:
        file.close()

def test_plain(alone, gpus):
    assert [gpu.token for gpu in gpus] == os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    assert len(gpus) == 1

@pytest.mark.gpus(2)
def test_two(alone):
    assert len(alone) == 2

@pytest.mark.gpus(count=2, memory=40)
def test_two_with_memory(alone):
    assert all(gpu.total >> 30 == 80 for gpu in alone)

def test_of_the_pair(pair, alone):
    assert len(alone) == 2

def test_after_an_evaluation(evaluation, alone):
    assert evaluation.metrics["exact_match"] == 1

def test_before_an_evaluation(alone, evaluation):
    assert evaluation.metrics["exact_match"] == 1
    assert len(os.environ["CUDA_VISIBLE_DEVICES"].split(",")) == 2
"""


@pytest.mark.parametrize("args", [("-n0",), ("-n3",), ("-n3", "--eval-scheduler", "off"), ("-n3", "-k", "before")])
def test_tests_of_the_users_have_gpus_of_their_own(host, args):
    """As many as their marker or their pair asks for, beside models and whatever the order of their fixtures."""
    host.nvml.gpus(80, 80)
    project = host.make(("a", "b"), gpus=2)
    (project.suite / "test_own.py").write_text(OWN)
    ran = project.run("evals", *args)
    assert ran.code == 0, ran
    assert ("2 passed" if "-k" in args else "11 passed") in ran, ran
    taken, freed = leases(project.latest)
    assert taken == freed
    assert host.is_quiet()


def test_a_gpu_that_a_test_cannot_have_is_told_before_anything_starts(host):
    """By the test's own name."""
    host.nvml.gpus(80)
    project = host.make()
    (project.suite / "test_own.py").write_text("import pytest\n@pytest.mark.gpus(3)\ndef test_own(gpus): pass\n")
    for workers in ("0", "2"):
        ran = project.run("evals", "-n", workers)
        assert ran.code == 4, ran
        assert "test_own.py::test_own: needed: 3 GPUs" in ran, ran


@pytest.mark.parametrize("workers", ["0", "1"])
def test_tests_alone_have_gpus_too(host, workers):
    """Where no pair is selected there is no run whose events would tell of it."""
    host.nvml.gpus(80)
    project = host.make()
    (project.suite / "test_own.py").write_text("def test_own(gpus): assert gpus[0].token == '0'\n")
    ran = project.run("evals", "-n", workers, "-k", "test_own")
    assert ran.code == 0, ran
    assert host.is_quiet()


SAME = "def test_own(evaluation): assert evaluation.metrics['exact_match'] == 1\n"


@pytest.mark.parametrize("scheduler", ["on", "off"])
def test_who_waits_for_a_pair_holds_no_gpu_up(host, scheduler):
    """Several tests ask for one pair and there is one GPU: whoever has the pair gets it."""
    host.nvml.gpus(80)
    names = [f"m{number}" for number in range(6)]
    project = host.make(names, params={"delay": 0.05})
    (project.suite / "test_own.py").write_text(SAME)
    ran = project.run("evals", "-n", "3", "--eval-scheduler", scheduler)
    assert ran.code == 0, ran
    assert "12 passed" in ran, ran
