"""A run in the background: how shells start it, what signals mean to it, and the list that others watch it by."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest
from support import EVALRUN, end, kill_group, wait_for

from pytest_evalrun.rundir.launches import launches
from pytest_evalrun.rundir.tasklist import Status, parse

SAMPLES = 40
# Waits at the first sample of a dataset for a file of the dataset's name, so that a test decides when it ends.
WAITING = """
import os, time
class Model:
    def __init__(self, path=None): ...
    def predict(self, batch):
        gate = os.environ.get("GATE")
        while gate and not os.path.exists(gate):
            time.sleep(0.01)
        return [sample.input for sample in batch]
"""


class Background:
    """A suite whose model waits, and a shell that starts pytest over it."""

    def __init__(self, project, gate: Path) -> None:
        self.project = project.make(samples=SAMPLES)
        (project.suite / "model.py").write_text(WAITING)
        self.gate = gate

    def shell(self, line: str, workers: str) -> subprocess.Popen[str]:
        """``{pytest}`` in the line is the command; the shell leads a group and a session of its own."""
        command = shlex.join(self.project.command("evals", "-n", workers))
        return subprocess.Popen(
            ["sh", "-c", line.format(pytest=command)],
            cwd=self.project.root,
            env={**os.environ, "GATE": str(self.gate)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def session(self):
        return json.loads((self.project.latest / "session.json").read_text())

    def runs(self) -> bool:
        """The first pair is under way, and the list says so."""
        try:
            return b"|1\n+" in (self.project.latest / ".task_list").read_bytes()
        except OSError:
            return False

    def ended(self) -> bool:
        return "ended" in self.session()


@pytest.fixture
def background(project, tmp_path):
    return Background(project, tmp_path / "gate")


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(
    ("line", "number"),
    [
        pytest.param("{pytest} & wait", None, id="in the background"),
        pytest.param("{pytest} & trap '' INT; wait", signal.SIGINT, id="SIGINT ignored by the shell"),
        pytest.param("nohup {pytest} >log 2>&1", signal.SIGHUP, id="nohup and a closed terminal"),
        pytest.param("setsid {pytest} >log 2>&1", signal.SIGHUP, id="setsid and a closed terminal"),
        pytest.param("{pytest} <&-", None, id="no standard input"),
        pytest.param("{pytest} | cat", None, id="into a pipe"),
    ],
)
def test_it_goes_on(background, line, number, workers):
    """What a shell or a closed terminal sends to its jobs is not meant for a run that was detached from them."""
    shell = background.shell(line, workers)
    main = None
    try:
        wait_for(background.runs, process=shell)
        main = background.session()["pid"]
        if number is not None:
            os.killpg(shell.pid, number)
        background.gate.touch()
        wait_for(background.ended)
    finally:
        kill_group(shell)
        if main is not None:
            wait_for(lambda: not lives(main))
    assert background.session()["clean"] is True
    assert background.project.result("a", "one")["status"] == "passed"
    assert (background.project.latest / ".task_list").read_text() == "*echo/a||1\n-one|2\n+summary|1|1\n"


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_in_the_background_sigterm_still_ends_it(background, workers):
    """A shell that takes SIGINT from its jobs leaves SIGTERM, which is what `kill` and `evalrun stop` send."""
    shell = background.shell("{pytest} & wait", workers)
    try:
        wait_for(background.runs, process=shell)
        os.kill(background.session()["pid"], signal.SIGTERM)
        background.gate.touch()
        wait_for(background.ended)
    finally:
        kill_group(shell)
    assert background.session()["clean"] is False
    assert "-one|0" in (background.project.latest / ".task_list").read_text()


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(
    ("line", "goes_on"),
    [
        pytest.param("{pytest}", False, id="in the foreground"),
        pytest.param("{pytest} &", False, id="in the background"),
        pytest.param("{pytest} & disown", True, id="disowned"),
        pytest.param("nohup {pytest} >log 2>&1 &", True, id="nohup"),
        pytest.param("trap '' HUP; {pytest}", True, id="SIGHUP ignored"),
    ],
)
def test_its_terminal_is_closed(background, line, goes_on, workers):
    """It ends like after Ctrl-C, or goes on to its end where the user said so; it never just dies."""
    command = shlex.join(background.project.command("evals", "-n", workers))
    shell, terminal = pty.fork()
    if not shell:
        os.chdir(background.project.root)
        os.execvpe("bash", ["bash", "--norc", "-i"], {**os.environ, "GATE": str(background.gate)})
    try:
        os.write(terminal, f"{line.format(pytest=command)}\n".encode())
        wait_for(background.runs)
        # As a terminal does. A shell that reads the end of its input before it hears of the signal ends as after
        # Ctrl-D, and leaves its jobs alone (3 of 900 times, measured): so the input ends when the shell has ended,
        # unless it ignores the signal and waits for its job.
        os.kill(shell, signal.SIGHUP)
        if "trap" not in line:
            wait_for(lambda: not lives(shell))
        os.close(terminal)
        if goes_on:
            background.gate.touch()
        wait_for(background.ended)
        wait_for(lambda: not lives(background.session()["pid"]))
    finally:
        os.kill(shell, signal.SIGKILL)
        os.waitpid(shell, 0)
    assert background.session()["clean"] is goes_on
    state = 2 if goes_on else 0
    assert (background.project.latest / ".task_list").read_text() == f"*echo/a||1\n-one|{state}\n+summary|1|1\n"


# Collecting takes until a test lets it end.
COLLECTS = """
import os, time
def pytest_collection_modifyitems():
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
"""


@pytest.fixture
def starting(background):
    """``starting(*options)``: a launch that has found its suite and has no run, after an earlier one; and its note."""
    project = background.project
    assert project.run("evals").code == 0
    (project.suite / "conftest.py").write_text(COLLECTS)
    processes = []

    def start(*options):
        process = project.start("evals", "--eval-run", "new", *options, GATE=str(background.gate))
        processes.append(process)
        (launch,) = wait_for(lambda: launches(project.workdir), process=process)
        return process, launch

    yield start
    for process in processes:
        kill_group(process)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_monitor_waits_for_a_launch_that_begins(starting, background, workers):
    """Its run, not the one before, whoever comes too early; with the end of the launch its note is gone."""
    project = background.project
    before = project.latest.name
    process, launch = starting("-n", workers)
    assert (launch.pid, launch.run, launch.rootdir) == (process.pid, None, str(project.root))
    monitor = subprocess.Popen(
        [*EVALRUN, "monitor"], cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert f"process {process.pid} is starting" in monitor.stderr.readline()
    background.gate.touch()
    shown, _ = monitor.communicate(timeout=300)
    process.communicate(timeout=300)
    assert project.latest.name != before
    assert project.latest.name in shown
    assert not re.search(rf"{before}(?!_\d)", shown)  # a run of the same second has its name, and a number
    assert launches(project.workdir) == []
    assert not launch.file.exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_stop_ends_a_launch_that_begins(starting, background, workers):
    """There is no run to stop, and none is made; the one before is left alone."""
    project = background.project
    before = project.latest.name
    process, launch = starting("-n", workers)
    code, out, err = project.evalrun("stop")
    assert (code, err) == (0, "")
    assert f"SIGTERM to process {process.pid}, which is starting" in out
    assert before not in out
    process.communicate(timeout=300)
    assert project.latest.name == before
    assert not launch.file.exists()


def test_who_only_collects_is_no_launch(background):
    """Nobody waits for the run of a dry run."""
    project = background.project
    (project.suite / "conftest.py").write_text(
        "from pathlib import Path\nfrom pytest_evalrun.rundir.launches import launches\n"
        f"def pytest_collection_modifyitems():\n    assert launches(Path({str(project.workdir)!r})) == []\n"
    )
    assert project.run("evals", "--collect-only").code == 0
    assert project.run("evals").code == 3  # where there is a note, the assertion fails


def test_the_list_is_right_while_nothing_else_happens(background):
    """Started, done and failed are seen without waiting for another item to end."""
    project = background.project
    project.dataset("two", SAMPLES, wrong=SAMPLES)
    project.yaml(("a",), ("one", "two"), gates={"exact_match": {"min": 0.5}}, post_process_plugin="exact_match")
    process = project.start("evals", "-n", "1", GATE=str(background.gate))
    try:
        head, tail = "*echo/a|exact_match|2\n", "+summary|1|2\n"
        listed = project.workdir / "latest" / ".task_list"
        texts = [f"{head}-one|{one}\n-two|{1 - one}\n{tail}" for one in (0, 1)]  # which comes first is the scheduler's
        wait_for(lambda: listed.exists() and listed.read_text() in texts, process=process)
        background.gate.touch()
        process.communicate(timeout=300)
    finally:
        kill_group(process)
    assert listed.read_text() == f"{head}-one|2\n-two|3\n{tail}"
    assert (project.latest / "failed_tasks.txt").read_text() == "echo/a/two\n"


def test_the_list_can_be_read_at_any_moment(project):
    """While it is replaced too: every reading is whole, names the same pairs, and no pair goes back."""
    names = [f"{i:02}" for i in range(30)]
    project.make(models=("a", "b"), datasets=names, samples=4, params={"delay": 0.02})
    process = project.start("evals", "-n", "2")
    listed, readings = project.workdir / "latest" / ".task_list", []
    try:
        wait_for(listed.exists, process=process)
        while process.poll() is None:
            readings.append(parse(listed.read_text()))
            time.sleep(0.001)
    finally:
        kill_group(process)
    assert None not in readings
    assert {frozenset(reading) for reading in readings} == {
        frozenset((f"echo/{task}", name) for task in "ab" for name in names)
    }
    assert all(before[place] <= after[place] for before, after in pairwise(readings) for place in before)
    assert set(readings[-1].values()) == {Status.COMPLETED}
    end(process)
