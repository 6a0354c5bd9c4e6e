"""Sessions whose clients are gone: their slots are free long before a lease would have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from agentlaunch import Launch

from pytest_evalrun.agents.owners import FIELD, SessionOwners, own_field
from pytest_evalrun.agents.wire.listing import listed_workers
from pytest_evalrun.rundir.processes import start_time
from pytest_evalrun.suite.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 60
BEGINS = """
import asyncio, sys
from pytest_evalrun.agents.client import ControllerClient

async def main():
    client = ControllerClient(sys.argv[1])
    for index in range(2):
        await client.start_sample("asks", index)
    print("begun", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""
ASKS = """
class Asks:
    concurrency = 2
    def get_indices(self):
        return [0, 1, 2]
    async def start_sample(self, index, session):
        await session.action({"role": "user", "content": "well?"})
"""


def test_a_session_of_a_living_process_has_an_owner() -> None:
    """A process that lives keeps its session, and one that is gone has orphaned it; what has ended is forgotten."""
    owners = SessionOwners()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owners.note(1, own_field())
        owners.note(2, {FIELD: [process.pid, start_time(process.pid)]})
        assert owners.orphans({1, 2}) == []
        process.kill()
    assert owners.orphans({1, 2}) == [2]
    assert owners.orphans({1}) == []


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(None, id="nothing"),
        pytest.param([os.getpid(), 1], id="another moment"),
        pytest.param([-1, 5], id="no PID"),
        pytest.param([1 << 40, 5], id="a large PID"),
        pytest.param(["1", "2"], id="text"),
        pytest.param([True, 3], id="true"),
        pytest.param([1], id="short"),
        pytest.param({"pid": 1}, id="mapping"),
    ],
)
def test_who_cannot_be_seen_is_nobody(told: Any) -> None:
    """A client that names no process of this machine has leases alone: its session is no orphan."""
    owners = SessionOwners()
    owners.note(1, {FIELD: told})
    assert owners.orphans({1}) == []


def test_slots_of_a_client_that_was_killed_are_free(tmp_path: Path) -> None:
    """kill -9 of a client: its slots are free in seconds, with a lease of a minute."""
    launch = Launch(tmp_path)
    (launch.root / "asks.py").write_text(ASKS)
    try:
        url = launch.address("asks", {"asks": {"module": "./asks.py:Asks"}})
        with subprocess.Popen([sys.executable, "-c", BEGINS, url], stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "begun\n"
            assert _taken(url) == 2
            client.kill()
        assert wait_until(lambda: _taken(url) == 0, SECONDS / 2, 0.05)
    finally:
        launch.end()


def _taken(url: str) -> int:
    return sum(worker.current for worker in listed_workers(url) or [])
