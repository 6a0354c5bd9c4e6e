"""Classes with ``predict_one`` in real sessions: a limit and Ctrl-C end what hangs, and nothing is asked twice."""

from __future__ import annotations

import signal

import pytest
from support import Project, wait_for

MODEL = '''
import asyncio, os, threading
from collections import Counter

def hangs(sample):
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{sample.input}\\n")
    return str(sample.input) == os.environ.get("HANGS")

class Async:
    async def predict_one(self, sample):
        if hangs(sample):
            await asyncio.Event().wait()
        return sample.input

class Plain:
    def predict_one(self, sample):
        if hangs(sample):
            threading.Event().wait()
        return sample.input

class Together:
    """Answers once so many are under way in one process."""
    def __init__(self, most):
        self.all_here = threading.Barrier(most)

    def predict_one(self, sample):
        self.all_here.wait(60)
        return [sample.input, os.getpid()]
'''


class Bench:
    def __init__(self, root, monkeypatch):
        self.project = Project(root)
        self.asked_file = root / "asked.txt"
        monkeypatch.setenv("ASKED", str(self.asked_file))

    def make(self, name, **settings):
        self.project.make((), samples=12)
        words = {"adapter": f"./model.py:{name}", "models": [{"name": "one"}], "concurrency": 4}
        self.project.yaml((), ("one",), **words | settings)
        (self.project.suite / "model.py").write_text(MODEL)
        return self.project

    @property
    def asked(self):
        return sorted(map(int, self.asked_file.read_text().split())) if self.asked_file.exists() else []


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["Async", "Plain"])
def test_a_limit_ends_one_that_hangs(bench, name):
    """The others are kept: the next session asks for that one alone, and another concurrency asks for none."""
    project = bench.make(name)
    ran = project.run("evals", "--eval-timeout", "2", HANGS="5")
    assert "timed out after 2 s" in ran
    assert ran.code == 1
    assert bench.asked == [*range(12)]
    assert project.run().code == 0
    assert bench.asked == sorted([*range(12), 5])
    bench.make(name, concurrency=2, retry_on=["KeyError"])
    assert "reused" in project.run()
    assert len(bench.asked) == 13


@pytest.mark.parametrize("name", ["Async", "Plain"])
def test_ctrl_c_ends_one_that_hangs(bench, name):
    """Whatever it waits for; what was answered is kept."""
    project = bench.make(name)
    process = project.start("evals", HANGS="5")
    file = project.workdir / "latest" / "predictions" / "echo" / "one" / "one.jsonl"
    wait_for(lambda: file.exists() and file.read_bytes().count(b"\n") == 11, process=process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert project.run().code == 0
    assert bench.asked == sorted([*range(12), 5])


def test_in_a_process_of_its_own_a_batch_is_asked_at_once(bench):
    """As a model on GPUs is; its lines are kept batch by batch."""
    project = bench.make("Together", params={"most": 4}, max_batch_size=4, gpus=1, metrics=[])
    ran = project.run("evals", "--eval-gpus", "0")
    assert ran.code == 0, ran
    lines = [line["prediction"] for line in project.predictions("one", "one")]
    assert [number for number, _ in lines] == [*range(12)]
    assert len({pid for _, pid in lines}) == 1


def test_none_at_once_is_a_usage_error(bench):
    """It is told with its line, before anything runs."""
    ran = bench.make("Async", concurrency=0).run()
    assert (ran.code, bench.asked) == (4, [])
    assert "evalrun.yaml:23: concurrency: found 0; accepted: greater than or equal to 1" in ran
