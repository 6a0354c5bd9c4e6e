"""Sessions of a pair that runs, as they are seen from outside, and one that is cancelled there."""

from __future__ import annotations

import json

import pytest
from agentsuite import Agents, nothing_left
from support import kill_group, wait_for

PATIENT = """
import asyncio
from pathlib import Path

GO = Path(__file__).with_name("go")


class Patient:
    async def act(self, messages, tools):
        while not GO.exists():
            await asyncio.sleep(0.02)
        return messages[-1]["content"].rpartition(" ")[2].rstrip(".")
"""


@pytest.fixture
def waiting(tmp_path):
    """A run whose agent does not answer before it may."""
    suite = Agents(tmp_path / "project").write(
        {"patient": {"adapter": "./patient.py:Patient"}}, {"count": {"concurrency": 3}}
    )
    (suite.suite / "patient.py").write_text(PATIENT)
    process = suite.start("evals")
    yield suite, process
    kill_group(process)
    nothing_left(suite.root)


def test_sessions_are_seen_and_cancelled(waiting):
    """A running pair's sessions are shown with what they wait for; one that is cancelled costs its sample a try."""
    suite, process = waiting
    file = suite.workdir / "latest" / "agents" / "agents" / "patient" / "count" / "sessions.json"

    def asking():
        rows = json.loads(file.read_text())["sessions"] if file.exists() else []
        return len(rows) == 3 and all(row["waiting_for"] == "the agent" for row in rows)

    wait_for(asking, process=process)
    code, out, err = suite.evalrun("sessions", "--json")
    assert (code, err) == (0, "")
    (told,) = json.loads(out)
    assert [(one["task"], one["waiting_for"], one["pair"]) for one in told["sessions"]] == (
        [("count", "the agent", "agents/patient/count")] * 3
    )
    assert [(worker["state"], worker["current"]) for worker in told["workers"]] == [("alive", 3)]
    assert "/t/***/api" in told["controller"]
    assert "3 sessions, 3 wait for the agent, longest" in suite.evalrun("monitor", "--once")[1]

    cancelled = told["sessions"][0]
    assert suite.evalrun("sessions", "--cancel", str(cancelled["id"]))[:2] == (
        0, f"session {cancelled['id']}: cancelled\n",
    )  # fmt: skip
    (suite.suite / "go").touch()
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 0, output
    (error,) = map(json.loads, suite.file("patient", "count", "error.jsonl").splitlines())
    assert (error["index"], error["error"]) == (cancelled["index"], "INTERACT_FAILED")
    assert suite.result("patient", "count")["metrics"]["success"]["value"] == 1.0
    assert "no pair of the latest run asks a task server" in suite.evalrun("sessions")[2]
