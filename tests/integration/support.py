"""A suite on disk, and what a run left behind, for tests that drive real pytest."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warm import WarmPython

ECHO = '''
import os, time

class Model:
    """Answers with the input; logs every id it is asked when ASKED names a file."""

    def __init__(self, path=None, delay=0.0):
        self.delay = delay
        self.weight = open(path).read() if path else ""

    def predict(self, batch):
        if log := os.environ.get("ASKED"):
            with open(log, "a") as file:
                file.writelines(f"{sample.id}\\n" for sample in batch)
        time.sleep(self.delay)
        return [sample.input for sample in batch]
'''


LINUX = sys.platform == "linux"
EVALRUN = [sys.executable, "-c", "from pytest_evalrun.cli import main; main()"]


class Project:
    """A directory with one matrix suite ``evals/echo``: models x datasets of JSON lines."""

    # Forks what is waited for anyway. Without it all processes start from nothing, as a user's do.
    warm: WarmPython | None = None

    def __init__(self, root: Path) -> None:
        self.root = root
        self.suite = root / "evals" / "echo"

    def make(self, models=("a",), datasets=("one",), samples: int = 8, **top) -> Project:
        """``top`` overrides keys of the suite, ``models=[{...}]`` entries included."""
        self.suite.mkdir(parents=True, exist_ok=True)
        (self.root / "pytest.ini").write_text("[pytest]\n")
        (self.suite / "model.py").write_text(ECHO)
        for name in models:
            (self.suite / f"{name}.bin").write_text(f"weights of {name}")
        for name in datasets:
            self.dataset(name, samples)
        self.yaml(models, datasets, **top)
        return self

    def dataset(self, name: str, samples: int, wrong: int = 0) -> None:
        """``wrong`` references differ from what the model answers."""
        lines = [{"x": i, "y": -1 if i < wrong else i} for i in range(samples)]
        (self.suite / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def yaml(self, models, datasets, /, **top) -> None:
        content = {
            "adapter": "./model.py:Model",
            "models": [{"name": name, "path": f"{name}.bin"} for name in models],
            "datasets": [{"name": name, "path": f"{name}.jsonl"} for name in datasets],
            "format": "jsonl",
            "inputs": ["x"],
            "reference": "y",
            "metrics": ["exact_match"],
            "max_batch_size": 4,
        } | top
        # JSON is YAML, and quotes every odd name.
        (self.suite / "evalrun.yaml").write_text(json.dumps(content, ensure_ascii=False, indent=1))

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """In a process group of its own, so that a test can kill all of it."""
        if self.warm and LINUX and self.warm.takes(os.environ | env):
            return self.warm.start(self.command(*args)[2:], self.root, os.environ | env)
        return subprocess.Popen(
            self.command(*args),
            cwd=self.root,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *args: str, timeout: float = 300, **env: str) -> Ran:
        if self.warm and self.warm.takes(os.environ | env):
            _, _, *command = self.command(*(args or ("evals",)))  # without `python -m`
            return Ran(*self.warm.run(command, self.root, os.environ | env, timeout=timeout))
        process = self.start(*(args or ("evals",)), **env)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            kill_group(process)
        return Ran(process.returncode, output)

    def evalrun(self, *arguments: str, answer: str = "", as_user: Sequence[str] = ()) -> tuple[int, str, str]:
        """The command: its exit code, and what it wrote; never a traceback."""
        env = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        if self.warm and self.warm.takes(os.environ) and not as_user:
            command = ["evalrun", *arguments]
            code, output, errors = self.warm.run(command, self.root, env, answer=answer, apart=True)
            assert "Traceback" not in errors, errors
            return code, output, errors
        done = subprocess.run(
            [*as_user, *EVALRUN, *arguments],
            cwd=self.root,
            env=env,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    @property
    def workdir(self) -> Path:
        return self.root / "outputs" / "default"

    @property
    def latest(self) -> Path:
        return (self.workdir / "latest").resolve()

    def result(self, task: str, dataset: str) -> dict:
        return json.loads((self.latest / "results" / "echo" / task / f"{dataset}.json").read_text())

    def predictions(self, task: str, dataset: str) -> list[dict]:
        text = (self.latest / "predictions" / "echo" / task / f"{dataset}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def events(self) -> list[dict]:
        return [json.loads(line) for line in (self.latest / "events.jsonl").read_text().splitlines()]


class Ran(str):
    """How a pytest process ended, and what it said; text, for of other objects a failed assert shows 240 characters."""

    __slots__ = ("code", "output")
    code: int
    output: str

    def __new__(cls, code: int, output: str) -> Ran:
        ran = super().__new__(cls, f"exit code {code}\n{output}")
        ran.code, ran.output = code, output
        return ran

    def __contains__(self, text: str) -> bool:
        return text in self.output

    @property
    def counts(self) -> dict[str, int]:
        """What pytest's last line counts, warnings too: ``{"passed": 2, "error": 1}``."""
        *_, line = re.findall(r"^=* ?(\d+ .+) in [\d.]+s.*$", self.output, re.MULTILINE) or [""]
        return {kind.removesuffix("s"): int(count) for count, kind in re.findall(r"(\d+) (\w+)", line)}


def kill_group(process: subprocess.Popen[str]) -> None:
    """What is left of it. A leader that was reaped and is there again is another: PIDs come round in minutes here."""
    if process.returncode is None or not psutil.pid_exists(process.pid):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    end(process)


def kill_alone(process: subprocess.Popen[str]) -> None:
    """The launching process dies, its workers live on for a moment."""
    process.kill()
    end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.wait()
    if process.stdout:
        process.stdout.close()


def wait_for(condition, seconds: float = 120.0, process: subprocess.Popen[str] | None = None):
    """Poll until the condition is true; fails loudly when it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the process ended: {process.communicate()[0]}")
        time.sleep(0.01)
    raise AssertionError("it never happened")
