"""A task worker from its begin to its end: how it is started, whom it tells, what ends it, and what cannot begin."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from taskworkers import EVALRUN, Listening, failed, poll, running

if TYPE_CHECKING:
    from pathlib import Path

TASK = """
import os
import time
from pathlib import Path

print("imported")

class Small:
    def __init__(self):
        print("made")
        self.calls = 0

    def get_indices(self):
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("asked twice")
        return ["a", 1]

    def start_sample(self, index, session):
        Path("pid").write_text(str(os.getpid()))
        session.act("wait")
        return True

    def release(self):
        Path("released").write_text("yes")

class Plain:
    def get_indices(self):
        return []
    def start_sample(self, index, session):
        return {"here": os.getcwd(), "relative": Path("data.txt").read_text()}

"""
TASKS = """
small: {module: "./own.py:Small"}
apart: {module: "./own.py:Small", sessions: process}
plain: {module: own.Plain, parameters: {name: known-as, concurrency: 3}}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tasks")
    (directory / "own.py").write_text(TASK)
    (directory / "tasks.yaml").write_text(TASKS)
    (directory / "data.txt").write_text("data")
    return directory


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_worker_registers_again_soon_when_its_controller_refuses_it_or_comes_back(directory: Path) -> None:
    """What is refused, and whether the controller answers, is told once; the indices are asked of the task once."""
    first = Listening()
    first.refusal = "Error: Task already exists with different indices"
    with running(directory, "small", "--controller", first.url, "--heartbeat", "1000") as worker:
        poll(lambda: len(first.calls) > 1)
        first.refusal = None
        poll(lambda: "registered at" in worker.log.split("different indices")[-1])
        assert worker.log.count("different indices") == 1
    first.close()
    assert {json.dumps(body) for _, _, body in first.calls} == {
        json.dumps({"name": "small", "address": worker.url, "concurrency": 1, "indices": ["a", 1]})
    }


def test_a_controller_that_comes_later_is_found(directory: Path) -> None:
    """Nobody has to start them in order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(directory, "small", "--controller", f"http://127.0.0.1:{port}") as worker:
        poll(lambda: f"not registered at http://127.0.0.1:{port}/api: " in worker.log)
        controller = Listening(port)
        poll(lambda: controller.of("receive_heartbeat"))
        controller.close()


def test_code_and_files_are_found_in_the_root(directory: Path) -> None:
    """The root is the working directory and the first place of modules; a task's own name is what it registers as."""
    controller = Listening()
    with running(directory, "plain", "--controller", controller.url) as worker:
        _, answer, _ = worker.start("x")
        assert answer["output"]["result"] == {"here": str(directory), "relative": "data"}
        beat = poll(lambda: controller.of("receive_heartbeat"))[0]
        assert (beat["name"], beat["concurrency"]) == ("known-as", 3)
    controller.close()


def test_a_token_is_needed_in_the_path_and_is_never_shown(directory: Path) -> None:
    """It is a part of the URL that the controller is told, and of the controller's; logs and arguments have it not."""
    controller = Listening()
    words = ("--controller", controller.url, "--token-env", "A_TOKEN")
    with running(directory, "small", *words, A_TOKEN="a-token-of-ours") as worker:
        poll(lambda: controller.calls)
        _, path, beat = controller.calls[0]
        assert path == "/t/a-token-of-ours/api/receive_heartbeat"
        assert beat["address"] == worker.url
        assert worker.url.endswith("/t/a-token-of-ours/api")
        assert worker.call("get_indices") == (200, ["a", 1])
        worker.url = worker.url.replace("a-token-of-ours", "another-token")
        assert worker.call("get_indices")[0] == 403
        worker.url = worker.url.replace("/t/another-token", "")
        assert worker.call("get_indices")[0] == 403
        poll(lambda: "registered at" in worker.log)
        assert "a-token-of-ours" not in worker.log
    controller.close()


def test_a_page_of_another_origin_cannot_call_a_worker(directory: Path) -> None:
    """A browser on this machine is no client."""
    with running(directory, "small") as worker:
        assert worker.call("cancel_all", {}, {"Origin": "http://evil.example"})[0] == 403
        assert worker.call("cancel_all", {}, {"Host": "evil.example"})[0] == 421
        assert worker.call("cancel_all", {}, {"Content-Type": "text/plain"})[0] == 415


def test_a_worker_that_is_told_to_end_cancels_its_samples_and_lets_the_task_release(directory: Path) -> None:
    """SIGTERM is enough; who waits for a sample is still answered."""
    (directory / "released").unlink(missing_ok=True)
    with running(directory, "small") as worker:
        _, _, number = worker.start("a")
        worker.process.terminate()
        assert worker.process.wait(20) == 0
        assert number == 1
    assert text_of(directory / "released") == "yes"


def test_no_sample_in_a_process_outlives_its_worker(directory: Path) -> None:
    """Nor does the process that forks them, were the worker killed."""
    (directory / "pid").unlink(missing_ok=True)
    with running(directory, "apart") as worker:
        worker.start("a")
        sample = int(poll(lambda: text_of(directory / "pid")))
        children = [child.pid for child in psutil.Process(worker.process.pid).children(recursive=True)]
        assert sample in children
        worker.process.kill()
        worker.process.wait(20)
        poll(lambda: not any(lives(pid) for pid in children))


def test_a_worker_without_the_process_that_forks_its_samples_ends(directory: Path) -> None:
    """It could begin none any more; whoever keeps it running starts another."""
    with running(directory, "apart") as worker:
        forker = psutil.Process(worker.process.pid).children()[0]
        forker.kill()
        with suppress(OSError):
            worker.start("a")
        assert worker.process.wait(20) == 0


def test_a_worker_ends_with_its_parent(directory: Path) -> None:
    """Whoever started it by --with-parent may be killed: nothing is left running."""
    where = directory / "parent.url"
    words = ["--config", str(directory / "tasks.yaml"), "--root", str(directory), "--port", "0"]
    script = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([*{list(EVALRUN)!r}, 'task-worker', 'small', *{words!r}, "
        f"'--announce', {str(where)!r}, '--with-parent', str(os.getpid())])\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    poll(where.exists)
    assert where.stat().st_mode & 0o777 == 0o600
    [worker] = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    poll(lambda: not lives(worker.pid))


@pytest.mark.parametrize("task", ["Sleeps", "Pooled"])
def test_a_sample_that_does_not_end_holds_up_no_end_of_its_worker(directory: Path, task: str) -> None:
    """Ctrl-C is enough, were a thread of the sample's, or of a pool of asyncio's, asleep for ever."""
    (directory / "sleeps.py").write_text(
        "import asyncio, time\nclass Sleeps:\n    def get_indices(self): return [0]\n"
        "    def start_sample(self, index, session): time.sleep(600)\n"
        "class Pooled(Sleeps):\n    grace = 0\n"
        "    async def start_sample(self, index, session): await asyncio.to_thread(time.sleep, 600)\n"
    )
    (directory / "sleeps.yaml").write_text(f"sleeps: {{module: sleeps.{task}}}\n")
    with running(directory, "sleeps", config="sleeps.yaml") as worker:
        thread = threading.Thread(target=lambda: _quietly(worker.start, 0))
        thread.start()
        poll(lambda: worker.call("worker_status")[1]["current"])
        worker.process.send_signal(signal.SIGINT)
        assert worker.process.wait(20) == 0
        thread.join()


def _quietly(call: Any, *args: Any) -> None:
    with suppress(OSError, ValueError):
        call(*args)


def test_indices_are_printed_alone(directory: Path) -> None:
    """`--indices` writes JSON to stdout and nothing else, whatever the task prints; nothing is served."""
    (directory / "released").unlink(missing_ok=True)
    told = ["--config", str(directory / "tasks.yaml"), "--root", str(directory), "--indices"]
    done = subprocess.run([*EVALRUN, "task-worker", "small", *told], capture_output=True, timeout=60, check=True)
    assert done.stdout == b'["a",1]\n'
    assert b"made" in done.stderr
    assert text_of(directory / "released") == "yes"


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no root": (["--root", "/nowhere"], "--root /nowhere: No such file or directory"),
    "grpc": (["--controller", "grpc://h:1"], "--controller: found 'grpc://h:1': gRPC is not spoken here"),
    "no URL": (["--self", "here:5001"], "--self: found 'here:5001'; accepted: http://HOST:PORT/api"),
    "no token": (["--token-env", "NOT_SET"], "--token-env NOT_SET: there is no such environment variable"),
    "others could call": (["--host", "0.0.0.0"], "--host 0.0.0.0: others than this machine could call"),
}


@pytest.mark.parametrize(("words", "said"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_begin_is_told_in_one_line(directory: Path, words: list[str], said: str) -> None:
    """It names the option, what was found there and what is accepted."""
    text = failed(directory, "small", *words, "--port", "0")
    line = next(line for line in text.splitlines() if line.startswith("Error: "))
    assert said in line
    assert text.endswith(line)


def test_a_port_in_use_is_told_in_one_line(directory: Path) -> None:
    """It names the option."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Error: --port {port}: in use on 127.0.0.1 by another process" in failed(
            directory, "small", "--port", str(port)
        )
