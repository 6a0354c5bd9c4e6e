"""A host with GPUs, and processes on it that are told line by line what to do with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from nvml import FakeNvml

import pytest_evalrun

CHILD = """
import json, os, sys, threading
import pynvml
from pytest_evalrun.errors import EvalrunError
from pytest_evalrun.slots.gpus import Gpu, Nvml
from pytest_evalrun.slots.visible import Found, find_gpus
from pytest_evalrun.slots.leases import Lease, LeaseDirectory, Leases
from pytest_evalrun.slots.need import Need

if user := os.environ.get("AS_USER"):
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
os.umask(0o077)
nvml = Nvml()
held = []
said = []
outcome = []
stop = threading.Event()


class Stopped(Exception):
    pass


def find(only=None, **environ):
    found = find_gpus(only, environ, nvml)
    return [[gpu.token for gpu in found.gpus], found.reason]


def leases():
    global _leases
    if "_leases" not in globals():
        found = find_gpus(nvml=nvml)
        _leases = Leases(LeaseDirectory(), found.gpus, nvml, found.reason)
    return _leases


def take(*need):
    lease = leases().try_acquire(Need(*need))
    if lease is None:
        return None
    held.append(lease)
    return [gpu.token for gpu in lease.gpus]


def waiting_words():
    return leases().lacking(Need(99))


def release():
    held.pop(0).release()


def check():
    if stop.is_set():
        raise Stopped("stopped")


def wait(*need, foreign_wait=60.0):
    def run():
        try:
            lease = leases().acquire(Need(*need), say=said.append, check=check, foreign_wait=foreign_wait)
            held.append(lease)
            outcome.append([gpu.token for gpu in lease.gpus])
        except (EvalrunError, Stopped) as error:
            outcome.append(f"{type(error).__name__}: {error}")

    threading.Thread(target=run, daemon=True).start()


def compete(witnesses, seed, rounds):
    "How often this process had a lease, and every sign that another had the same."
    import random
    from pathlib import Path
    chance = random.Random(seed)
    place = Path(witnesses)
    had, faults = 0, []
    for _ in range(rounds):
        need = Need(chance.randint(1, 3), 0, chance.choice([1, 1, 2]))
        if (lease := leases().try_acquire(need)) is None:
            continue
        had += 1
        for gpu in lease.gpus:
            mine = place / (f"{gpu.key}.alone" if need.per_gpu == 1 else f"{gpu.key}.{os.getpid()}")
            mine.open("x").close()
            others = [other.name for other in place.glob(f"{gpu.key}.*") if other != mine]
            if need.per_gpu == 1 and others or len(others) > 1 or f"{gpu.key}.alone" in others:
                faults.append([mine.name, others])
        for gpu in lease.gpus:
            (place / (f"{gpu.key}.alone" if need.per_gpu == 1 else f"{gpu.key}.{os.getpid()}")).unlink()
        lease.release()
    return [had, faults]


for line in sys.stdin:
    try:
        answer = eval(line)
    except EvalrunError as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer, default=str), flush=True)
"""


class Process:
    """A Python of its own on a host; ``do`` evaluates an expression there, in terms of CHILD."""

    def __init__(self, env: dict[str, str]) -> None:
        argv = [sys.executable, "-c", CHILD]
        self._process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def send(self, expression: str) -> None:
        self._process.stdin.write(f"{expression}\n")
        self._process.stdin.flush()

    def receive(self):
        line = self._process.stdout.readline()
        assert line, "the process ended"
        return json.loads(line)

    def do(self, expression: str):
        self.send(expression)
        return self.receive()

    def until(self, expression: str):
        """Ask again and again until the answer is true."""
        return eventually(lambda: self.do(expression))

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def end(self) -> None:
        """Of its own accord, so that what it ran through is counted; by force where that takes too long."""
        if not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Host:
    """GPUs, a lease directory, and the processes that use them."""

    def __init__(self, place: Path) -> None:
        self.nvml = FakeNvml(place)
        self.slots = place / "slots"
        self._processes: list[Process] = []

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.end()

    def start(self, **env: str) -> Process:
        path = str(Path(pytest_evalrun.__file__).parents[1])
        base = {**os.environ, **self.nvml.env, "EVALRUN_SLOTS_DIR": str(self.slots), "PYTHONPATH": path}
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            base.pop(name, None)
        self._processes.append(Process({**base, **env}))
        return self._processes[-1]


def eventually(condition, seconds: float = 120.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it never happened")
