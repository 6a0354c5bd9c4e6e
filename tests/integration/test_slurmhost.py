"""The Slurm of the tests' own: several beside each other, and none that is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from slurmhost import NODES, Slurm, belonging, belonging_called

ALONE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from slurmhost import Slurm, belonging_called
slurm = Slurm().start()
slurm.call("sbatch", "-o", "/dev/null", "--wrap", "sleep 600")
slurm.until(lambda: belonging_called(slurm.conf, "sleep"))
print(slurm.conf, flush=True)
time.sleep(600)
"""


def submit(slurm, *words, body="sleep 600"):
    return slurm.call("sbatch", "--parsable", "-o", "/dev/null", *words, "--wrap", body)


def test_two_beside_each_other(slurm):
    """Two of them know their own jobs and nodes only, and the end of one is none of the other's."""
    with Slurm() as other:
        job = submit(slurm, "--gres=gpu:4")
        jobs = [submit(other, "--gres=gpu:4") for _ in NODES]
        other.until(lambda: [other.jobs()[one] for one in jobs] == ["RUNNING"] * 4)
        slurm.until(lambda: slurm.jobs().get(job) == "RUNNING")
        conf = other.conf
    assert not belonging(conf)
    assert not conf.exists()
    assert slurm.jobs()[job] == "RUNNING"
    slurm.clear()


def test_ends_with_who_started_it():
    """Who starts one and is killed leaves no daemon, no job and no file of it."""
    argv = [sys.executable, "-c", ALONE, str(Path(__file__).parent)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        conf = Path(process.stdout.readline().strip())
        mine = belonging(conf)
        names = [one.name() for one in mine]
        os.kill(process.pid, signal.SIGKILL)
    assert {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"} <= set(names)
    psutil.wait_procs(mine, timeout=60)
    assert not belonging(conf)


def test_node_without_power(slurm):
    """A node that is killed takes its jobs along, and where only slurmd is they go on; the controller says of either
    that it is down, and it can be started again."""
    jobs = [submit(slurm, "--no-requeue", "-w", node) for node in ("n2", "n3")]
    slurm.until(lambda: len(sleeping(slurm)) == 2)
    slurm.kill_node("n2")
    assert len(sleeping(slurm)) == 1
    slurm.kill_node("n3", jobs=False)
    slurm.until(lambda: [slurm.jobs()[job] for job in jobs] == ["NODE_FAIL"] * 2)
    assert [slurm.nodes()[node] for node in NODES] == ["idle", "down*", "down*", "idle"]
    assert len(sleeping(slurm)) == 1
    slurm.clear()
    slurm.until(lambda: not sleeping(slurm))


def test_controller_dies(slurm):
    """Jobs go on while no controller runs, and the next one knows them."""
    job = submit(slurm)
    slurm.until(lambda: slurm.jobs().get(job) == "RUNNING")
    slurm.kill_controller()
    with pytest.raises(RuntimeError, match="Unable to contact slurm controller"):
        slurm.jobs()
    assert sleeping(slurm)
    slurm.start_controller()
    assert slurm.jobs()[job] == "RUNNING"
    slurm.clear()


def sleeping(slurm):
    return belonging_called(slurm.conf, "sleep")
