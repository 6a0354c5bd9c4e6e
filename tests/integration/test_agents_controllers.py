"""Pairs whose controller somebody else started: commands of ours as processes, and agents that are no good."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from agentsuite import Agents, evalrun_process, free_port
from llmserver import OPENER
from support import wait_for

TOKEN = "a-token-of-the-tests"


def ask(url: str):
    try:
        with OPENER.open(url, timeout=10) as reply:
            return json.load(reply)
    except OSError:
        return None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of a controller with two workers, started by the commands that somebody would give by hand."""
    home = Agents(tmp_path_factory.mktemp("server") / "home").write()
    tasks = {"count": {"module": "evals.agents.code.Count", "parameters": {"name": "count", "concurrency": 2}}}
    start = {"definition": {"import": "tasks.yaml"}, "start": {"count": 2}}
    (home.root / "tasks.yaml").write_text(json.dumps(tasks))
    (home.root / "start.yaml").write_text(json.dumps(start))
    port, base = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/api"
    with (
        evalrun_process(home, "controller", "-p", str(port), "--log", "controller.log") as process,
        evalrun_process(home, "start", "--config", "start.yaml", "-l", url, "-p", str(base)),
    ):
        wait_for(lambda: len(workers(url)) == 2, 60, process)
        yield url


def workers(url: str) -> list[dict]:
    listed = ask(f"{url}/list_workers") or {}
    return list(listed.get("count", {}).get("workers", {}).values())


@pytest.fixture
def suite(tmp_path, server):
    """A suite of the task of that controller, whose slots are all free again afterwards."""
    yield Agents(tmp_path / "project")
    wait_for(lambda: [worker["current"] for worker in workers(server)] == [0, 0], 20)


def test_a_controller_that_is_there(suite, server):
    """Where the suite says where the controller is, none is started, and that one goes on after the launch."""
    suite.write(controller=server)
    ran = suite.run("evals", "-n", "2")

    assert ran.code == 0, ran
    assert suite.result("good", "count")["metrics"]["success"]["value"] == 1.0
    assert suite.noted("made") == {}
    assert len(workers(server)) == 2


BAD = {
    "nothing": ("failed", "answered nothing"),
    "huge": ("failed", "more than 10 MB"),
    "json": ("ok", "agent validation failed"),
    "ansi": ("ok", "agent validation failed"),
}


@pytest.mark.parametrize("bad", BAD)
def test_agents_that_are_no_good(suite, server, bad):
    """What an agent cannot say is a failed sample, what its task cannot read is the agent's; no slot is lost by it."""
    status, text = BAD[bad]
    suite.write({"bad": {"params": {"bad": bad}}}, controller=server, retries=0, gates={})
    ran = suite.run("evals", "-n", "0")
    lines = suite.predictions("bad", "count")

    assert ran.code == (1 if status == "failed" else 0), ran
    assert Counter(line["status"] for line in lines) == {status: 6}
    assert all(text in (line["error"] or line["prediction"]["status"]) for line in lines)
    assert "\x1b[31m7" not in ran.output


def test_no_controller_is_there(suite):
    """Where nobody answers, the pair is an ERROR that names the address, and nothing is scored."""
    url = f"http://127.0.0.1:{free_port()}/api"
    suite.write(controller=url, retries=0)
    ran = suite.run("evals", "-n", "0")

    assert (ran.code, ran.counts) == (1, {"error": 1}), ran
    assert url in ran


def test_no_such_task(suite, server):
    """A task that the controller does not have is an ERROR that names it, and those there are."""
    suite.write(tasks={"other": {}}, controller=server)
    ran = suite.run("evals", "-n", "0")

    assert (ran.code, ran.counts) == (1, {"error": 1}), ran
    assert "other" in ran
    assert "count" in ran


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The port of a controller that wants a token."""
    home = Agents(tmp_path_factory.mktemp("guarded") / "home").write()
    port = free_port()
    words = ("controller", "-p", str(port), "--log", "c.log", "--token-env", "THE_TOKEN")
    with evalrun_process(home, *words, THE_TOKEN=TOKEN) as process:
        wait_for(lambda: ask(f"http://127.0.0.1:{port}/t/{TOKEN}/api/list_workers") is not None, 60, process)
        yield port


def test_a_wrong_token(tmp_path, guarded):
    """A token that is not the controller's is an ERROR that says so, and shows it nowhere."""
    suite = Agents(tmp_path / "project").write(controller=f"http://127.0.0.1:{guarded}/t/${{A_TOKEN}}/api", retries=0)
    ran = suite.run("evals", "-n", "0", A_TOKEN="not-the-right-one")

    assert (ran.code, ran.counts) == (1, {"error": 1}), ran
    assert "token" in ran.output.lower()
    assert "not-the-right-one" not in ran.output
    assert not [path for path in suite.workdir.rglob("*") if path.is_file() and b"not-the-right" in path.read_bytes()]
