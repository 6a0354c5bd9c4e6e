"""Task servers of a launch: shared by its processes, outlive each of them, and are gone with the launch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from agentlaunch import TASKS, Launch

from pytest_evalrun.agents.launch.embedded import end_servers
from pytest_evalrun.agents.launch.shared import ServerFiles
from pytest_evalrun.agents.wire.listing import listed_workers, without_token
from pytest_evalrun.errors import ConfigError, PairError
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 60
ODD = ["..", "-a /b", "任务" * 40]
# By which word of its command a process is told.
WORDS = {"controller": "--db", "worker": "--self"}
# Another process of the launch, which ends as soon as it knows the address.
ASKS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from agentlaunch import asked, pair_of
print(asked(Path(sys.argv[1]), int(sys.argv[2])).address(pair_of(Path(sys.argv[3]), "single")))
"""


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    launch = Launch(tmp_path)
    yield launch
    launch.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """One launch for all tests that end nothing of it."""
    launch = Launch(tmp_path_factory.mktemp("launch"))
    yield launch
    launch.end()


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def all_gone(processes: list[psutil.Process]) -> bool:
    return wait_until(lambda: not any(map(lives, processes)), SECONDS, 0.02)


def test_all_processes_of_a_launch_share_one_server(shared: Launch) -> None:
    """Whoever asks, however many at once, is told the same address, where every worker of the task is ready."""
    with ThreadPoolExecutor(8) as threads:
        addresses = set(threads.map(lambda _: shared.address("count"), range(8)))
    (address,) = addresses
    assert len(shared.pids) == 1
    workers = [worker for worker in listed_workers(address) or [] if worker.task == "count"]
    assert [worker.capacity for worker in workers] == [4, 4]
    assert all(worker.is_alive for worker in workers)


@pytest.mark.parametrize("name", ODD, ids=["dots", "dash", "long"])
def test_a_task_may_have_any_name(shared: Launch, name: str) -> None:
    """Workers of a task are asked for by its name, also by one that no file could have."""
    address = shared.address(name, dict.fromkeys(ODD, TASKS["single"]))
    assert name in {worker.task for worker in listed_workers(address) or []}


def test_workers_are_started_for_tasks_that_are_asked_for(shared: Launch) -> None:
    """A task of which no pair was selected starts nothing; one more task is at the same address."""
    address = shared.address("count")
    before = {worker.task for worker in listed_workers(address) or []}
    assert before == {"count"}
    assert shared.address("single") == address
    assert {worker.task for worker in listed_workers(address) or []} == {"count", "single"}


def test_a_task_that_does_not_start_says_why(shared: Launch) -> None:
    """The last lines of a worker that dies at once are in the error, also of the next pair; others go on."""
    for _ in range(2):
        with pytest.raises(PairError, match=r"(?s)task broken: .*the database is not there") as error:
            shared.address("broken")
        assert "a worker of task broken ended with exit code" in str(error.value)
    assert shared.address("count")


def test_who_waits_for_workers_says_so(shared: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that takes its time to begin is waited for, and the pair's log says where to look meanwhile."""
    monkeypatch.setattr("pytest_evalrun.agents.launch.embedded.PATIENCE_SECONDS", 0.1)
    assert shared.address("slow") == shared.address("count")
    waits = [line for line in shared.said if line.startswith("task slow: its workers are not ready yet; their logs")]
    assert waits


def test_a_mistake_is_told_of_the_file_that_has_it(shared: Launch) -> None:
    """What is wrong with a definition is told of the suite's `tasks`, not of a file that the user never wrote."""
    with pytest.raises(PairError, match=r"Error: tasks: nothing.module: ./task.py:Nothing has no get_indices"):
        shared.address("nothing")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        pytest.param(TASKS, "tasks: found no task 'none'; accepted: broken, count, nothing", id="unknown"),
        pytest.param("there.yaml", "there.yaml: cannot be read", id="no file"),
        pytest.param({"none": 3}, "tasks: none: found 3; accepted: module and parameters", id="no mapping"),
        pytest.param(None, "found neither `controller:` nor `tasks:`", id="nothing"),
    ],
)
def test_what_is_not_defined_is_told(shared: Launch, tasks: Any, said: str) -> None:
    """A task that cannot be found is an error that names those that can, before anything is started."""
    before = list(shared.pids)
    with pytest.raises((ConfigError, PairError)) as error:
        shared.address("none", tasks)
    assert said in str(error.value)
    assert shared.pids == before


def test_no_token_is_seen_in_a_list_of_processes(shared: Launch) -> None:
    """The token is in no argument, and its file is of its user alone."""
    _, token = without_token(shared.address("count"))
    assert token
    assert not any(token in word for process in shared.family() for word in process.cmdline())
    assert listed_workers(without_token(shared.address("count"))[0]) is None
    tokens = [path for path in shared.directory.glob("*/token") if path.read_text() == token]
    (directory,) = [path.parent for path in tokens]
    assert (directory / "token").stat().st_mode & 0o077 == 0
    assert directory.stat().st_mode & 0o077 == 0


def test_a_file_of_agentbench_is_as_good(launch: Launch) -> None:
    """`tasks:` may be a start_task.yaml, whose `start` says how many workers there are."""
    (launch.root / "all.yaml").write_text(json.dumps({"count": {"module": "./task.py:Count"}}))
    (launch.root / "start.yaml").write_text("definition: {import: all.yaml}\nstart: {count: 2}\n")
    address = launch.address("count", "start.yaml")
    assert len(listed_workers(address) or []) == 2


def test_the_process_that_started_it_may_end(launch: Launch) -> None:
    """A worker of the launch that ends takes no server along; the launching process takes all."""
    here = str(Path(__file__).parents[1])
    argv = [sys.executable, "-c", ASKS, launch.directory, str(launch.launcher.pid), launch.root, here]
    address = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.strip()
    assert launch.address("single") == address
    assert launch.pids == []
    (directory,) = launch.directory.iterdir()
    state = ServerFiles(directory).state()
    assert state is not None
    launch.pids.append(state.pid)
    family = launch.family()
    launch.launcher.kill()
    launch.launcher.wait()
    assert all_gone(family)


@pytest.mark.parametrize("who", ["manager", "controller", "worker"])
def test_what_is_killed_is_there_again(launch: Launch, who: str) -> None:
    """kill -9 of the manager, the controller or a worker: the same address again, and all workers are ready."""
    address = launch.address("single")
    before = launch.family()
    if who == "manager":
        launch.manager.kill()
        assert all_gone(before)
    else:
        (victim,) = [process for process in before if WORDS[who] in process.cmdline()]
        victim.kill()
        assert all_gone([victim])
    assert launch.address("single") == address
    assert len(launch.pids) == (2 if who == "manager" else 1)
    assert wait_until(lambda: _is_ready(address), SECONDS, 0.05)


def _is_ready(address: str) -> bool:
    return [worker.is_alive for worker in listed_workers(address) or []] == [True]


def test_the_end_of_a_session_ends_them(launch: Launch) -> None:
    """Once it returns nothing lives, and nothing is started any more."""
    launch.address("single")
    family = launch.family()
    assert end_servers(launch.directory)
    assert not any(map(lives, family))
    with pytest.raises(PairError, match="its task server has ended with the session"):
        launch.address("single")
    assert end_servers(launch.directory)


def test_a_manager_that_does_not_end_is_killed(launch: Launch) -> None:
    """A manager that hears nothing is killed after its time, and supervisors end the rest."""
    launch.address("single")
    family = launch.family()
    os.kill(launch.manager.pid, signal.SIGSTOP)
    assert end_servers(launch.directory, seconds=0.2)
    assert all_gone(family)


def test_ctrl_c_shortens_the_end(launch: Launch) -> None:
    """Ctrl-C while the end is waited for kills everything at once, and breaks nothing off."""
    launch.address("single")
    family = launch.family()
    os.kill(launch.manager.pid, signal.SIGSTOP)
    hurry = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    hurry.start()
    assert end_servers(launch.directory, seconds=10 * SECONDS)
    hurry.join()
    assert all_gone(family)


def test_without_servers_there_is_nothing_to_end(tmp_path: Path) -> None:
    """A launch that started none ends none."""
    assert end_servers(tmp_path / "none")
