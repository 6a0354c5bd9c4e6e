"""The monitor in a real terminal, on real runs."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest
from support import ECHO, kill_group, wait_for

from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.events import EventWriter
from pytest_evalrun.rundir.layout import RunPaths
from pytest_evalrun.rundir.sessions import open_session
from pytest_evalrun.rundir.tasklist import Status, TaskList
from pytest_evalrun.rundir.tasklock import TaskListLock

PROGRAM = """
import sys
from pathlib import Path
from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.monitor import monitor

run, *flags = sys.argv[1:]
try:
    code = monitor(Path(run), 0.2, once="--once" in flags, as_json="--json" in flags, stream=sys.stdout)
except EvalrunError as error:
    sys.exit(f"Error: {error}")
sys.exit(code)
"""


def command(run, *flags):
    return [sys.executable, "-c", PROGRAM, str(run), *flags]


class Terminal:
    """A tmux server of its own with one window, in which a shell runs."""

    def __init__(self, directory, size=(80, 24), **env):
        assert shutil.which("tmux"), "these tests need tmux: apt-get install tmux, or brew install tmux"
        self.directory = directory
        # A socket's path must be short, which a test's own directory need not be.
        self.place = Path(tempfile.mkdtemp(prefix="tmux-"))
        shell = ["env", "-u", "LC_ALL", "PS1=$ ", *(f"{name}={value}" for name, value in env.items()), "sh", "-i"]
        size = ("-x", str(size[0]), "-y", str(size[1]))
        self.tmux("-f", "/dev/null", "-u", "new-session", "-d", "-s", "x", *size, "-c", str(directory), *shell)
        self.say("echo before; echo $((6 * 7))")
        self.shows("42")

    def tmux(self, *args):
        done = subprocess.run(
            ["tmux", "-S", str(self.place / "s"), *args], capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout

    def watch(self, run):
        """The program's text is kept off the command line: it would be all that is seen."""
        script = self.directory / "monitor.py"
        script.write_text(PROGRAM)
        self.say(f"{shlex.join([sys.executable, str(script), str(run)])}; echo code $?")

    def say(self, line):
        self.keys("-l", line)
        self.keys("Enter")

    def keys(self, *keys):
        self.tmux("send-keys", "-t", "x", *keys)

    def resize(self, columns, rows):
        self.tmux("resize-window", "-t", "x", "-x", str(columns), "-y", str(rows))

    def text(self):
        return self.tmux("capture-pane", "-p", "-t", "x")

    def shows(self, *words, without=()):
        """The text, once it has all the words and none of those that must go."""

        def found():
            text = self.text()
            return text if all(w in text for w in words) and not any(w in text for w in without) else None

        try:
            return wait_for(found)
        except AssertionError:
            raise AssertionError(f"{words} without {without} never came; there is:\n{self.text()}") from None

    def close(self):
        self.tmux("kill-server")
        shutil.rmtree(self.place)


@pytest.fixture
def terminal(tmp_path):
    """``terminal(size, NAME=value)`` opens one."""
    opened = []

    def make(size=(80, 24), **env):
        opened.append(Terminal(tmp_path, size, **env))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def slow(project):
    """Four pairs of a thousand batches, twenty a second, two at once; and the process that runs them."""
    project.make(("alpha", "beta"), ("one", "two"), samples=4000, params={"delay": 0.05})
    process = project.start("evals", "-n", "2")
    wait_for(lambda: len(list(project.latest.glob("state/echo/*/*.state"))) == 2, process=process)
    yield project, process
    kill_group(process)


def test_a_live_run_in_windows_of_many_sizes(slow, terminal):
    """Every size shows how far it is and what runs; a window that changes its size is drawn again."""
    project, _ = slow
    window = terminal((80, 24))
    window.watch(project.latest)
    text = window.shows("Running (2)", "[batch ", "[in batch ", "/s  gw", "0/4", "Log", without=["before"])
    assert "running for" in text.splitlines()[0]
    assert len(text.splitlines()) <= 24
    window.resize(40, 10)
    text = window.shows("Running (2)", "/1000", "filter", without=["[batch"])
    assert max(map(len, text.splitlines())) <= 40
    window.resize(250, 70)
    window.shows("Tasks ─", "│ Running (2)", "[batch ", "[retried 0]")
    window.resize(20, 5)
    text = window.shows("Running (2)", without=["Tasks"])
    assert len(text.splitlines()) == 5
    window.keys("q")
    window.shows("code 0")


def test_keys_fold_filter_and_leave(slow, terminal):
    """What is typed is seen, and q gives back the terminal as it was."""
    project, _ = slow
    window = terminal((100, 40))
    window.watch(project.latest)
    window.shows("    ◐ one")
    window.keys("Left")
    window.shows("◐ echo/alpha", without=["    ◐ one"])
    window.keys("/", "b", "e", "t")
    text = window.shows("/bet_", "Running (1)", without=["echo/alpha"])
    assert "echo/beta" in text
    window.keys("Escape")
    window.shows("Running (2)", "echo/alpha")
    window.keys("q")
    text = window.shows("before", "code 0", without=["Running"])
    window.say("stty -a")
    assert " -echo " not in window.shows("icanon")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(slow, terminal, number):
    """Whatever ends the monitor, the shell goes on where it was."""
    project, _ = slow
    window = terminal()
    window.watch(project.latest)
    window.shows("Running (2)", without=["before"])
    shell = psutil.Process(int(window.tmux("display-message", "-p", "-t", "x", "#{pane_pid}")))
    for child in shell.children():
        child.send_signal(number)
    window.shows("before", f"code {128 + number}", without=["Running"])


def test_stopped_and_brought_back(slow, terminal):
    """Ctrl-Z leaves the shell its terminal; fg draws again."""
    project, _ = slow
    window = terminal()
    window.watch(project.latest)
    window.shows("Running (2)")
    window.keys("C-z")
    window.shows("before", "Stopped", without=["Running (2)"])
    window.say("fg")
    window.shows("Running (2)", without=["before"])
    window.keys("q")
    window.shows("before", without=["Running (2)"])


def test_a_killed_run_is_called_dead_and_watched_until_it_ends(slow, terminal):
    """The likely reason, the command to carry on; carried on it lives again, and its summary stays on the screen."""
    project, process = slow
    window = terminal((100, 40))
    window.watch(project.latest)
    window.shows("Running (2)")
    kill_group(process)
    text = window.shows("DEAD: process", "likely reason: ", "Interrupted (2)")
    assert "carry on with: python -m pytest -p no:cacheprovider evals -n 2" in text
    again = project.start("evals", "-n", "2", "--eval-set", "params.delay=0")
    try:
        window.shows("echo: exact_match", "4 completed", "summary: ", "code 0", without=["DEAD", "Running"])
        assert again.wait(60) == 0
    finally:
        kill_group(again)


def test_damaged_files_do_not_end_the_watch(slow, terminal):
    """They are told, and what else there is goes on."""
    project, process = slow
    window = terminal((100, 40))
    window.watch(project.latest)
    window.shows("Running (2)")
    kill_group(process)
    for state in project.latest.glob("state/echo/*/*.state"):
        state.write_bytes(b"\xff\x00")
    (project.latest / ".task_list").write_text("*torn")
    text = window.shows(".task_list is damaged", "the state of echo/", "Interrupted (2)")
    assert "DEAD" in text


def test_where_nothing_can_be_drawn_it_tells(project):
    """Into a pipe: a page, the log as it comes, and the summary at the end."""
    project.make(("alpha",), ("one", "two"))
    held = ECHO.replace("time.sleep(self.delay)", "while not os.path.exists('go'): time.sleep(0.02)")
    (project.suite / "model.py").write_text(held)
    process = project.start("evals", "-n", "0")
    try:
        wait_for(lambda: (project.workdir / "latest").exists(), process=process)
        wait_for(lambda: (project.latest / "session.json").exists(), process=process)
        monitor = subprocess.Popen(command(project.latest), stdout=PIPE, stderr=PIPE, text=True)
        try:
            first = monitor.stdout.readline()
            (project.root / "go").touch()
            told, wrong = monitor.communicate(timeout=300)
        finally:
            monitor.kill()
    finally:
        kill_group(process)
    assert (monitor.returncode, wrong) == (0, "")
    assert first.startswith(project.latest.name)
    assert "\x1b" not in first + told
    assert "✓ passed: echo/alpha/two" in told
    assert "echo: exact_match" in told


@pytest.mark.parametrize("flags", [["--once"], ["--json"], []])
def test_whoever_has_read_enough_may_close_the_pipe(slow, flags):
    """``| head -1`` is no error."""
    project, _ = slow
    line = f"{shlex.join(command(project.latest, *flags))} | head -n 1"
    told = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=300, check=False)
    assert told.stderr == ""
    assert told.stdout.startswith("{" if flags == ["--json"] else project.latest.name)


def test_a_newer_run_is_refused_and_left_as_it_is(project):
    """It says which format it is of."""
    project.make()
    assert project.run().code == 0
    run_json = project.latest / "run.json"
    run_json.write_text(json.dumps({"format": 9}))
    before = {path: path.stat().st_mtime_ns for path in project.latest.rglob("*")}
    told = subprocess.run(command(project.latest, "--once"), capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode != 0
    assert "written by a newer version (format 9)" in told.stderr
    assert {path: path.stat().st_mtime_ns for path in project.latest.rglob("*")} == before


def large_run(root, tasks=100, datasets=100):
    """10,000 pairs of which half are done, and a living session."""
    root.mkdir()
    paths = RunPaths(root)
    write_atomic(paths.run_json, '{"format": 1}')
    names = [(f"big/m{i:02d}", [f"d{j}" for j in range(datasets)]) for i in range(tasks)]
    listed = TaskList((task, "", each) for task, each in names)
    session = open_session(paths, ["pytest", "evals"])
    EventWriter(paths.events, "controller").write("run_started", argv=["pytest"], selected=tasks * datasets)
    worker = EventWriter(paths.worker_events("gw0"), "gw0")
    for task, each in names[: tasks // 2]:
        for dataset in each:
            worker.write("item_started", f"{task}/{dataset}")
            worker.write("item_finished", f"{task}/{dataset}", outcome="passed", reused=False, seconds=0.5)
            listed.set(task, dataset, Status.COMPLETED)
    worker.write("item_started", f"{names[tasks // 2][0]}/d0")
    listed.set(names[tasks // 2][0], "d0", Status.RUNNING)
    listed.write(paths.task_list, TaskListLock(root))
    return session


def test_a_run_of_ten_thousand_pairs(terminal, tmp_path):
    """It is shown where it runs, scrolled to its end, and searched."""
    session = large_run(tmp_path / "large")
    window = terminal((250, 70))
    window.watch(tmp_path / "large")
    window.shows("50 %  5000/10000", "✓ 5000 completed", "◐ big/m50", "○ big/m99")
    window.keys("Right")
    window.keys("End")
    window.shows("○ d35", "○ d99", without=["○ d34"])
    window.keys("Up")
    window.shows("○ d34", without=["○ d99"])
    window.keys("/", "m", "4", "2", "/", "d", "7", "Enter")
    window.shows("✓ big/m42", "✓ d77", "filter: m42/d7", without=["d88"])
    window.keys("q")
    window.shows("code 0")
    session.close(clean=True)


def test_without_utf8_it_is_ascii(terminal, tmp_path):
    """No box, no sign that the terminal does not know."""
    session = large_run(tmp_path / "large", 4, 3)
    window = terminal((80, 24), LC_ALL="C")
    window.watch(tmp_path / "large")
    text = window.shows("50 %  6/12", "> big/m02", "#####")
    assert text.isascii()
    session.close(clean=True)


def test_a_run_that_does_not_change_is_not_drawn_again(tmp_path):
    """Not a byte: nothing flickers."""
    large_run(tmp_path / "large", 4, 3)._lock.close()
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command(tmp_path / "large"), stdin=slave, stdout=slave, stderr=slave, env=os.environ | {"TERM": "xterm"}
    )
    os.close(slave)
    try:
        shown = b""
        while b"filter" not in shown:
            assert select.select([master], [], [], 30)[0]
            shown += os.read(master, 1 << 16)
        quiet_until = time.monotonic() + 1
        while (left := quiet_until - time.monotonic()) > 0:
            assert not select.select([master], [], [], left)[0], os.read(master, 1000)
    finally:
        process.terminate()
        assert process.wait(30) == 143
        os.close(master)
