"""``evalrun start`` as people run it: what it says, what it keeps running, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_evalrun.agents.launch.ports import is_free
from pytest_evalrun.llm.served import free_port
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

TINY = str(Path(__file__).parent / "tinyservers.py")
SECONDS = 60
EVALRUN = [sys.executable, "-P", "-c", "from pytest_evalrun.cli import main; main()"]


class Started:
    """A command that runs, and its lines as they come."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def text(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str, times: int = 1) -> str:
        wait_until(lambda: self.text.count(text) >= times or self.process.poll() is not None, SECONDS, 0.02)
        assert self.text.count(text) >= times, self.text
        return self.text

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def pid_of(self, name: str) -> int:
        """The PID that was said last of a program."""
        lines = [line for line in self.text.splitlines() if line.startswith(name) and "started, process" in line]
        return int(lines[-1].rpartition(" ")[2])


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a tiny controller."""
    port = free_port()
    with subprocess.Popen([sys.executable, TINY, "controller", str(port)]) as process:
        try:
            assert wait_until(lambda: not is_free(port), SECONDS, 0.02)
            yield f"http://localhost:{port}/api"
        finally:
            process.kill()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with tasks that are well, that die, and that never say a word."""
    modes = ("well", "dies", "silent")
    words = {mode: f"{{python}} {TINY} worker {{name}} {{address}} {{controller}} {mode}" for mode in modes}
    tasks = {mode: {"module": "a.B", "command": words[mode]} for mode in modes}
    (tmp_path / "configs/tasks").mkdir(parents=True)
    (tmp_path / "configs/tasks/all.json").write_text(json.dumps(tasks))
    config = {"definition": {"import": "tasks/all.json"}, "start": {"well": 2}}
    (tmp_path / "configs/start_task.yaml").write_text(json.dumps(config))
    return tmp_path


@contextmanager
def start(project: Path, *words: str, **environment: str) -> Iterator[Started]:
    output = project / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [*EVALRUN, "start", *words],
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
            text=True,
        )
    left: set[int] = set()
    try:
        yield Started(process, output)
        left = children_of(process.pid)
    finally:
        process.kill()
        process.wait()
    assert wait_until(lambda: not any(map(is_alive, left)), SECONDS, 0.02)


def children_of(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.Error:
        return set()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def base() -> str:
    return str(free_port())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_what_it_starts_is_ready_line_by_line_and_ends_with_it(project: Path, controller: str, number: int) -> None:
    """Each worker is told when the controller lists it; Ctrl-C, SIGTERM and a closed terminal end all of them."""
    with start(project, "-l", controller, "-p", base()) as started:
        text = started.wait_for("2 of 2 workers ready after")
        assert f"controller: there is one at {controller}" in text
        assert text.count(": ready, takes 3 at once, 2 indices") == 2
        assert "well-1 | hello from well" in text
        children = children_of(started.process.pid)
        assert started.end(number) == 0
        assert "ending 2 workers" in started.text
        assert not any(map(is_alive, children))


def test_nothing_is_left_of_one_that_was_killed(project: Path, controller: str) -> None:
    """Supervisors end the workers of a command that was killed."""
    with start(project, "-l", controller, "-p", base(), "-s", "well", "1") as started:
        started.wait_for("1 of 1 worker ready after")
        children = children_of(started.process.pid)
        started.process.kill()
        assert wait_until(lambda: not any(map(is_alive, children)), SECONDS, 0.02)


def test_words_of_the_command_line_replace_those_of_the_file(project: Path, controller: str) -> None:
    """`-s` takes many words, ends at the next option, and overrides all of `start:`."""
    with start(project, "-s", "well", "1", "silent", "1", "-l", controller, "-p", base()) as started:
        text = started.wait_for("ready, takes")
        assert text.count("started, process") == 2
        assert "silent (port" in text


def test_a_worker_that_dies_is_started_again(project: Path, controller: str) -> None:
    """A worker that was killed is said, started anew, and ready once the controller has heard of the new one."""
    with start(project, "-s", "well", "1", "-l", controller, "-p", base()) as started:
        started.wait_for("ready, takes")
        os.kill(started.pid_of("well"), signal.SIGKILL)
        text = started.wait_for("ready, takes", times=2)
        assert "was ended by SIGKILL; started again in 1 s" in text


def test_a_task_that_cannot_run_does_not_keep_others_from_it(project: Path, controller: str) -> None:
    """What dies again and again waits longer each time, with its last words on the screen; the others are ready."""
    with start(project, "-s", "well", "1", "dies", "1", "-l", controller, "-p", base()) as started:
        text = started.wait_for("ended with exit code 1; started again in 2 s")
        assert "dies-1 | no such data" in text
        assert "well (port" in started.wait_for("ready, takes")


def test_a_mistake_in_a_task_is_told_of_the_users_file(project: Path, controller: str) -> None:
    """What a worker of ours says of a definition names the file that the user wrote, to the end."""
    tasks = {"none": {"module": "./none.py:None"}}
    (project / "configs/start_task.yaml").write_text(json.dumps({"definition": tasks, "start": {"none": 1}}))
    with start(project, "-l", controller, "-p", base()) as started:
        text = started.wait_for("ended with exit code 2; started again in 1 s")
        assert "none-1 | Error: configs/start_task.yaml: none.module: './none.py:None': there is no file" in text


def test_ports_that_are_taken_are_passed_over(project: Path, controller: str) -> None:
    """A port in use is said with whoever has it, and the next one is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start(project, "-s", "well", "1", "-l", controller, "-p", str(port)) as started:
            text = started.wait_for("ready, takes")
            assert f"port {port} is taken by process {os.getpid()} (" in text
            (found,) = re.findall(r"well \(port (\d+)\): started", text)
            assert int(found) > port


def test_the_file_may_name_the_controller(project: Path, controller: str) -> None:
    """`controller:`, and `controller_address:` as AgentBench's documents have it, are where workers are heard."""
    for key in ("controller", "controller_address"):
        config = {"definition": {"import": "tasks/all.json"}, "start": {"well": 1}, key: controller}
        (project / "configs/start_task.yaml").write_text(json.dumps(config))
        with start(project, "-p", base()) as started:
            started.wait_for("1 of 1 worker ready after")


def test_a_controller_that_is_not_there_is_waited_for(project: Path) -> None:
    """Without -a nothing is started before the controller answers, and that is said."""
    url = f"http://localhost:{base()}/api"
    with start(project, "-l", url) as started:
        text = started.wait_for("waiting for it")
        assert f"controller: nobody answers at {url}; waiting for it (-a starts one)" in text
        assert started.end(signal.SIGINT) == 0
        assert "started, process" not in started.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-s", "nothing", "1"], "configs/start_task.yaml: found no task 'nothing'; accepted: dies, silent, well"),
        (["-s", "well"], "-s: found nothing behind 'well'; accepted: NAME NUM"),
        (["--config", "configs/none.yaml"], "configs/none.yaml: there is no such file"),
        (["-l", "grpc://localhost:5000"], "--controller: found 'grpc://localhost:5000': gRPC is not spoken here"),
        (["-l", "http://203.0.113.9:1/api", "-a"], "-a starts a controller on this machine only"),
        (["-s", "well", "0"], "configs/start_task.yaml: found nothing to start"),
    ],
)
def test_mistakes_are_one_line(project: Path, words: list[str], said: str) -> None:
    """A mistake is told in one line, with what is accepted, before anything is started."""
    with start(project, *words) as started:
        assert started.process.wait(SECONDS) == 2
        assert said in started.text
        assert "Traceback" not in started.text
        assert "started, process" not in started.text


def test_a_port_of_another_server_is_told(project: Path) -> None:
    """-a does not take a server that is no controller for one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        port = other.server_address[1]
        with start(project, "-a", "-l", f"http://localhost:{port}/api") as started:
            assert started.process.wait(SECONDS) == 2
            assert f"port {port} is taken by process {os.getpid()}" in started.text
        other.shutdown()


def test_docker_runs_what_it_is_told(project: Path, controller: str) -> None:
    """An entry with an image is run by the docker on the PATH, and its container is taken away at the end."""
    docker = project / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "docker: $@" >>{project}/calls\n[ "$1" = run ] && exec sleep 1000\n')
    docker.chmod(0o755)
    tasks = {"ltp": {"module": "a.B", "docker": {"image": "an-image", "command": "umask 0;"}}}
    (project / "configs/start_task.yaml").write_text(json.dumps({"definition": tasks, "start": {"ltp": 1}}))
    path = f"{docker.parent}:{os.environ['PATH']}"
    with start(project, "-l", controller, "-p", base(), PATH=path) as started:
        started.wait_for("started, process")
        assert wait_until(lambda: (project / "calls").exists(), SECONDS, 0.02)
        assert started.end(signal.SIGTERM) == 0
    run, remove = (project / "calls").read_text().splitlines()
    assert " an-image bash -c umask 0; python -m src.server.task_worker" in run
    assert remove == f"docker: rm -f {run.split('--name ')[1].split()[0]}"
