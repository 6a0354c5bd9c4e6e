"""The workers and sessions of controllers, as `evalrun sessions` shows them."""

from __future__ import annotations

import json
import os
import re
import sys
import time

import pytest
from aiohttp import web
from taskservers import serving

from pytest_evalrun.cli import main
from pytest_evalrun.rundir.agentfiles import UnderWay, under_way
from pytest_evalrun.rundir.durable import write_atomic
from pytest_evalrun.rundir.layout import WorkDir

WORKER = {"id": 0, "address": "http://127.0.0.1:5001/t/secret-token/api", "capacity": 5, "current": 2}


def lists():
    """What AgentBench's controller lists."""
    now = time.time()
    alive = {**WORKER, "last_visit": now - 3, "status": 0, "locked": False}
    session = {"name": "sql", "index": 3, "start": now - 12, "last_update": now, "worker_id": 0, "locked": True}
    return {
        "list_workers": {"sql": {"indices": [3, "a"], "workers": {"0": alive, "1": {**alive, "id": 1, "status": 2}}}},
        "list_sessions": {"7": session, "8": {**session, "index": "a", "locked": False}},
    }


@pytest.fixture
def evalrun(capsys, monkeypatch, tmp_path):
    """Give the command these words: its exit code, and what it wrote and warned."""

    def evalrun(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["evalrun", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    return evalrun


@pytest.fixture
def run(tmp_path):
    """A run of a work directory, with no pair that asks a task server."""
    workdir = WorkDir(tmp_path / "work")
    paths = workdir.run("20261128_100000")
    write_atomic(paths.run_json, '{"format": 1}')
    workdir.latest.symlink_to(paths.root.name)
    return paths


def asks(run, pair, controller, *sessions, pid=None):
    told = {
        "controller": controller,
        "pid": pid or os.getpid(),
        "sessions": [{"id": number, "waiting_for": "the agent"} for number in sessions],
    }
    write_atomic(run.root / "agents" / pair / "sessions.json", json.dumps(told), private=True)


def rows(out):
    """Lines of a table, with times as `TIME`: those of a machine that is busy are longer."""
    return [re.sub(r"\b\d+ s\b", "TIME", " ".join(line.split())) for line in out.splitlines()]


def test_a_controller_by_its_url(evalrun):
    """Workers and sessions of a controller are shown with how long they last and what they wait for; no token is."""
    with serving(**lists()) as (url, _):
        code, out, err = evalrun("sessions", "--controller", url.removesuffix("/api") + "/t/tell-nobody/api")

    assert (code, err) == (0, "")
    assert rows(out)[0] == f"controller: {url.removesuffix('/api')}/t/***/api"
    assert rows(out)[1:] == [
        "task worker state sessions heard of",
        "sql 0 http://127.0.0.1:5001/t/***/api alive 2 of 5 TIME ago",
        "sql 1 http://127.0.0.1:5001/t/***/api dead 2 of 5 TIME ago",
        "session task index worker lasts waits for pair",
        "7 sql 3 0 TIME the environment",
        "8 sql a 0 TIME the agent",
    ]


def test_the_controllers_of_the_running_run(evalrun, run):
    """Without a URL the controllers that pairs of the run ask are shown, with the pair of each session."""
    with serving(**lists()) as (url, _):
        asks(run, "agents/solver/sql", url, 7, 9)
        asks(run, "agents/ngram/sql", url, 8)
        (run.root / "agents/agents/torn").mkdir()
        asks(run, "agents/killed/sql", "http://127.0.0.1:9/api", 1, pid=2**22 + 1)  # there is no such process
        (run.root / "agents/agents/torn/sessions.json").write_text('{"controller": 3, "sessions": []}')
        code, out, _ = evalrun("sessions", "--workdir", "work", "--json")

    assert code == 0
    (told,) = json.loads(out)
    assert told["controller"] == url
    assert [(one["id"], one["pair"]) for one in told["sessions"]] == [
        (7, "agents/solver/sql"), (8, "agents/ngram/sql"),
    ]  # fmt: skip
    assert all(one["lasts"] >= 12 for one in told["sessions"])
    assert [worker["state"] for worker in told["workers"]] == ["alive", "dead"]


def test_one_is_cancelled(evalrun, run):
    """A session is cancelled at the controller that has it."""
    with serving(**lists(), cancel={"session_id": 8}) as (url, asked):
        asks(run, "agents/solver/sql", url, 7)
        assert evalrun("sessions", "--cancel", "8", "--workdir", "work")[:2] == (0, "session 8: cancelled\n")
        assert asked[-1] == ("cancel", {"session_id": 8})


def test_one_that_cannot_be_cancelled(evalrun, run):
    """A session that no controller has, that several have or that is not cancelled is an error, with the remedy."""
    refused = web.json_response({"detail": "Error: Worker not responding"}, status=400)
    with serving(**lists(), cancel=refused) as (url, _), serving(**lists()) as (other, _):
        cancel = ("sessions", "--controller", url, "--cancel")
        assert evalrun(*cancel, "5")[::2] == (2, f"Error: session 5: not found at {url}\n")
        assert "HTTP 400: Error: Worker not responding" in evalrun(*cancel, "7")[2]
        asks(run, "agents/solver/sql", url, 7)
        asks(run, "agents/solver/os", other, 7)
        code, _, err = evalrun("sessions", "--workdir", "work", "--cancel", "7")

    assert (code, "several controllers have it" in err, "--controller" in err) == (2, True, True)


def test_nothing_to_show(evalrun, run):
    """Where no pair asks a task server, or nobody answers, one line says so."""
    assert (
        "no pair of the latest run asks a task server; a server that no run started is shown by --controller http://"
        in (evalrun("sessions", "--workdir", "work")[2])
    )
    nowhere = evalrun("sessions", "--workdir", "none")[2]
    assert ("no run here" in nowhere, "--controller http://" in nowhere) == (True, True)
    code, _, err = evalrun("sessions", "--controller", "http://127.0.0.1:1/t/tell-nobody/api")
    assert (code, "nobody listens there" in err, "tell-nobody" in err) == (2, True, False)
    assert "gRPC is not spoken here" in evalrun("sessions", "--controller", "grpc://h:1")[2]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        pytest.param(
            [{"since": 88, "waiting_for": "the agent"}] * 3 + [{"since": 95.0, "waiting_for": "the environment"}] * 2,
            "5 sessions, 3 wait for the agent, 2 for the environment, longest 12 s", id="both",
        ),
        pytest.param([{"waiting_for": "environment"}], "1 session, 1 waits for the environment, longest 0 s", id="one"),
        pytest.param([{"since": "x", "waiting_for": 3}, 4], "1 session, longest 0 s", id="odd"),
        pytest.param([{"since": 200}], "1 session, longest 0 s", id="of a clock that went back"),
    ],
)  # fmt: skip
def test_sessions_in_a_line(rows, text):
    """How many sessions there are, what they wait for and how long the longest lasts is one line."""
    assert under_way(rows, 100.0).text == text


def test_no_sessions():
    """Without sessions there is nothing to say."""
    assert under_way([], 1.0) is None
    assert under_way([{"since": 0}], 1.0) == UnderWay(1, 0, 0, 0, 1.0)
