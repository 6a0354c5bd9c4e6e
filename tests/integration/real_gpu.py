"""Models and jobs on a real GPU, with the real driver and torch; run by hand, by name, where there is one:

    python -m pytest -n 0 -W default -rP tests/integration/real_gpu.py

One GPU is enough, which nobody else may use meanwhile. What is measured is printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
from batchsystem import BatchSystem
from gpuhost import leases
from support import Project, kill_group, wait_for
from test_engines import summary

from pytest_evalrun.slots.gpus import Nvml
from pytest_evalrun.slots.visible import find_gpus

GB = 1 << 30
BLOCK = 2
# What a context of CUDA may take beside what is asked for.
CONTEXT = 2
ON = ("evals", "--eval-engine", "command")
TERMS = 4096
MODEL = '''
import os, time
from pathlib import Path

import torch

HERE = Path(__file__).parent

class Model:
    """Has so much of its GPU, and answers with checksums that it makes there."""

    def __init__(self, path, gigabytes=2, together=0):
        self.together = together
        self.block = torch.ones(gigabytes << 28, dtype=torch.float32, device="cuda")
        torch.cuda.synchronize()
        seen = (Path(path).stem, os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], torch.cuda.device_count(),
                torch.cuda.get_device_properties(0).uuid)
        with open(HERE / "seen.txt", "a") as file:
            file.write(" ".join(map(str, seen)) + "\\n")

    def predict(self, batch):
        deadline = time.monotonic() + 120
        while (HERE / "seen.txt").read_text().count("\\n") < self.together:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while batch[0].input == 12 and "ON" in os.environ and not os.path.exists(os.environ["ON"]):
            time.sleep(0.01)
        if "ASKED" in os.environ:
            with open(os.environ["ASKED"], "a") as file:
                file.writelines(f"{sample.id}\\n" for sample in batch)
        terms = torch.arange(TERMS, dtype=torch.int64, device="cuda")
        return [int((terms * (sample.input + 1) % 1009).sum().item()) for sample in batch]
'''.replace("TERMS", str(TERMS))


@pytest.fixture(scope="module")
def gpu():
    """The first one, as the plugin finds it."""
    found = find_gpus()
    assert found.gpus, found.reason
    return found.gpus[0]


@pytest.fixture
def gpus_project(tmp_path, monkeypatch):
    """``gpus_project(models, …)``: a suite whose references were computed without a GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("EVALRUN_SLOTS_DIR", str(tmp_path / "slots"))

    def make(models=("a",), samples=8, **top):
        project = Project(tmp_path / "project").make(models, ("one",), samples, **{"gpus": 1, "retries": 0} | top)
        (project.suite / "model.py").write_text(MODEL)
        lines = [{"x": x, "y": sum(k * (x + 1) % 1009 for k in range(TERMS))} for x in range(samples)]
        (project.suite / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return project

    return make


@pytest.fixture
def batch(tmp_path):
    with BatchSystem(tmp_path / "batch", nodes={"n1": 2}, gpus=1, grace=1.0) as system:
        yield system


@pytest.fixture(autouse=True)
def memory_comes_back(gpu):
    """Whatever a test does, what was free before it is free after it."""
    before = free_of(gpu)
    yield
    wait_for(lambda: free_of(gpu) >= before - (64 << 20), seconds=20)


def free_of(gpu):
    with Nvml() as nvml:
        return nvml.free_memory(gpu)


def seen(project):
    return [line.split() for line in (project.suite / "seen.txt").read_text().splitlines()]


@contextmanager
def held(gigabytes):
    """Another process, of which nobody here knows, has so much of the GPU."""
    code = (
        f"import torch, time; b = torch.ones({gigabytes} << 28, device='cuda'); print(1, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_the_driver_says_the_same_as_nvidia_smi(gpu):
    """Name, UUID and memory; the torch of a model knows it by the same UUID."""
    argv = ["nvidia-smi", "-i", "0", "--query-gpu=name,uuid,memory.total", "--format=csv,noheader,nounits"]
    name, uuid, total = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip().split(", ")
    assert (gpu.name, gpu.uuid, gpu.total >> 20) == (name, uuid, int(total))
    print(f"{gpu}: {name} {uuid}, {gpu.free / GB:.2f} of {gpu.total / GB:.2f} GB free")


def test_two_models_at_once(gpus_project):
    """Three pairs, two workers by -n auto, one GPU: two are there at the same time, and all is given back."""
    words = {"workers_per_gpu": 2, "min_gpu_memory": 4, "params": {"together": 2}}
    project = gpus_project(("a", "b", "c"), **words)
    ran = project.run("evals", "-n", "auto", "--eval-gpus", "0")
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 3}, ran
    assert "2 workers" in ran, ran
    taken, freed = leases(project.latest)
    assert taken == freed and len(taken) >= 2
    print({name: project.result(name, "one")["environment"]["gpu_peak_gb"] for name in "abc"})


def test_peak_memory_is_what_was_allocated(gpus_project, gpu):
    """With the context that CUDA itself needs, and what was in use before."""
    base = (gpu.total - free_of(gpu)) / GB
    project = gpus_project(params={"gigabytes": BLOCK})
    ran = project.run("evals")
    assert ran.code == 0, ran
    peak = project.result("a", "one")["environment"]["gpu_peak_gb"]
    print(f"in use before {base:.3f} GB, allocated {BLOCK} GB, peak {peak} GB, beside it {peak - base - BLOCK:.3f} GB")
    assert BLOCK <= peak - base < BLOCK + CONTEXT


def test_more_than_is_free_is_told(gpus_project, gpu):
    """More than there is, and more than another process has left: exit code 4, and no model was loaded."""
    total = gpu.total / GB
    ran = gpus_project(min_gpu_memory=1000).run("evals")
    assert ran.code == 4 and "1 GPU with 1000 GB free" in ran, ran
    with held(20) as process:
        ran = gpus_project(min_gpu_memory=int(total) - 10).run("evals")
        assert ran.code == 4 and "end what uses the memory" in ran, ran
        print(ran.output[ran.output.find("needed:") :], "PID", process.pid)
        assert f"used by process {process.pid} (2" in ran, ran


@pytest.mark.parametrize("form", ["index", "uuid", "short uuid"])
def test_a_model_sees_the_gpu_by_the_callers_name(gpus_project, gpu, form):
    """CUDA takes the same word as the plugin, and shows one GPU."""
    word = {"index": "0", "uuid": gpu.uuid, "short uuid": gpu.uuid[:12]}[form]
    project = gpus_project()
    ran = project.run("evals", "-n", "1", CUDA_VISIBLE_DEVICES=word)
    assert ran.code == 0, ran
    ((_, _, visible, count, uuid),) = seen(project)
    assert (visible, count) == (word, "1")
    assert gpu.uuid.removeprefix("GPU-") == uuid.removeprefix("GPU-")


def test_no_gpu_is_visible(gpus_project):
    """As on a login node: told at the start."""
    ran = gpus_project().run("evals", CUDA_VISIBLE_DEVICES="")
    assert ran.code == 4 and "shows none of 1" in ran, ran


def test_jobs_give_the_same_summary(gpus_project, batch):
    """From a launch that sees no GPU, and with that of the batch system in the job."""
    project = gpus_project(("a", "b"), batch_system=batch.words())
    here = project.run("evals", "--eval-workdir", "here")
    assert here.code == 0, here
    (project.suite / "seen.txt").unlink()
    there = project.run(*ON, CUDA_VISIBLE_DEVICES="")
    assert there.code == 0, there
    assert there.counts == here.counts == {"passed": 2}
    assert summary(project.latest) == summary(project.root / "here" / "latest")
    assert {(visible, count) for _, _, visible, count, _ in seen(project)} == {("0", "1")}
    assert all(job.gpus == (0,) for job in batch.jobs())
    print({name: project.result(name, "one")["environment"]["gpu_peak_gb"] for name in "ab"})


def test_a_killed_job_leaves_its_memory_to_the_next(gpus_project, batch, gpu, tmp_path):
    """So much is asked for that two models would not fit; the next attempt goes on where the first one was."""
    asked, on, block = tmp_path / "asked", tmp_path / "on", int(gpu.total / GB * 0.6)
    words = {"params": {"gigabytes": block}, "min_gpu_memory": block + CONTEXT, "batch_system": batch.words()}
    project = gpus_project(samples=24, **words)
    env = {"ASKED": str(asked), "ON": str(on), "CUDA_VISIBLE_DEVICES": ""}
    launch = project.start(*ON, "--eval-crash-retries", "1", **env)
    wait_for(lambda: asked.exists() and asked.read_text().count("\n") == 12, process=launch)
    print(f"{free_of(gpu) / GB:.2f} GB free while the first attempt has {block} GB")
    batch.kill(batch.living()[0].id)
    on.touch()
    output, _ = launch.communicate(timeout=120)
    kill_group(launch)
    assert launch.returncode == 0, output
    assert len(batch.jobs()) == 2
    counted = Counter(asked.read_text().split())
    assert len(counted) == 24 and sum(counted.values()) <= 28, counted
    print(f"peak {project.result('a', 'one')['environment']['gpu_peak_gb']} GB")
