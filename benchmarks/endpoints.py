"""2,000 requests of 50 ms, 64 at once, to a server with a canned answer, against a bare loop of the same client."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Scale, Spent, Timed, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUESTS = 2_000
AT_ONCE = 64
SECONDS = 0.05

# It knows when its first request came and its last answer went, so that the start of whoever asks does not count.
SERVER = f"""
import asyncio, json, time
from aiohttp import web

answer = {{"message": {{"role": "assistant", "content": "blue"}}, "index": 0, "finish_reason": "stop"}}
usage = {{"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}}
told = {{"id": "c", "object": "chat.completion", "model": "m", "choices": [answer], "usage": usage}}
body = json.dumps(told).encode()
seen = []

async def ask(request):
    seen.append(time.monotonic())
    await request.read()
    await asyncio.sleep({SECONDS})
    seen.append(time.monotonic())
    return web.Response(body=body, content_type="application/json")

async def stats(request):
    told = {{"requests": len(seen) // 2, "seconds": max(seen) - min(seen)}}
    seen.clear()
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
    with _server() as url:
        commands = {"suite": _suite(place / "suite", url), "bare": _bare(place / "bare", url)}
        whole: dict[str, list[Spent]] = {name: [] for name in commands}
        asked: dict[str, list[Spent]] = {name: [] for name in commands}
        for _ in range(scale.rounds):
            for name, command in commands.items():
                whole[name].append(command.run())
                asked[name].append(Spent(_seconds(url), whole[name][-1].processor))
    what = f"{REQUESTS:,} requests of {SECONDS * 1000:g} ms, {AT_ONCE} at once, against a bare loop"
    return [ratio(f"{what}: first to last", asked, 1.2), ratio(f"{what}: whole command", whole, 2.5)]


def _suite(directory: Path, url: str) -> Timed:
    directory.mkdir()
    rows = ({"x": f"What is the colour of sky {number}?", "y": "blue"} for number in range(REQUESTS))
    (directory / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "pytest.ini").write_text("[pytest]\n")
    words = {
        "adapter": "openai",
        "models": [{"name": "m", "base_url": f"{url}/v1", "concurrency": AT_ONCE}],
        "datasets": [{"name": "d", "path": "d.jsonl"}],
        "format": "jsonl",
        "inputs": ["x"],
        "reference": "y",
        "metrics": ["exact_match"],
    }
    (directory / "evalrun.yaml").write_text(json.dumps(words))
    return Timed(directory, ("-n", "0"))


def _bare(directory: Path, url: str) -> Timed:
    directory.mkdir()
    (directory / "loop.py").write_text(BARE)
    return Timed(directory, ("loop.py", url), program=())


@contextmanager
def _server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def _seconds(url: str) -> float:
    """From the first request to the last answer since it was asked before; all of them must have come."""
    with urllib.request.urlopen(f"{url}/stats") as reply:  # noqa: S310 - of our own server
        told = json.load(reply)
    if told["requests"] != REQUESTS:
        raise SystemExit(f"{told['requests']} requests in place of {REQUESTS}")
    return float(told["seconds"])
