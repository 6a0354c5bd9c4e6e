"""AgentRL's own worker and evaluation, as they are installed, with our controller, worker and client."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import questions
from questions import ENDS, INDICES, answered
from taskservers import serving

from pytest_evalrun.agents.client import ControllerClient
from pytest_evalrun.agents.protocol import ServerFault
from pytest_evalrun.agents.statuses import Fault

HERE = Path(questions.__file__).parent
SECONDS = 240
TASKS = {
    "theirs": {"module": "theirsums.TheirSums", "parameters": {}},
    "ours": {"module": "oursums.OurSums", "parameters": {}},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Started:
    """Programs that run until the end of the tests."""

    def __init__(self, directory):
        self.directory = directory
        self.programs = []

    def start(self, *words, **environ):
        log = (self.directory / f"{len(self.programs)}.log").open("w")
        self.programs.append(
            subprocess.Popen(
                words, cwd=HERE, stdout=log, stderr=log, env=os.environ | environ, stdin=subprocess.DEVNULL
            )
        )
        log.close()

    def text(self):
        return "\n".join(file.read_text() for file in sorted(self.directory.glob("*.log")))

    def until(self, is_so):
        """Poll until something is so; what the programs wrote is told where it never is."""
        end = time.monotonic() + SECONDS
        while not (found := is_so()):
            died = [program.args for program in self.programs if program.poll() is not None]
            assert not died and time.monotonic() < end, f"{died}\n{self.text()}"
            time.sleep(0.05)
        return found

    def end(self):
        for program in self.programs:
            program.kill()
        for program in self.programs:
            program.wait()


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    """The URL of a controller of ours, which has a worker of AgentRL's and one of ours."""
    directory = tmp_path_factory.mktemp("servers")
    started = Started(directory)
    (directory / "tasks.json").write_text(json.dumps(TASKS))
    (directory / "tasks.yaml").write_text(json.dumps(TASKS))
    evalrun = str(Path(sys.executable).parent / "evalrun")
    announced, port = directory / "url", free_port()
    try:
        started.start(
            evalrun, "controller", "-p", "0", "--log", str(directory / "controller.log"), "--announce", str(announced)
        )
        started.until(announced.exists)
        url = announced.read_text().strip()
        started.start(
            sys.executable, "-m", "agentrl.worker", "theirs", "-c", str(directory / "tasks.json"), "-C", url,
            "--self", f"http://127.0.0.1:{port}/api", "--host", "127.0.0.1", "-p", str(port),
        )  # fmt: skip
        started.start(
            evalrun,
            "task-worker",
            "ours",
            "-c",
            str(directory / "tasks.yaml"),
            "-C",
            url,
            "-p",
            "0",
            "--root",
            str(HERE),
        )
        started.until(lambda: {"theirs", "ours"} <= asked(url, lambda client: client.workers()).keys())
        yield url
    finally:
        started.end()


def asked(url, call):
    """What a client of ours is told."""

    async def ask():
        client = ControllerClient(url, timeout=30)
        try:
            return await call(client)
        finally:
            await client.close()

    return asyncio.run(asyncio.wait_for(ask(), SECONDS))


def is_free(url):
    """Whether no slot is taken."""

    def free():
        told = asked(url, lambda client: client.workers())
        return not any(worker["current"] for task in told.values() for worker in task["workers"].values())

    end = time.monotonic() + SECONDS
    while not free() and time.monotonic() < end:
        time.sleep(0.05)
    return free()


@pytest.mark.parametrize("task", TASKS)
def test_their_evaluation(task, controller, tmp_path):
    """agentrl-eval gets the same ends of each sample from AgentRL's worker and from ours, over our controller."""

    def complete(body, request):
        message = answered(body["messages"])
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
        }
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "scripted", "choices": [choice]}

    with serving(completions=complete) as (url, sent):
        done = subprocess.run(
            [
                sys.executable, "-m", "agentrl.eval", task, "--controller", controller + "/", "--no-interactive",
                "--model", "scripted", "--base-url", url.removesuffix("/api") + "/v1", "--api-key", "none",
                "--chat-completions", "--output", str(tmp_path / "results"), "--concurrency", "3",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    (file,) = (tmp_path / "results").rglob("results.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    ends = {_index(row["index"]): (row["status"], row["metric_reward"] or 0.0) for row in rows}

    assert ends == ENDS, done.stdout + done.stderr
    assert len(sent) == 1 + 2 * (len(INDICES) - 1)
    assert is_free(controller)


def _index(told):
    if not isinstance(told, dict):
        return told
    return told["int_value"] if told["int_value"] is not None else told["str_value"]


@pytest.mark.parametrize("task", TASKS)
def test_our_client(task, controller):
    """A client of ours sees the same ends at both workers, with AgentBench's history of each sample."""

    async def sample(client, index):
        standing = await client.start_sample(task, index, wait=20)
        messages = list(standing.messages)
        while standing.status == "running":
            message = answered(messages)
            messages.append(message)
            standing = await client.interact(standing.session_id, message, before=messages)
            messages = [*([] if standing.replaces else messages), *standing.messages]
        return index, (standing.status.value, standing.reward or 0.0), [item["content"] for item in standing.history]

    async def play(client):
        return await asyncio.gather(*(sample(client, index) for index in await client.indices(task)))

    found = asked(controller, play)
    assert {index: end for index, end, _ in found} == ENDS
    histories = {index: history for index, _, history in found}
    assert histories[1] == [
        "What is 1 + 2?",
        'answer({"value": 3})',
        "noted",
        "And twice that?",
        'answer({"value": 6})',
    ]
    assert is_free(controller)


@pytest.mark.parametrize("task", TASKS)
def test_an_agent_that_cannot_go_on(task, controller):
    """The sample ends as `agent context limit` at AgentRL's worker, too, and its slot is free."""

    async def play(client):
        begun = await client.start_sample(task, 0)
        return await client.interact(begun.session_id, None, "agent context limit", before=begun.messages)

    assert asked(controller, play).status == "agent context limit"
    assert is_free(controller)


@pytest.mark.parametrize("task", TASKS)
def test_a_session_is_cancelled(task, controller):
    """A session that is cancelled is gone, and its slot is free."""

    async def play(client):
        begun = await client.start_sample(task, 0)
        await client.cancel(begun.session_id)
        await client.interact(begun.session_id, answered(begun.messages), before=begun.messages)

    with pytest.raises(ServerFault) as caught:
        asked(controller, play)
    assert caught.value.fault is Fault.INTERACT_FAILED
    assert is_free(controller)


def test_their_own_score(controller):
    """A task of AgentRL's makes its own score of results, as it was asked for."""
    outputs = [{"index": 0, "status": "completed", "result": {"second": 2}, "history": []}]

    assert asked(controller, lambda client: client.calculate_overall("theirs", outputs)) == {"count": 1}
