"""Jobs on GPUs: each model on what the batch system gave its job, alone there, and nothing left of it when killed."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest
from batchsystem import BatchSystem
from gpuhost import WITNESS, GpuHost
from support import kill_group, wait_for
from test_engines import summary
from test_gpus import TOGETHER

ON = ("evals", "--eval-engine", "command")
# As on a login node.
NO_GPUS = {"CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = GpuHost(tmp_path, monkeypatch)
    host.nvml.gpus(80, 80, 80)
    return host


@pytest.fixture
def batch(tmp_path, host):
    """One node, with all GPUs of the host."""
    with BatchSystem(tmp_path / "batch", nodes={"n1": 4}, gpus=3, grace=1.0) as system:
        yield system


def test_models_of_jobs_are_on_the_gpus_of_their_jobs(host, batch):
    """Whatever the launch itself sees; the rows are those of a run here."""
    # What they need differs, so that there is a job for each.
    models = [{"name": name, "path": f"{name}.bin", "min_gpu_memory": 10 + i} for i, name in enumerate("abc")]
    project = host.make("abc", code=WITNESS)
    project.yaml((), ("one",), models=models, gpus=1, params={"delay": 0.3}, batch_system=batch.words())
    here = project.run("evals", "--eval-workdir", "here")
    assert here.code == 0, here
    (project.suite / "seen.txt").unlink()
    there = project.run(*ON, "--eval-jobs", "3", **NO_GPUS)
    assert there.code == 0, there
    assert there.counts == here.counts == {"passed": 3}
    assert summary(project.latest) == summary(project.root / "here" / "latest")
    assert Counter(seen for _, _, seen in host.seen()) == Counter(str(gpu) for job in batch.jobs() for gpu in job.gpus)
    assert [len(job.gpus) for job in batch.jobs()] == [1, 1, 1]
    wait_for(lambda: not batch.processes() and not host.held())


SHARED = {"one each": (WITNESS, 1, ["0", "1"]), "two on one": (TOGETHER, 2, ["0", "0"])}


@pytest.mark.parametrize(("code", "together", "expected"), SHARED.values(), ids=SHARED)
def test_workers_of_a_job_share_its_gpus_out(host, batch, code, together, expected):
    """The job has asked for as many as they need together, ``workers_per_gpu`` in mind."""
    project = host.make(
        ("a", "b"), code=code, params={"delay": 0.5}, workers_per_gpu=together, batch_system=batch.words()
    )
    ran = project.run(*ON, "--eval-jobs", "1", "--eval-job-workers", "2", **NO_GPUS)
    assert ran.code == 0, ran
    assert [len(job.gpus) for job in batch.jobs()] == [len(set(expected))]
    assert sorted(seen for _, _, seen in host.seen()) == expected


HOLDS = """
import os, time
from pathlib import Path

class Model:
    "Has 60 GB of its GPU for as long as it lives; stops after 12 samples until it is let on."
    def __init__(self, path):
        held = Path(os.environ["FAKE_NVML_STATE"] + ".d")
        held.mkdir(exist_ok=True)
        (held / f"{os.environ['CUDA_VISIBLE_DEVICES']}.{os.getpid()}.{60 << 10}").touch()

    def predict(self, batch):
        while batch[0].input == 12 and not os.path.exists(os.environ["ON"]):
            time.sleep(0.01)
        with open(os.environ["ASKED"], "a") as file:
            file.writelines(f"{sample.id}\\n" for sample in batch)
        return [sample.input for sample in batch]
"""


def test_a_killed_job_leaves_its_gpu_to_the_next(host, batch, tmp_path):
    """Its memory and its lease are free, and the next attempt goes on at the first sample that was not kept."""
    asked, on = tmp_path / "asked", tmp_path / "on"
    project = host.make(samples=24, code=HOLDS, min_gpu_memory=50, batch_system=batch.words())
    launch = project.start(*ON, "--eval-crash-retries", "1", ASKED=str(asked), ON=str(on), **NO_GPUS)
    wait_for(lambda: asked.exists() and asked.read_text().count("\n") == 12, process=launch)
    batch.kill(batch.living()[0].id)
    on.touch()
    output, _ = launch.communicate(timeout=120)
    kill_group(launch)
    assert launch.returncode == 0, output
    assert len(batch.jobs()) == 2
    counted = Counter(asked.read_text().split())
    assert len(counted) == 24
    assert sum(counted.values()) <= 24 + 4, "only the batch at hand is asked again"
    assert project.result("a", "one")["environment"]["gpu_peak_gb"] == 60
    wait_for(lambda: not batch.processes() and not host.held())


def test_a_job_waits_for_memory_that_is_still_used(host, batch):
    """Here that is an error at the start; on a node it may be what was killed there a moment ago."""
    project = host.make(min_gpu_memory=50, batch_system=batch.words())
    with subprocess.Popen(["sleep", "600"]) as process:
        host.nvml.hold(0, process.pid, 60)
        launch = project.start(*ON, **NO_GPUS)
        wait_for(lambda: any("waiting for 1 GPU" in log.read_text() for log in logs(project)), process=launch)
        process.kill()
    output, _ = launch.communicate(timeout=120)
    kill_group(launch)
    assert launch.returncode == 0, output
    assert [seen for _, _, seen in host.seen()] == ["0"]


def logs(project):
    return [*project.root.glob("outputs/*/*/engine/u001/1/logs/infer/echo/a/one.log")]


def test_what_no_node_has_is_told_once(host, batch):
    """A GPU that is too small, however long a job waited: the launch ends with what the first job has found."""
    project = host.make(("a", "b"), min_gpu_memory=200, batch_system=batch.words())
    ran = project.run(*ON, **NO_GPUS)
    assert ran.code == 4, ran
    assert "needed: 1 GPU with 200 GB free; this host has: GPU 0 Fake A100 80.0 of 80.0 GB free; ask for less" in ran
    batch.wait(lambda jobs: all(job.is_over for job in jobs))


def test_tests_of_the_users_lease_gpus_in_their_jobs(host, batch):
    """The launch needs none for them."""
    project = host.make(gpus=0, batch_system=batch.words())
    (project.suite / "test_own.py").write_text(
        "import os, pytest\n"
        "@pytest.mark.gpus(2)\n"
        "def test_own(gpus): assert [gpu.token for gpu in gpus] == os.environ['CUDA_VISIBLE_DEVICES'].split(',')\n"
    )
    ran = project.run(*ON, **NO_GPUS)
    assert ran.code == 0, ran
    assert ran.counts == {"passed": 2}, ran
    assert sorted(len(job.gpus) for job in batch.jobs()) == [0, 2]
