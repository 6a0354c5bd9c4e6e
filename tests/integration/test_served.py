"""Served models by real pytest, on GPUs of a test's own: one start for all that follows, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter

import pytest
from gpuhost import GpuHost, leases
from support import kill_group, wait_for

PROGRAM = """
import http.server, json, os, signal, sys, time
from pathlib import Path

HERE = Path(__file__).parent
port, what = sys.argv[1:]

def note(name, line):
    with open(HERE / name, "a") as file:
        file.write(f"{line}\\n")

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer({"data": [{"id": "the-weights"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = asked["messages"][-1]["content"]
        if what == "dies" and text.endswith("3") and not (HERE / "died").exists():
            (HERE / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "dies always" and text.endswith("3"):
            os._exit(3)
        if what == "stalls" and text.endswith("3"):
            note("stalls", text)
            time.sleep(1000)
        note("asked", f"{asked['model']} {text}")
        choice = {"message": {"content": text.split()[-1]}, "finish_reason": "stop"}
        self.answer({"model": asked["model"], "choices": [choice]})

    def log_message(self, *_): ...

note("starts", f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
print("loading", flush=True)
if what == "never":
    time.sleep(1000)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


class Bench:
    """A suite whose model is served on a GPU, by a program that leaves a daemon."""

    def __init__(self, host):
        self.host = host

    def make(self, what="answers", samples=6, datasets=("one",), **top):
        project = self.host.project
        project.make((), datasets, samples)
        for name in datasets:
            rows = [{"x": str(n), "y": str(n)} for n in range(samples)]
            (project.suite / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (project.suite / "serve.py").write_text(PROGRAM)
        words = {"adapter": "openai", "models": [{"name": "m"}], "serve": ["python", "serve.py", "{port}", what]}
        project.yaml((), datasets, **words | {"gpus": 1, "retries": 0, "concurrency": 2} | top)
        return project

    def noted(self, name):
        file = self.host.project.suite / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def bench(tmp_path, monkeypatch):
    host = GpuHost(tmp_path, monkeypatch)
    host.nvml.gpus(80)
    return Bench(host)


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["here", "by two workers"])
def test_all_that_follows_shares_one_start(bench, workers):
    """Datasets and prompts, by the name that the program itself has for its model; then its GPU is free."""
    prompts = {"plain": {"template": "{{ input }}"}, "long": {"template": "What is {{ input }}"}}
    project = bench.make(datasets=("one", "two"), prompts=prompts)
    ran = project.run("evals", *workers)
    assert ran.code == 0, ran
    ((_, gpu),) = map(str.split, bench.noted("starts"))
    assert gpu == "0"
    assert Counter(bench.noted("asked")) == {f"the-weights {text}{n}": 2 for text in ("", "What is ") for n in range(6)}
    taken, freed = leases(project.latest)
    assert len(taken) == 1
    assert taken == freed
    assert bench.host.is_quiet()
    log = (project.latest / "logs" / "infer" / "echo" / "m@plain" / "one.log").read_text()
    assert re.search(r"\$ python serve.py \d+ answers\nloading\n", log)
    assert project.run().code == 0
    assert (len(bench.noted("starts")), len(bench.noted("asked"))) == (1, 24)


def test_a_death_in_the_middle_is_made_good_once(bench):
    """What was under way is no failure of its samples: it is asked of the program that was started again."""
    ran = bench.make("dies").run()
    assert ran.code == 0, ran
    assert len(bench.noted("starts")) == 2
    assert set(bench.noted("asked")) == {f"the-weights {n}" for n in range(6)}
    assert bench.host.is_quiet()


def test_one_that_dies_again_and_again_is_an_error(bench):
    """With its exit code and last lines; what was answered stays."""
    project = bench.make("dies always")
    ran = project.run()
    assert ran.code == 1
    assert "the server of model m ended with exit code 3" in ran
    assert len(bench.noted("starts")) == 2
    assert {line["status"] for line in project.predictions("m", "one")} == {"ok"}
    assert bench.host.is_quiet()


def test_one_that_never_gets_ready_is_an_error(bench):
    """After `ready_timeout`, with its last lines; its GPU is free."""
    ran = bench.make("never", ready_timeout=1).run()
    assert ran.code == 1
    assert "was not ready within 1 s (`ready_timeout`)" in ran
    assert "nothing answered; the end of its output:" in ran
    assert bench.host.is_quiet()


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["here", "in a worker"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_of_it_outlives_the_session(bench, number, workers):
    """However that ends; the daemon that it left ends too, and its GPU is free."""
    project = bench.make("stalls")
    process = project.start("evals", *workers)
    try:
        wait_for(lambda: bench.noted("stalls"), process=process)
        os.killpg(process.pid, number) if number == signal.SIGKILL else process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        kill_group(process)
    wait_for(bench.host.is_quiet)
