"""Tasks as configurations define them, and the commands that are made of them."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalrun.agents.tasks.commands import TOKEN_ENV, TaskHome, bridge_address, controller_command, worker_command
from pytest_evalrun.agents.tasks.definitions import (
    TaskDefinition,
    counts_in,
    counts_of,
    definition_of,
    definitions_in,
    read_definitions,
    write_definitions,
)
from pytest_evalrun.agents.wire.listing import place_of, with_token, without_token
from pytest_evalrun.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY = {"module": "a.B", "parameters": {"name": "x"}}
HOME = TaskHome(Path("/project"), Path("/private/tasks.yaml"), "http://localhost:5000/api", "s3cret-token")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"definition": {"x": ENTRY}, "start": {"x": 2}}, id="start_task"),
        pytest.param({"x": ENTRY}, id="task_assembly"),
        pytest.param({"x": ENTRY, "controller_address": "http://h:1/api"}, id="with controller"),
        pytest.param({"definition": {"task": {"x": ENTRY}, "agent": {"y": ENTRY}}, "output": "o"}, id="assignment"),
    ],
)
def test_tasks_are_found_wherever_a_file_has_them(values: dict[str, Any]) -> None:
    """The tasks of each of AgentBench's files are found, and nothing else of it."""
    assert definitions_in(values, "f.yaml") == {"x": TaskDefinition("x", ENTRY, "f.yaml")}


def test_numbers_of_workers_are_read_from_words_and_files() -> None:
    """NAME NUM NAME NUM on the command line is what `start:` is in a file; a name said twice adds up."""
    assert counts_of(["os-std", "2", "db", "1", "os-std", "1"]) == {"os-std": 3, "db": 1}
    assert counts_in({"start": {"os-std": 5, "db": 0}}, "f.yaml") == {"os-std": 5, "db": 0}
    assert counts_in({}, "f.yaml") == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["os-std"], "-s: found nothing behind 'os-std'; accepted: NAME NUM NAME NUM"),
        (["os-std", "2", "db"], "-s: found nothing behind 'db'"),
        (["os-std", "two"], "-s: found 'two' behind 'os-std'"),
        (["os-std", "100000"], "-s os-std: found 100000; accepted: a number of workers, 0 to 1000"),
    ],
)
def test_words_without_numbers_are_told(words: list[str], said: str) -> None:
    """What is no name with a number is a usage error that says how it is written."""
    with pytest.raises(ConfigError) as error:
        counts_of(words)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"docker": "image"}, "f: x.docker: found 'image'"),
        ({"docker": {"image": "-v"}}, "f: x.docker.image: found '-v'"),
        ({"docker": {"image": "i", "command": 1}}, "f: x.docker.command: found 1"),
        ({"command": 7}, "f: x.command: found 7; accepted: a command"),
        ({"command": "run {nam}"}, "f: x.command: found {nam}; accepted: {name}"),
        ({"command": ""}, "f: x.command: it is empty"),
        ({"command": "run 'it"}, 'f: x.command: found "run \'it", which cannot be split'),
    ],
)
def test_a_task_that_cannot_be_started_is_told(
    entry: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with a definition is named with its file, its task and its key."""
    fake_docker(tmp_path, monkeypatch)
    with pytest.raises(ConfigError) as error:
        worker_command(TaskDefinition("x", ENTRY | entry, "f"), HOME, 5001)
    assert str(error.value).startswith(said)


def test_an_unknown_task_names_those_that_are_there() -> None:
    """A task that is not defined is a usage error with the names of those that are."""
    with pytest.raises(ConfigError, match=r"f.yaml: found no task 'z'; accepted: x, y"):
        definition_of(definitions_in({"x": ENTRY, "y": ENTRY}, "f.yaml"), "z", "f.yaml")


def test_definitions_travel_as_they_were_read(tmp_path: Path) -> None:
    """Workers read what was read here: dates, words that look like numbers, other letters; nobody else can."""
    entry = {"module": "a.B", "parameters": {"day": dt.date(2024, 1, 2), "no": "no", "ü": ["1", 1, None]}}
    path = write_definitions(tmp_path / "tasks.yaml", [TaskDefinition("x", entry, "f")])
    assert read_definitions(path, "f") == {"x": TaskDefinition("x", entry, "f")}
    assert path.stat().st_mode & 0o077 == 0


def test_no_command_shows_a_token() -> None:
    """The token of a controller is in the environment of what is started, and in no argument."""
    worker = worker_command(TaskDefinition("x", ENTRY, "f"), HOME, 5001)
    ours = controller_command(HOME.controller, Path("c.db"), Path("c.log"), HOME.token, lease=60, containers=False)
    for argv in (worker.argv, ours):
        assert not any("s3cret-token" in word for word in argv)
        assert argv[argv.index("--token-env") + 1] == TOKEN_ENV
    assert worker.env[TOKEN_ENV] == "s3cret-token"


def test_a_name_is_no_option() -> None:
    """A task called like an option is still a task."""
    worker = worker_command(TaskDefinition("--help", ENTRY, "f"), HOME, 5001)
    assert worker.argv[-2:] == ("--", "--help")


def test_a_command_of_the_user_is_filled() -> None:
    """`command:` has the words by which a worker of any kind is told where to be."""
    command = "{python} -m src.server.task_worker {name} --self {address} --port {port} -C {controller} {root} {{}}"
    worker = worker_command(TaskDefinition("x", ENTRY | {"command": command}, "f"), HOME, 5001)
    url = "http://localhost:5000/t/s3cret-token/api"
    own = ("--self", "http://127.0.0.1:5001/api", "--port", "5001", "-C", url, "/project", "{}")
    assert worker.argv == (sys.executable, "-m", "src.server.task_worker", "x", *own)


def fake_docker(directory: Path, monkeypatch: pytest.MonkeyPatch, told: str = "") -> None:
    program = directory / "docker"
    program.write_text(f"#!/bin/sh\necho {told}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")


def test_docker_is_told_as_agentbench_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task with an image runs AgentBench's own worker in it; names are words of their own, never of the script."""
    fake_docker(tmp_path, monkeypatch)
    docker = {"image": "longinyu/agentbench-ltp", "command": "umask 0;"}
    worker = worker_command(TaskDefinition("x; rm -rf /", ENTRY | {"docker": docker}, "f"), HOME, 5003)
    told = list(worker.argv)
    script = told[told.index("-c") + 1]
    assert told[:3] == ["docker", "run", "--rm"]
    assert told[told.index("-p") + 1] == "127.0.0.1:5003:5003"
    assert told[told.index("--add-host") + 1] == "host.docker.internal:host-gateway"
    assert told[told.index("-v") + 1] == "/project:/root/workspace"
    assert told[told.index("-w") + 1] == "/root/workspace"
    assert "longinyu/agentbench-ltp" in told
    assert script == 'umask 0; python -m src.server.task_worker "$@" --controller "$EVALRUN_TASK_CONTROLLER"'
    assert told[-5:] == ["x; rm -rf /", "--self", "http://localhost:5003/api", "--port", "5003"]
    assert worker.env["EVALRUN_TASK_CONTROLLER"] == "http://host.docker.internal:5000/t/s3cret-token/api"
    assert worker.cleanup[:3] == ("docker", "rm", "-f")
    assert worker.cleanup[3] == told[told.index("--name") + 1]


def test_without_docker_an_image_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where docker is not there, a task that needs it says so before anything is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"f: x: its workers run in docker \(image i\), and there is no program"):
        worker_command(TaskDefinition("x", ENTRY | {"docker": {"image": "i"}}, "f"), HOME, 5001)


@pytest.mark.parametrize(
    ("entry", "told", "address"),
    [
        pytest.param({"docker": {"image": "i"}}, "127.0.0.1", "127.0.0.1", id="an address of ours"),
        pytest.param({"docker": {"image": "i"}}, "203.0.113.9", None, id="Docker Desktop's, which is not ours"),
        pytest.param({"docker": {"command": "umask 0;"}}, "127.0.0.1", None, id="no image"),
    ],
)
def test_containers_reach_a_controller_at_the_bridge(
    entry: Mapping[str, Any], told: str, address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where docker has a bridge on this machine, and a task an image, that is where a controller listens."""
    fake_docker(tmp_path, monkeypatch, told)
    assert bridge_address([TaskDefinition("x", ENTRY | entry, "f")]) == address


def test_a_token_goes_into_a_url_and_out_of_it() -> None:
    """The token is a part of the path, and can be taken off what others see."""
    assert with_token("http://h:1/api", "tok") == "http://h:1/t/tok/api"
    assert without_token("http://h:1/t/tok/api") == ("http://h:1/api", "tok")
    assert without_token("http://h:1/api") == ("http://h:1/api", None)


def test_names_of_this_machine_are_one() -> None:
    """Where a worker says it is, and where it was told to be, are compared as places."""
    assert place_of("http://127.0.0.1:5001/t/x/api") == place_of("http://localhost:5001/api") == place_of("[::1]:5001")
    assert place_of("http://other:5001/api") == ("other", 5001)
