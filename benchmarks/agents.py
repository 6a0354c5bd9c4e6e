"""Instant samples of a task, behind a controller and a worker: 40, and 10,000 against bare requests.

A sample is one turn: two requests to the controller, and one of its own to the worker for each of them; the agent is a
class that has its answer ready. Bare are four requests of one client to one server. A controller that has 200 workers
and 2,000 sessions is set beside a handler that answers the same bytes, and asks a worker where the controller does.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Spent, Timed, environment, median_seconds, ratio
from benchmarks.taskservers import AGENT, Child, bare_server, controller, task_server

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    import aiohttp

FEW, CAPACITY = 40, 5
ASSIGNER = 77.6  # seconds that AgentBench's assigner took for these, measured once
SECONDS = 0.02  # of a sample, where all slots shall be taken until one is free
GAP = 0.005
MANY, AT_ONCE = 10_000, 32
FEWER = 1_000
HOPS = 4  # requests a sample
WORKERS, SESSIONS, INDICES = 200, 2_000, 1_000
REQUESTS = 500
SAMPLE = {"name": "instant", "index": 1}

# What somebody writes who has but to ask and to write down.
BARE = f"""
import asyncio, json, sys
import aiohttp

async def main():
    places = asyncio.Semaphore({AT_ONCE})

    async def play(session, index):
        async with places:
            for hop in range({HOPS}):
                body = {{"name": "instant", "index": index}}
                async with session.post(sys.argv[1] + "/ask", json=body) as response:
                    told = await response.json()
            return told["output"]["result"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        results = await asyncio.gather(*[play(session, index) for index in range({MANY})])
    with open("lines.jsonl", "w", encoding="utf-8") as out:
        for index, result in enumerate(results):
            out.write(json.dumps({{"index": index, "prediction": result}}) + "\\n")

asyncio.run(main())
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """From the first sample's start to the last one's end, as the task itself sees them."""
    return [_few(scale, place), _freed(scale, place), *_many(scale, place), *_crowd(scale, place)]


def _few(scale: Scale, place: Path) -> Figure:
    spent = []
    with task_server(place / "few", samples=FEW, concurrency=CAPACITY) as server:
        for number in range(scale.rounds):
            suite = _write(place / f"few-suite{number}", server.url, FEW)
            processor = Timed(suite, ("-n", "0")).run().processor
            starts, ends = server.taken()
            spent.append(Spent(ends[-1] - starts[0], processor))
    seconds = median_seconds(spent)
    what = f"{FEW} instant agent samples, capacity {CAPACITY}, start-up apart (AgentBench's assigner: {ASSIGNER} s)"
    return Figure(what, seconds, ASSIGNER, f"{seconds:.2f} s", "", "<= 1 s", seconds <= 1.0)


def _freed(scale: Scale, place: Path) -> Figure:
    """With all slots taken, the next sample is that of the slot that became free so many ends before."""
    gaps = []
    with task_server(place / "freed", samples=FEW, concurrency=CAPACITY, seconds=SECONDS) as server:
        for number in range(scale.rounds):
            Timed(_write(place / f"freed-suite{number}", server.url, FEW), ("-n", "0")).run()
            starts, ends = server.taken()
            gaps += [start - end for start, end in zip(starts[CAPACITY:], ends, strict=False)]
    found, most = statistics.median(gaps), max(gaps)
    what = f"a freed slot to the next sample, median of {len(gaps)} (the longest {most * 1000:.1f} ms)"
    return Figure(what, found, GAP, f"{found * 1000:.1f} ms", "", f"<= {GAP * 1000:g} ms", found <= GAP)


def _many(scale: Scale, place: Path) -> list[Figure]:
    """The same number of samples bare, and what memory each process had at most beside that of a tenth of them."""
    bare = place / "bare"
    bare.mkdir()
    (bare / "loop.py").write_text(BARE)
    told = json.dumps({"session_id": 1, "output": {"index": 1, "status": "completed", "result": {"success": True}}})
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    with bare_server({"/ask": (told, None)}) as url:
        for number in range(scale.rounds):
            seconds, most = _play(place / f"many{number}", MANY)
            spent["ours"].append(seconds)
            spent["bare"].append(Timed(bare, ("loop.py", url), program=()).run().seconds)
    _, least = _play(place / "fewer", FEWER)
    figures = [_seconds(f"{MANY:,} instant samples, {AT_ONCE} at once, against {HOPS} bare requests each", spent)]
    for name, megabytes in most.items():
        found = megabytes / least[name]
        what = f"memory of {name}: {MANY:,} samples against {FEWER:,} ({megabytes:.0f} MB, {least[name]:.0f} MB)"
        figures.append(Figure(what, 0.0, 0.0, f"{found:.2f} x", "", "<= 1.1 x", found <= 1.1))
    return figures


def _seconds(what: str, spent: dict[str, list[float]]) -> Figure:
    """Ours may take three times as long; what of that is the processor's is in too many processes to say."""
    both = {whose: [Spent(each, 1.0) for each in seconds] for whose, seconds in spent.items()}
    return replace(ratio(what, both, 3.0), processor="")


def _play(place: Path, samples: int) -> tuple[float, dict[str, float]]:
    """Let the agent play them all: the seconds from the first start to the last end, and each process' most memory."""
    with task_server(place / "server", samples=samples, concurrency=AT_ONCE) as server:
        suite = _write(place / "suite", server.url, samples)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0"]
        asking = Child(subprocess.Popen(command, cwd=suite, env=environment(), stdout=subprocess.DEVNULL))
        code = asking.wait()
        starts, ends = server.taken()
    if code or (len(starts), len(ends)) != (samples, samples):
        raise SystemExit(f"{suite}: exit code {code}, {len(starts)} starts and {len(ends)} ends of {samples} samples")
    children = {"pytest": asking, **server.children}
    return ends[-1] - starts[0], {name: child.megabytes for name, child in children.items()}


def _write(directory: Path, url: str, samples: int) -> Path:
    """A project of one pair: the instant agent at the instant task of this controller."""
    directory.mkdir(parents=True)
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "agent.py").write_text(AGENT)
    words = {
        "name": f"instant{samples}",
        "models": [{"name": "agent", "adapter": "./agent.py:Agent", "concurrency": AT_ONCE}],
        "datasets": [{"name": "instant", "format": "agentbench", "controller": url}],
        "metrics": ["success"],
    }
    (directory / "evalrun.yaml").write_text(json.dumps(words))
    return directory


# --- a controller with many workers and sessions ----------------------------------------------------------------------


def _crowd(scale: Scale, place: Path) -> list[Figure]:
    running = {"index": 1, "status": "running", "result": None, "history": [{"role": "user", "content": "Go on."}]}
    told = json.dumps({"output": running})  # of whichever session: an answer for another one would be refused
    answers = {f"/w{{n}}/api/{call}": (told, None) for call in ("start_sample", "interact", "cancel")}
    with bare_server(answers) as farm, controller(place / "crowd") as url:
        return asyncio.run(_compare(scale, url, farm))


async def _compare(scale: Scale, url: str, farm: str) -> list[Figure]:
    import aiohttp

    calls = ("list_workers", "start_sample")
    spent: dict[str, dict[str, list[float]]] = {call: {"ours": [], "bare": []} for call in calls}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await _settle(client, url, farm)
        listed = await _text(client.get(f"{url}/api/list_workers"))
        begun = await _text(client.post(f"{url}/api/start_sample", json=SAMPLE))
        bare = {"/list_workers": (listed, None), "/start_sample": (begun, f"{farm}/w1/api/start_sample")}
        with bare_server(bare) as other:
            for _ in range(scale.rounds):
                for whose, base in (("ours", f"{url}/api"), ("bare", other)):
                    await _heartbeats(client, url, farm)
                    for call, seconds in zip(calls, await _ask(client, base), strict=True):
                        spent[call][whose].append(seconds)
    crowd = f"{WORKERS} workers and {SESSIONS:,} sessions, {REQUESTS} x"
    return [_seconds(f"{crowd} {call} against a bare handler", each) for call, each in spent.items()]


async def _settle(client: aiohttp.ClientSession, url: str, farm: str) -> None:
    """Let workers be heard of and sessions begin; the farm never ends one by itself."""
    await _heartbeats(client, url, farm)
    for _ in range(SESSIONS):
        told = await _text(client.post(f"{url}/api/start_sample", json=SAMPLE))
        if "session_id" not in told:
            raise SystemExit(f"start_sample answered {told}")


async def _heartbeats(client: aiohttp.ClientSession, url: str, farm: str) -> None:
    for number in range(WORKERS):
        body = {
            "name": "instant",
            "address": f"{farm}/w{number}/api",
            "concurrency": SESSIONS // WORKERS + 1 + REQUESTS,
            "indices": list(range(INDICES)),
        }
        async with client.post(f"{url}/api/receive_heartbeat", json=body) as response:
            if response.status != 200:
                raise SystemExit(f"receive_heartbeat answered {response.status}: {await response.text()}")


async def _ask(client: aiohttp.ClientSession, base: str) -> tuple[float, float]:
    """List the workers so often, and begin so many samples; the seconds of each. The samples are ended afterwards."""
    started = time.perf_counter()
    for _ in range(REQUESTS):
        await _text(client.get(f"{base}/list_workers"))
    listed = time.perf_counter()
    told = [await _text(client.post(f"{base}/start_sample", json=SAMPLE)) for _ in range(REQUESTS)]
    begun = time.perf_counter()
    for text in told:
        await _text(client.post(f"{base}/cancel", json={"session_id": json.loads(text)["session_id"]}))
    return listed - started, begun - listed


async def _text(request: Awaitable[aiohttp.ClientResponse]) -> str:
    response = await request
    return await response.text()
