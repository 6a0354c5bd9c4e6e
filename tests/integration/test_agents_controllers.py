"""Pairs whose controller somebody else started: commands of ours as processes, and agents that are no good."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from agentsuite import Agents, evalrun_process, free_port
from llmserver import OPENER
from support import wait_for

if TYPE_CHECKING:
    from support import Ran

TOKEN, WRONG = "a-token-of-the-tests", "not-the-right-one"
BAD = {
    "nothing": ("failed", "answered nothing"),
    "huge": ("failed", "more than 10 MB"),
    "json": ("ok", "agent validation failed"),
    "ansi": ("ok", "agent validation failed"),
}


def ask(url: str):
    try:
        with OPENER.open(url, timeout=10) as reply:
            return json.load(reply)
    except OSError:
        return None


def workers(url: str) -> list[dict]:
    listed = ask(f"{url}/list_workers") or {}
    return list(listed.get("count", {}).get("workers", {}).values())


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


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The address of a controller that wants a token."""
    home = Agents(tmp_path_factory.mktemp("guarded") / "home").write()
    port = free_port()
    words = ("controller", "-p", str(port), "--log", "c.log", "--token-env", "THE_TOKEN")
    with evalrun_process(home, *words, THE_TOKEN=TOKEN) as process:
        wait_for(lambda: ask(f"http://127.0.0.1:{port}/t/{TOKEN}/api/list_workers") is not None, 60, process)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def played(tmp_path_factory, server, guarded) -> tuple[Agents, Ran, str]:
    """A suite after a launch by two workers, whose pairs are all that can be met; and where nobody listens."""
    suite = Agents(tmp_path_factory.mktemp("suite") / "project")
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    agents = {"good": {}} | {bad: {"params": {"bad": bad}} for bad in BAD}
    datasets = [
        {"name": "count"},
        {"name": "other"},
        {"name": "nobody", "controller": nowhere},
        {"name": "guarded", "controller": f"{guarded}/t/${{A_TOKEN}}/api"},
    ]
    suite.write(agents, controller=server, datasets=datasets, retries=0)
    ran = suite.run("evals", "-n", "2", "-k", "good or count", A_TOKEN=WRONG)
    return suite, ran, nowhere


def test_a_controller_that_is_there(played, server):
    """Where the suite says where the controller is, none is started, and that one goes on after the launch."""
    suite, ran, _ = played

    assert "PASSED  agents/good/count" in ran
    assert suite.result("good", "count")["metrics"]["success"]["value"] == 1.0
    assert suite.noted("made") == {}
    assert len(workers(server)) == 2


@pytest.mark.parametrize("bad", BAD)
def test_agents_that_are_no_good(played, bad):
    """What an agent cannot say is a failed sample, and what its task cannot read is its own failure."""
    suite, ran, _ = played
    status, text = BAD[bad]
    lines = suite.predictions(bad, "count")

    assert re.search(rf"^{'ERROR' if status == 'failed' else 'PASSED'} +agents/{bad}/count ", ran.output, re.MULTILINE)
    assert {line["status"] for line in lines} == {status}
    assert all(text in (line["error"] or line["prediction"]["status"]) for line in lines)
    assert "\x1b[31m7" not in ran.output


def test_no_slot_is_lost(played, server):
    """Whatever its agents did, a task server has all its slots free afterwards."""
    wait_for(lambda: [worker["current"] for worker in workers(server)] == [0, 0], 20)


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        ("nobody", "controller NOWHERE: nobody answers"),
        ("other", "task other: controller SERVER has no such task; it has count"),
        ("guarded", "a wrong token, or no controller"),
    ],
)
def test_what_cannot_be_asked_is_an_error(played, server, dataset, text):
    """An address where nobody is, a task that is not there and a wrong token are ERRORs that say so."""
    _, ran, nowhere = played
    (line,) = re.findall(rf"^ERROR +agents/good/{dataset} .*", ran.output, re.MULTILINE)

    assert text.replace("NOWHERE", nowhere).replace("SERVER", server) in line


def test_a_token_is_shown_nowhere(played):
    """Of a token in the address of a controller only the name of its variable is shown or kept."""
    suite, ran, _ = played
    kept = [path for path in suite.workdir.rglob("*") if path.is_file() and WRONG.encode() in path.read_bytes()]

    assert "${A_TOKEN}" in ran
    assert (WRONG in ran, kept) == (False, [])
