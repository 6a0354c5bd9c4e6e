"""Requests to a server with a canned answer, against a bare loop of the same client: 2,000 of 50 ms, 64 at once.

Against a server that allows 20 at once it is asked adaptively, as by itself, and with 20 at once; and the memory of
100,000 prompts is set beside that of 5,000. With ``--peers`` others ask the same server.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import peers
from benchmarks.harness import Figure, Scale, Spent, Timed, environment, median_seconds, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUESTS = 2_000
AT_ONCE = 64
SECONDS = 0.05
ALLOWED = 20
MOST_REFUSED = 0.05
FEW, MANY = 5_000, 100_000

# It knows when its first request came and its last answer went, so that the start of whoever asks does not count.
SERVER = """
import asyncio, json, sys, time
from aiohttp import web

seconds, allowed = float(sys.argv[1]), int(sys.argv[2])
answer = {"message": {"role": "assistant", "content": "blue"}, "index": 0, "finish_reason": "stop"}
usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
told = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [answer], "usage": usage}
body = json.dumps(told).encode()
first = last = in_flight = answered = refused = 0

async def ask(request):
    global first, last, in_flight, answered, refused
    first = first or time.monotonic()
    await request.read()
    if in_flight >= allowed:
        refused += 1
        return web.json_response({"error": {"message": "too many at once"}}, status=429)
    in_flight += 1
    try:
        await asyncio.sleep(seconds)
    finally:
        in_flight -= 1
    last, answered = time.monotonic(), answered + 1
    return web.Response(body=body, content_type="application/json")

async def stats(request):
    global first, answered, refused
    told = {"answered": answered, "refused": refused, "seconds": last - first}
    first = answered = refused = 0
    return web.json_response(told)

async def main():
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", ask), web.get("/stats", stats)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print("http://127.0.0.1:%d" % runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

# What somebody writes who needs no more than the answers, in a file.
BARE = f"""
import asyncio, json, sys
import aiohttp

async def main():
    places = asyncio.Semaphore({AT_ONCE})
    rows = [json.loads(row) for row in open("../suite/d.jsonl", encoding="utf-8")]

    async def ask(session, row):
        body = {{"model": "m", "messages": [{{"role": "user", "content": row["x"]}}]}}
        async with places, session.post(sys.argv[1] + "/v1/chat/completions", json=body) as response:
            return (await response.json())["choices"][0]["message"]["content"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        texts = await asyncio.gather(*[ask(session, row) for row in rows])
    with open("lines.jsonl", "w", encoding="utf-8") as out:
        for text, row in zip(texts, rows):
            out.write(json.dumps({{"prediction": text, "reference": row["y"]}}) + "\\n")

asyncio.run(main())
"""


def measure(scale: Scale, place: Path) -> list[Figure]:
    """From the first request to the last answer, and the whole command: ours starts pytest, keeps each line, scores."""
    figures = [*_requests(scale, place), *_limited(scale, place), _memory(place)]
    if scale.peers:
        suite = _write(place / "beside-peers", REQUESTS, AT_ONCE)
        with server() as url:
            figures += peers.measure(place / "peers", url, lambda: _ask(suite, url), lambda: stats(url))
    return figures


def _requests(scale: Scale, place: Path) -> list[Figure]:
    suite = _write(place / "suite", REQUESTS, AT_ONCE)
    bare = place / "bare"
    bare.mkdir()
    (bare / "loop.py").write_text(BARE)
    whole: dict[str, list[Spent]] = {"suite": [], "bare": []}
    asked: dict[str, list[Spent]] = {"suite": [], "bare": []}
    with server() as url:
        for _ in range(scale.rounds):
            whole["suite"].append(_ask(suite, url))
            asked["suite"].append(Spent(stats(url)["seconds"], whole["suite"][-1].processor))
            whole["bare"].append(Timed(bare, ("loop.py", url), program=()).run())
            asked["bare"].append(Spent(stats(url)["seconds"], whole["bare"][-1].processor))
    what = f"{REQUESTS:,} requests of {SECONDS * 1000:g} ms, {AT_ONCE} at once, against a bare loop"
    return [ratio(f"{what}: first to last", asked, 1.2), ratio(f"{what}: whole command", whole, 2.5)]


def _limited(scale: Scale, place: Path) -> list[Figure]:
    """Each round is of an endpoint that nobody knows anything of."""
    suites = {
        "adaptive": _write(place / "adaptive", REQUESTS, "10-20-100"),
        "fixed": _write(place / "fixed", REQUESTS, ALLOWED),
    }
    spent: dict[str, list[Spent]] = {name: [] for name in suites}
    refused = []
    for _ in range(scale.rounds):
        for name, suite in suites.items():
            with server(allowed=ALLOWED) as url:
                processor = _ask(suite, url).processor
                told = stats(url)
            spent[name].append(Spent(told["seconds"], processor))
            if name == "adaptive":
                refused.append(told["refused"] / (told["refused"] + told["answered"]))
    what = f"a server that allows {ALLOWED} at once, adaptive against {ALLOWED}"
    share = statistics.median(refused)
    seconds = [median_seconds(each) for each in spent.values()]
    target = f"<= {MOST_REFUSED:.0%}"
    found = Figure(f"{what}: refused", *seconds, f"{share:.2%}", "", target, share <= MOST_REFUSED)
    return [ratio(f"{what}: first to last", spent, 1.3), found]


def _memory(place: Path) -> Figure:
    """The most memory of the command that asks, where 20 times as many prompts are asked."""
    with server(seconds=0.0) as url:
        few, many = (_peak(_write(place / f"prompts{count}", count, AT_ONCE), url, count) for count in (FEW, MANY))
    found = f"{many.megabytes / few.megabytes:.2f} x"
    held = many.megabytes <= 1.1 * few.megabytes
    what = f"memory of {MANY:,} prompts against {FEW:,} ({many.megabytes:.0f} MB, {few.megabytes:.0f} MB)"
    return Figure(what, many.seconds, few.seconds, found, "", "<= 1.1 x", held)


class _Peak(NamedTuple):
    seconds: float
    megabytes: float


def _peak(suite: Path, url: str, count: int) -> _Peak:
    """Run the suite in a process whose peak is that of nothing else."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0"]
    env = environment() | {"ENDPOINT": url}
    process = subprocess.Popen(command, cwd=suite, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    answered = stats(url)["answered"]
    if process.returncode or answered != count:
        raise SystemExit(f"{suite}: exit code {process.returncode}, {answered} answers in place of {count}")
    return _Peak(seconds, usage.ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20))


def _write(directory: Path, requests: int, concurrency: int | str) -> Path:
    """A project of one pair of so many prompts, whose endpoint is where the environment says."""
    directory.mkdir(parents=True)
    with (directory / "d.jsonl").open("w") as file:
        for number in range(requests):
            file.write(json.dumps({"x": f"What is the colour of sky {number}?", "y": "blue"}) + "\n")
    (directory / "pytest.ini").write_text("[pytest]\n")
    words = {
        "adapter": "openai",
        "models": [{"name": "m", "base_url": "${ENDPOINT}/v1", "served_as": "it", "concurrency": concurrency}],
        "datasets": [{"name": "d", "path": "d.jsonl"}],
        "format": "jsonl",
        "inputs": ["x"],
        "reference": "y",
        "metrics": ["exact_match"],
    }
    (directory / "evalrun.yaml").write_text(json.dumps(words))
    return directory


def _ask(suite: Path, url: str) -> Spent:
    return Timed(suite, ("-n", "0"), environment=(("ENDPOINT", url),)).run()


@contextmanager
def server(seconds: float = SECONDS, allowed: int = 1_000_000) -> Iterator[str]:
    """Give the URL of a server that takes so long for each answer, and refuses what is more than allowed at once."""
    argv = [sys.executable, "-c", SERVER, str(seconds), str(allowed)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def stats(url: str) -> dict[str, Any]:
    """What was answered and refused since this was asked before, and the seconds from the first to the last."""
    with urllib.request.urlopen(f"{url}/stats") as reply:  # noqa: S310 - of our own server
        told: dict[str, Any] = json.load(reply)
    return told
