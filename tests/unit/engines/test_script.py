"""The script of a job, run by the real bash: it starts what the launch would have, in peace, and ends as that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_evalrun.engines.exits import CANNOT_BEGIN, GO_ON_LATER
from pytest_evalrun.engines.protocol import Job
from pytest_evalrun.engines.script import job_command, write_script
from pytest_evalrun.rundir.jobfiles import JobFile, JobItem

ODD = "jobs of 'Zoë' \"$(touch PWNED)\" `touch PWNED` $HOME ; & * \\ größer"
# Stands for the interpreter: it notes how it was started, then does what a job may do.
PROBE = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
noted = pathlib.Path(os.environ["NOTED"])
mode = os.environ.get("MODE", "0")
came = []
if mode == "batch":
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
facts = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "pid": os.getpid(), "env": dict(os.environ)}}
noted.with_suffix(".aside").write_text(json.dumps(facts))
noted.with_suffix(".aside").rename(noted)
if mode == "batch":
    while not came:
        signal.pause()
    while not noted.with_suffix(".finish").exists():
        time.sleep(0.01)
    noted.with_suffix(".kept").touch()
    sys.exit({GO_ON_LATER})
if mode == "deaf":
    time.sleep(60)
if mode == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(mode))
"""


@dataclass
class Node:
    """A directory that stands for a cluster's: project, run, interpreter; ``spec`` is the job's file."""

    root: Path
    spec: JobFile

    @property
    def script(self) -> Path:
        return self.root / "run" / "job.sh"

    @property
    def job(self) -> Path:
        return self.root / "run" / "job.json"

    @property
    def noted(self) -> Path:
        return self.root / "noted.json"

    def start(self, mode: str = "0", **environment: str) -> subprocess.Popen[str]:
        env = os.environ | {"NOTED": str(self.noted), "MODE": mode} | environment
        return subprocess.Popen(
            ["bash", str(self.script)],
            env=env,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, mode: str = "0", **environment: str) -> tuple[int, str]:
        """Give the exit code and all that was said."""
        process = self.start(mode, **environment)
        out, err = process.communicate(timeout=30)
        return process.returncode, out + err

    def facts(self) -> dict[str, object]:
        wait_for(self.noted)
        return json.loads(self.noted.read_text())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def spec_of(rootdir: Path, *ids: str, **other: object) -> JobFile:
    values: dict[str, object] = {"run": str(rootdir), "unit": "u001", "attempt": 1, "inifile": str(rootdir / "tox.ini")}
    values |= {"plugin": "1", "python": "3.11", "items": tuple(map(JobItem, ids)), **other}
    return JobFile(rootdir=str(rootdir), **values)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    root = tmp_path / ODD.replace("/", "_")
    project = root / "project"
    (root / "run").mkdir(parents=True)
    project.mkdir()
    python = root / "bin python"
    python.write_text(PROBE)
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    made = Node(
        root, spec_of(project, "größe/it's/evalrun.yaml::test_pair[a/b]", "größe/it's/evalrun.yaml::test_pair[c]")
    )
    made.spec.write(made.job)
    write(made)
    return made


def write(node: Node, title: str = "u001 of 20261128\ntouch PWNED") -> None:
    job = Job("evalrun-x", title, node.script, node.root / "run" / "job.log")
    write_script(job, node.spec, node.job)


def test_a_job_is_started_as_it_was_planned_whatever_the_paths_are_called(node: Node) -> None:
    """In the root directory, word for word, each file once; nothing of a path or a title is run by the shell."""
    assert node.run() == (0, "")
    facts = node.facts()
    assert facts["argv"] == job_command(node.spec, node.job)[1:]
    assert facts["argv"][-1] == "./größe/it's/evalrun.yaml"
    assert facts["cwd"] == node.spec.rootdir
    assert not [*node.root.rglob("PWNED"), *Path("/").glob("PWNED")]
    assert node.script.stat().st_mode & 0o777 == 0o755


def test_what_a_launch_under_pytest_has_set_is_not_handed_on(node: Node) -> None:
    """Options by PYTEST_ADDOPTS, a worker's place in xdist: a job is a session of its own. All else is handed on."""
    gone = {"PYTEST_ADDOPTS": "-x", "PYTEST_XDIST_WORKER": "gw1", "PYTEST_XDIST_AUTO_NUM_WORKERS": "9"}
    node.run(KEPT="kept", **gone)
    environment = node.facts()["env"]
    assert isinstance(environment, dict)
    assert not gone.keys() & environment.keys()
    assert (environment["KEPT"], environment["PYTHONUNBUFFERED"]) == ("kept", "1")


@pytest.mark.parametrize(("mode", "code"), [("0", 0), ("1", 1), ("5", 5), ("78", 78), ("killed", 128 + 9)])
def test_a_script_ends_as_its_job_ends(node: Node, mode: str, code: int) -> None:
    """Its exit code is what the cluster shows; a job that was killed is no success, and its log says so."""
    ended, said = node.run(mode)
    assert ended == code
    assert ("Killed" in said) == (mode == "killed")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP"])
def test_a_signal_reaches_the_job_which_has_all_the_time_it_needs(node: Node, name: str) -> None:
    """The shell does not end before its job has: the cluster would clear its node while a batch is being written."""
    process = node.start("batch")
    node.facts()
    os.kill(process.pid, getattr(signal, name))
    os.kill(process.pid, signal.SIGUSR1)
    assert not node.noted.with_suffix(".kept").exists()
    node.noted.with_suffix(".finish").touch()
    process.communicate(timeout=30)
    assert process.returncode == GO_ON_LATER
    assert node.noted.with_suffix(".kept").exists()


def test_a_signal_that_ends_python_before_it_can_take_it_means_go_on_later(node: Node) -> None:
    """Nothing was begun, and nobody is to blame."""
    process = node.start("deaf")
    node.facts()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == GO_ON_LATER


def test_a_job_that_ends_itself_by_the_same_signal_is_no_wish_of_the_cluster(node: Node) -> None:
    """Only what came through the script is told from a death."""
    process = node.start("deaf")
    pid = node.facts()["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + 15


@pytest.mark.parametrize("missing", ["project", "run/job.json", "bin python"])
def test_a_node_that_does_not_see_what_it_needs_says_so_and_begins_nothing(node: Node, missing: str) -> None:
    """In one line, with its own name and the path."""
    path = node.root / missing
    path.rename(node.root / "elsewhere")
    code, said = node.run()
    assert code == CANNOT_BEGIN
    assert said.startswith(f"evalrun: {os.uname().nodename} does not see {path}; ")
    assert said.count("\n") == 1
    assert not node.noted.exists()


def test_what_is_handed_on_cannot_undo_what_is_fixed(tmp_path: Path) -> None:
    """Words of the launch come first: a job has no addopts, no cache; workers only where they are asked for."""
    handed = ("-o", "addopts=-x", "-p", "cacheprovider", "-W", "error")
    command = job_command(spec_of(tmp_path, "a.yaml::test_pair[x]", arguments=handed, workers=3), tmp_path / "job.json")
    fixed = ["-c", f"{tmp_path}/tox.ini", "--rootdir", str(tmp_path), "-o", "addopts=", "-p", "no:cacheprovider"]
    assert command == [
        *(sys.executable, "-m", "pytest"),
        *handed,
        *fixed,
        *("-n", "3", "--eval-job", str(tmp_path / "job.json"), "./a.yaml"),
    ]
    assert "-n" not in job_command(spec_of(tmp_path, "a.yaml::test_pair[x]"), tmp_path / "job.json")


def test_pytest_collects_odd_paths_and_reads_no_other_ini(tmp_path: Path) -> None:
    """Names that look like options, files of options or node ids; an ini that the launch did not read stays unread."""
    root = tmp_path / "of $HOME 'x'"
    root.mkdir()
    names = ["-x", "@files", "a [1] b", "größe"]
    for name in names:
        (root / name).mkdir()
        (root / name / f"test_{name[1:].strip('[1] ')}.py").write_text("def test_it(): pass\n")
    (root / "größe" / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (root / "conftest.py").write_text("")
    ids = [f"{file.relative_to(root)}::test_it" for name in names for file in (root / name).glob("*.py")]
    command = job_command(spec_of(root, *ids, inifile=None), root / "job.json")
    without = command.index("--eval-job")
    command[without : without + 2] = ["--collect-only", "-q"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert sorted(ended.stdout.splitlines()[: len(ids)]) == sorted(ids), ended.stdout + ended.stderr
