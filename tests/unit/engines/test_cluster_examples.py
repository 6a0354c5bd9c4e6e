"""The examples for PBS, LSF and Kubernetes read what these tools print.

The tools themselves cannot be had here: commands of their names print samples of what they print. PBS: `qstat -f` of
aiida-core (tests/schedulers/test_pbspro.py), `Exit_status` and comments of OpenPBS' own tests and of Palmetto's and
Griffith's guides; what is said of unknown jobs as in qtoolkit. LSF: `bjobs -o` of aiida-core (test_lsf.py), errors of
IBM's page on LSB_BJOBS_CONSISTENT_EXIT_CODE, reasons of its page on termination reasons. Kubernetes: conditions of a
Job's status and kubectl's custom columns as kubernetes.io has them.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pytest_evalrun.engines.command import CommandEngine
from pytest_evalrun.engines.protocol import ClusterAway, Handle, Job, JobState, Phase, Resources
from pytest_evalrun.suite.clusters import ClusterWords
from pytest_evalrun.suite.discovery import discover

EXAMPLES = Path(__file__).parents[3] / "examples" / "clusters"
SUITE = "adapter: ./my.py:Model\nmodels: [{name: m}]\ndatasets: [{path: d.csv}]\nimport: [%s]\n"

PBS = """Job Id: 68350.mycluster
    Job_Name = cell-Qnormal
    Job_Owner = usernum1@mycluster.cluster
    job_state = Q
    queue = Q_express
    Error_Path = mycluster.cluster:/home/usernum1/scratch/cptest/scaletest/PTOs
\tcaletest/testjob.err
    Variable_List = PBS_O_SYSTEM=Linux,PBS_O_SHELL=/bin/bash,
\tPBS_O_HOME=/home/usernum1,PBS_O_LOGNAME=usernum1
    comment = Not Running: Node is in an ineligible state: offline
    etime = Tue Apr  9 18:26:32 2013
    project = _pbs_project_default

Job Id: 69301.mycluster
    Job_Name = Cu-dbp
    resources_used.walltime = 64:26:16
    job_state = R
    queue = P_lsu
    exec_host = b141/0*16+b142/0*16+b143/0*16+b144/0*16
    exec_vnode = (b141:ncpus=16)+(b142:ncpus=16)+(b143:ncpus=16)+(b144:ncpus=16
\t)
    comment = Job run at Sat Apr 20 at 01:36 on (b141:ncpus=16)+(b142:ncpus=16)
\t+(b143:ncpus=16)+(b144:ncpus=16)
    etime = Sat Apr 20 01:36:59 2013
    project = _pbs_project_default

Job Id: 7600424.pbs02
    Job_Name = job
    job_state = F
    exec_host = node0088/1*2+node0094/1*2
    comment = Job run at Tue Dec 13 at 14:09 on (node0088:ncpus=2:mem=1048576kb
\t:ngpus=0:nphis=0) and finished
    run_count = 1
    Stageout_status = 1
    Exit_status = 0
    Submit_arguments = job.sh

Job Id: 97.pbs02
    Job_Name = job
    job_state = F
    exec_host = gc-prd-hpcn001/0
    comment = Job run at Wed Jun 24 at 15:33 on (gc-prd-hpcn001:ncpus=1) and fa
\tiled
    Stageout_status = 1
    Exit_status = 271

Job Id: 98.pbs02
    job_state = F
    exec_host = dec2385/0
    comment = Job run at Wed Jul 22 at 07:48 on (dec2385:ncpus=64) and exceeded
\t resource walltime
    Exit_status = -29

Job Id: 99.pbs02
    job_state = F
    exec_host = dec2385/0
    Exit_status = -27

Job Id: 100.pbs02
    job_state = H
"""
PBS_ERRORS = """qstat: Unknown Job Id 10000.c2cf5fbe1102
qstat: 1008.c2cf5fbe1102 Job has finished, use -x or -H to obtain historical job information
"""
PBS_STATES = {
    "68350": JobState(Phase.WAITING, reason="Not Running: Node is in an ineligible state: offline"),
    "69301": JobState(Phase.RUNNING, None, "b141", "Job run at Sat Apr 20 at 01:36 on (b141:ncpus=16)+(b142:ncpus=16)"),
    "7600424": JobState(Phase.DONE, 0, "node0088", "Job run at Tue Dec 13 at 14:09 on (node0088:ncpus=2:mem=1048576kb"),
    "97": JobState(Phase.FAILED, -15, "gc-prd-hpcn001", "Job run at Wed Jun 24 at 15:33 on (gc-prd-hpcn001:ncpus=1)"),
    "98": JobState(Phase.TIME, -29, "dec2385", "Job run at Wed Jul 22 at 07:48 on (dec2385:ncpus=64) and exceeded"),
    "99": JobState(Phase.MEMORY, -27, "dec2385"),
    "100": JobState(Phase.WAITING),
    "10000": JobState(Phase.GONE),
    "1008": JobState(Phase.GONE),
}
LSF = """764213236|EXIT|140|b681e480bd|TERM_RUNLIMIT: job killed after reaching LSF run time limit|-
764220165|PEND|-|-|-|New job is waiting for scheduling;
764254593|RUN|-|lxbsu2710|-|-
 764399747|DONE|-|p05496706j68144|-|-
764399748|EXIT|3|b68ac74822|-|-
764399749|EXIT|137|b68ac74822|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit|-
764399750|EXIT|130|b68ac74822|TERM_OWNER: job killed by owner|
764399751|EXIT|137|b68ac74822|TERM_PREEMPT: job killed after preemption|-
764399752|ZOMBI||b68ac74822||
"""
LSF_ERRORS = "Job <864220165> is not found\n"
LSF_STATES = {
    "764213236": (Phase.TIME, -12, "b681e480bd", "TERM_RUNLIMIT: job killed after reaching LSF run time limit"),
    "764220165": (Phase.WAITING, None, "", "New job is waiting for scheduling;"),
    "764254593": (Phase.RUNNING, None, "lxbsu2710", ""),
    "764399747": (Phase.DONE, 0, "p05496706j68144", ""),
    "764399748": (Phase.FAILED, 3, "b68ac74822", ""),
    "764399749": (Phase.MEMORY, -9, "b68ac74822", "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit"),
    "764399750": (Phase.CANCELLED, -2, "b68ac74822", "TERM_OWNER: job killed by owner"),
    "764399751": (Phase.PREEMPTED, -9, "b68ac74822", "TERM_PREEMPT: job killed after preemption"),
    "764399752": (Phase.LOST, None, "b68ac74822", ""),
    "864220165": (Phase.GONE, None, "", ""),
}
KUBE = """evalrun-a   <none>                         <none>   <none>
evalrun-b   <none>                         0        <none>
evalrun-c   <none>                         1        <none>
evalrun-d   SuccessCriteriaMet,Complete    0        CompletionsReached,CompletionsReached
evalrun-e   FailureTarget,Failed           0        BackoffLimitExceeded,BackoffLimitExceeded
evalrun-f   FailureTarget,Failed           0        DeadlineExceeded,DeadlineExceeded
evalrun-g   FailureTarget,Failed           0        PodFailurePolicy,PodFailurePolicy
evalrun-h   Suspended                      0        JobSuspended
evalrun-i   FailureTarget                  1        PodFailurePolicy
"""
KUBE_STATES = {
    "evalrun-a": (Phase.WAITING, None, "", ""),
    "evalrun-b": (Phase.WAITING, None, "", ""),
    "evalrun-c": (Phase.RUNNING, None, "", ""),
    "evalrun-d": (Phase.DONE, 0, "", "CompletionsReached"),
    "evalrun-e": (Phase.FAILED, None, "", "BackoffLimitExceeded"),
    "evalrun-f": (Phase.TIME, None, "", "DeadlineExceeded"),
    "evalrun-g": (Phase.PREEMPTED, None, "", "PodFailurePolicy"),
    "evalrun-h": (Phase.WAITING, None, "", "JobSuspended"),
    "evalrun-i": (Phase.RUNNING, None, "", "PodFailurePolicy"),
    "evalrun-z": (Phase.GONE, None, "", ""),
}


class Tools:
    """Commands by the names of a cluster's, which print what they are told and note how they were called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()

    def put(self, name: str, printed: str = "", errors: str = "", code: int = 0) -> None:
        (self.root / f"{name}.out").write_text(printed)
        (self.root / f"{name}.err").write_text(errors)
        files = (f"'{self.root}/{name}.{kind}'" for kind in ("words", "in", "out", "err"))
        words, given, out, err = files
        tool = self.bin / name
        tool.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{words}\ncat >{given}\ncat {out}\ncat {err} >&2\nexit {code}\n"
        )
        tool.chmod(0o755)

    def words(self, name: str) -> list[str]:
        return (self.root / f"{name}.words").read_text().splitlines()

    def given(self, name: str) -> str:
        return (self.root / f"{name}.in").read_text()


@pytest.fixture
def tools(tmp_path, monkeypatch):
    made = Tools(tmp_path)
    for name in ("qsub", "qstat", "qdel", "bsub", "bjobs", "bkill", "kubectl"):
        made.put(name)
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    return made


def engine_of(example: str, tmp_path: Path) -> CommandEngine:
    """As a launch makes it of a suite that imports the example; the root has the examples as `evals`."""
    suite = tmp_path / "suite"
    suite.mkdir(exist_ok=True)
    (suite / "my.py").write_text("class Model: ...\n")
    (suite / "d.csv").write_text("")
    (suite / "evalrun.yaml").write_text(SUITE % os.path.relpath(EXAMPLES / example, suite))
    if not (tmp_path / "evals").exists():
        (tmp_path / "evals").symlink_to(EXAMPLES)
    batch = discover(suite / "evalrun.yaml", environ={}).batch_system
    return CommandEngine(ClusterWords("command", batch=batch, root=str(tmp_path)), tmp_path / "engine")


def job(tmp_path: Path, gpus: int = 2) -> Job:
    place = tmp_path / "run's 1"
    return Job("evalrun-R_1", "title", place / "job.sh", place / "job.log", Resources(gpus=gpus), 20)


def submitted(engine: CommandEngine, one: Job) -> Handle:
    (handle,) = engine.submit([one], 1)
    return handle


READ = {
    "PBS": ("pbs.yaml", "qstat", PBS, PBS_ERRORS, 153, PBS_STATES),
    "LSF": ("lsf.yaml", "bjobs", LSF, LSF_ERRORS, 255, {key: JobState(*state) for key, state in LSF_STATES.items()}),
    "Kubernetes": (
        "kubectl.yaml",
        "kubectl",
        KUBE,
        "",
        0,
        {key: JobState(*state) for key, state in KUBE_STATES.items()},
    ),
}


@pytest.mark.parametrize(("example", "tool", "printed", "errors", "code", "states"), READ.values(), ids=READ)
def test_states_are_read(tools, tmp_path, example, tool, printed, errors, code, states):
    """Phase, exit code, node and reason of every job that the tool shows; what it does not know is gone."""
    tools.put(tool, printed, errors, code)
    handles = [Handle(key, key) for key in states]
    found = engine_of(example, tmp_path).poll(handles)
    assert {key.id: replace(state, reason="") for key, state in found.items()} == {
        key: replace(state, reason="") for key, state in states.items()
    }
    # The tools wrap long texts.
    assert [state.reason[:55] for state in found.values()] == [state.reason[:55] for state in states.values()]


AWAY = {
    "PBS": ("pbs.yaml", "qstat", "qstat: cannot connect to server pbs01 (errno=15010)\n"),
    "LSF": ("lsf.yaml", "bjobs", "LSF is down. Please wait ...\n"),
    "Kubernetes": ("kubectl.yaml", "kubectl", "Unable to connect to the server: dial tcp 10.0.0.1:443: i/o timeout\n"),
}


@pytest.mark.parametrize(("example", "tool", "errors"), AWAY.values(), ids=AWAY)
def test_a_server_that_is_away_loses_no_job(tools, tmp_path, example, tool, errors):
    """The tool fails without a word of the jobs: they are asked for again."""
    tools.put(tool, "", errors, 1)
    with pytest.raises(ClusterAway, match=errors.split()[0]):
        engine_of(example, tmp_path).poll([Handle("12", "x")])


def test_pbs_submits(tools, tmp_path):
    """The sequence number is the id; the log is written directly, and the environment handed on."""
    tools.put("qsub", "68350.mycluster\n")
    one = job(tmp_path)
    assert submitted(engine_of("pbs.yaml", tmp_path), one).id == "68350"
    words = tools.words("qsub")
    assert words[:4] == ["-N", "evalrun-R_1", "-q", "workq"]
    assert words[-6:] == [str(one.log), "-l", "select=1:ncpus=4:ngpus=2", "-l", "walltime=3600", str(one.script)]


def test_lsf_submits(tools, tmp_path):
    """The number in angle brackets is the id; the script is the job's command."""
    tools.put("bsub", "Job <764254593> is submitted to queue <test>.\n")
    one = job(tmp_path)
    assert submitted(engine_of("lsf.yaml", tmp_path), one).id == "764254593"
    words = tools.words("bsub")
    assert "span[hosts=1] rusage[ngpus_physical=2]" in words
    assert words[words.index("-W") :] == ["-W", "60", "-o", str(one.log), "bash", str(one.script)]


def test_kubernetes_submits(tools, tmp_path):
    """The manifest is one Job with one pod that is never started again, under a name that Kubernetes accepts."""
    tools.put("kubectl", "job.batch/evalrun-r-1\n")
    one = job(tmp_path)
    assert submitted(engine_of("kubectl.yaml", tmp_path), one).id == "evalrun-r-1"
    manifest = yaml.safe_load(tools.given("kubectl"))
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert manifest["metadata"]["name"] == "evalrun-r-1"
    assert (manifest["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert pod["activeDeadlineSeconds"] == 3600
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert container["command"] == ["bash", "-c", 'exec bash "$0" >>"$1" 2>&1', str(one.script), str(one.log)]


def test_the_container_of_kubernetes_writes_the_log(tools, tmp_path):
    """Its command runs the script and appends what it says to the log, whatever they are called."""
    tools.put("kubectl", "job.batch/evalrun-r-1\n")
    one = job(tmp_path)
    one.script.parent.mkdir()
    one.script.write_text("echo said; exit 3")
    submitted(engine_of("kubectl.yaml", tmp_path), one)
    (container,) = yaml.safe_load(tools.given("kubectl"))["spec"]["template"]["spec"]["containers"]
    assert subprocess.run(container["command"], check=False).returncode == 3
    assert one.log.read_text() == "said\n"


def test_the_example_of_the_docs_reads_qstat(tools, tmp_path):
    """As it stands there; the columns are those of Palmetto's guide."""
    text = (EXAMPLES.parents[1] / "docs" / "batch-systems.md").read_text(encoding="utf-8")
    (block,) = (part for part in text.split("\n\n") if part.startswith("    batch_system:"))
    (tmp_path / "docs.yaml").write_text(block.replace("\n    ", "\n").strip())
    head = "Job id            Name             User              Time Use S Queue\n"
    line = "1453338.pbs02     sleep            atrikut           00:00:00 R c1_solo         \n"
    tools.put("qstat", f"{head}----------------  ---------------- ----------------  -------- - -----\n{line}")
    handle = Handle("1453338", "x")
    assert engine_of(str(tmp_path / "docs.yaml"), tmp_path).poll([handle])[handle] == JobState(Phase.RUNNING)


CANCELLED = {
    "PBS": ("pbs.yaml", "qdel", ["12", "13"]),
    "LSF": ("lsf.yaml", "bkill", ["12", "13"]),
    "Kubernetes": ("kubectl.yaml", "kubectl", ["delete", "jobs", "12", "13", "--ignore-not-found", "--wait=false"]),
}


@pytest.mark.parametrize(("example", "tool", "words"), CANCELLED.values(), ids=CANCELLED)
def test_jobs_are_cancelled_with_one_command(tools, tmp_path, example, tool, words):
    """All ids are words of it."""
    engine_of(example, tmp_path).cancel([Handle("12", "x"), Handle("13", "y")])
    assert tools.words(tool) == words
