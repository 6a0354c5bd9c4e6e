"""What `make evals-slurm` shows, and that nothing of its cluster outlives it."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from showdriver import Driver
from slurmhost import belonging
from support import wait_for

EVALS = Path(__file__).parents[2] / "evals"
PAGE = (EVALS.parent / "docs" / "clusters.md").read_text(encoding="utf-8")
README = (EVALS.parent / "README.md").read_text(encoding="utf-8")
ALIVE = "Ctrl-C ends the cluster"


@pytest.fixture
def start(tmp_path):
    """``start(…)``: the program elsewhere, so that its runs are nobody else's."""
    for name in ("digits", "slurm"):
        shutil.copytree(EVALS / name, tmp_path / "evals" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EVALS / "shows.py", tmp_path / "evals")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return lambda *args, **env: Driver(tmp_path, "evals/slurm/cluster.py", *args, **env)


def cluster_of(driver: Driver) -> Path:
    """The slurm.conf that the cluster of a program has."""
    driver.says("SLURM_CONF=")
    return Path(driver.text.partition("SLURM_CONF=")[2].split()[0])


def programs(conf: Path) -> set[str]:
    """The names of all that runs for a cluster; some of it ends while it is looked at."""
    found = set()
    for process in belonging(conf):
        with suppress(psutil.NoSuchProcess):
            found.add(process.name())
    return found


@pytest.mark.slow
def test_what_is_shown_holds(start):
    """With a node killed in the middle all is as on this machine, and the same command finds it finished."""
    with start() as driver:
        code = driver.process.wait(500)
    text = driver.text
    assert code == 0, text
    assert "everything held" in text
    assert "  NO " not in text
    for line, times in (
        ("all pairs passed", 2),
        ("a node was lost with a pair half done", 1),
        ("the pair went on where it was, in another job", 1),
        ("all pairs were reused", 1),
        ("no job was submitted", 1),
        ("summary.csv is that of this machine, but for the seconds", 2),
        ("no pair is twice in history.jsonl", 2),
        ("no job is left", 2),
    ):
        assert text.count(f"  yes  {line}") == times, text
    assert not belonging(cluster_of(driver))
    said = shapes((driver.root / "outputs" / "slurm" / "slurm.log").read_text())
    # What the pages show of a launch is what it says: that it has submitted, and what it has lost.
    assert len(shapes(PAGE) & said) == 2, said
    assert len(shapes(README) & said) == 1, said


def shapes(text: str) -> set[str]:
    """What a launch says of units, whatever the numbers."""
    lines = re.findall(r"^ *evalrun: (?:slurm|u\d+): .*", text, re.MULTILINE)
    return {re.sub(r"\d+", "N", line.strip()) for line in lines}


def test_ctrl_c_ends_all(start):
    """Ctrl-C while jobs run ends pytest, the jobs and the cluster, and the exit code says that it was interrupted."""
    with start() as driver:
        driver.says("--eval-engine slurm")
        conf = cluster_of(driver)
        wait_for(lambda: "slurmstepd" in programs(conf))
        started = psutil.Process(driver.process.pid).children()
        assert driver.kill(signal.SIGINT) == 130
    assert "interrupted: the cluster is ended, and its jobs" in driver.text
    assert not belonging(conf)
    assert not conf.exists()
    wait_for(lambda: not any(process.is_running() for process in started))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_cluster_ends_with_the_program(start, number):
    """A cluster that was only started is there until the program ends, however that is."""
    with start("up") as driver:
        driver.says(ALIVE)
        conf = cluster_of(driver)
        assert {"slurmctld", "slurmd", "munged"} <= programs(conf)
        assert driver.kill(number) == {signal.SIGTERM: 130, signal.SIGKILL: -signal.SIGKILL}[number]
    wait_for(lambda: not belonging(conf) and not conf.exists())


def test_without_slurm_it_says_what_to_install(start):
    """Where Slurm is not installed the program ends at once, and names the command that brings it."""
    with start(PATH="/nowhere") as driver:
        assert driver.process.wait(60) == 1
    assert "evals/slurm: sbatch is not installed: apt-get install" in driver.text


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.syspath_prepend(EVALS / "slurm")
    import cluster

    return cluster


@pytest.fixture
def run(cluster, tmp_path, monkeypatch):
    """A run of which a launch has written ``lines``."""
    monkeypatch.setattr(sys.modules["shows"], "ROOT", tmp_path)
    monkeypatch.setattr(cluster, "ROOT", tmp_path)
    run = cluster.SlurmRun("slurm", env={})
    (tmp_path / run.workdir).mkdir(parents=True)
    return run


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("PASSED  digits/mlp/clean  300 samples  (resumed at 75 of 300)", None),
        ("PASSED  digits/mlp/clean  300 samples  (resumed at 70 of 300)", "was resumed at 70, not at 75"),
        ("PASSED  digits/mlp/clean  300 samples  (new)", "was not resumed"),
        ("PASSED  digits/mlp_int8/clean  300 samples  (resumed at 75 of 300)", "was not resumed"),
    ],
    ids=["as it must", "elsewhere", "not at all", "another pair"],
)
def test_a_pair_that_began_anew_is_found(cluster, run, line, problem):
    """The pair of a lost node has to go on at the samples that it had, and nowhere else."""
    run.log.write_text(f"{line}\n")
    lost = cluster.PairAtWork("digits/mlp/clean", "n1", 0, run.log)
    told = cluster.resumed(run, lost, 75)
    assert told == [] if problem is None else problem in told[0]


def test_what_was_not_reused_is_found(cluster, run):
    """A pair that was made again is named, and so is a run that is short of pairs."""
    lines = [f"PASSED  digits/m/{number}  (reused: unchanged since then)" for number in range(cluster.PAIRS)]
    run.log.write_text("\n".join(lines))
    assert cluster.reused(run) == []
    run.log.write_text("\n".join(lines[1:]))
    assert cluster.reused(run) == ["8 of 9 pairs passed"]
    run.log.write_text("\n".join([*lines[1:], "PASSED  digits/m/0  (new)"]))
    assert cluster.reused(run) == ["PASSED  digits/m/0  (new)"]


def test_a_history_with_a_pair_twice_is_found(cluster, run, tmp_path):
    """A pair that is there twice is named, and pairs that are missing are counted."""
    lines = [f'{{"pair": "digits/m/{number}"}}\n' for number in range(cluster.PAIRS)]
    history = tmp_path / run.workdir / "history.jsonl"
    history.write_text("".join(lines))
    assert run.repeated() == []
    history.write_text("".join([*lines[1:], lines[1]]))
    assert run.repeated() == ["digits/m/1 is there 2 times", "8 of 9 pairs are there"]
