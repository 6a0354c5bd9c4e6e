"""What programs have in common that show a sample suite somewhere else: runs of pytest, and what must hold."""

from __future__ import annotations

import csv
import os
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
# A run takes seconds; one that does not end has failed, too.
MOST_SECONDS = 300


def shown(name: str, show: Callable[[ExitStack], int], trouble: type[Exception], ended: str) -> int:
    """Call ``show`` with what is to be ended after it, and return the exit code.

    ``trouble`` is why there is nothing to be shown; ``ended`` is said after Ctrl-C.
    """
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with ExitStack() as until_the_end:
            try:
                return show(until_the_end)
            finally:
                _deaf()
    except KeyboardInterrupt:
        print(f"\ninterrupted: {ended}", flush=True)
        return 130
    except trouble as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _deaf() -> None:
    """Somebody who presses Ctrl-C twice shall not leave anything behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@dataclass
class Run:
    """A pytest on a suite, in a work directory; what it writes is in a log beside that, of the same name or ``named``.

    ``suite`` and ``workdir`` are relative to ROOT; ``env`` has variables more.
    """

    suite: Path
    workdir: Path
    args: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    named: str | None = None

    @property
    def directory(self) -> Path:
        return ROOT / self.workdir / "latest"

    @property
    def log(self) -> Path:
        return ROOT / self.workdir.with_name(f"{self.named or self.workdir.name}.log")

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """Ended with the block, gently at first."""
        words = ["pytest", str(self.suite), *self.args, "--eval-workdir", str(self.workdir)]
        print(f"$ {shlex.join(words)}", flush=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        argv, env = [sys.executable, "-m", *words], os.environ | self.env
        with self.log.open("wb") as log:
            process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log)  # noqa: S603
        try:
            yield process
        finally:
            end(process)

    def ended(self, process: subprocess.Popen[bytes]) -> list[str]:
        """What went wrong with pytest itself."""
        try:
            code = process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"it did not end within {MOST_SECONDS} s; see {self.log}"]
        lines = self.text.splitlines()
        print(f"  {lines[-1].strip('= ') if lines else 'no output'}")
        return [f"exit code {code}; the end of {self.log}:\n" + "\n".join(lines[-30:])] if code else []

    def through(self) -> list[str]:
        """Run it to its end; what went wrong."""
        with self.started() as process:
            return self.ended(process)

    def rows(self) -> list[dict[str, str]]:
        """The lines of its summary."""
        with (self.directory / "summary" / "summary.csv").open(newline="", encoding="utf-8") as file:
            return [*csv.DictReader(file)]


def end(process: subprocess.Popen[bytes]) -> None:
    """By Ctrl-C of the terminal it was told already, and needs a moment to tidy up."""
    if process.poll() is None:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Each key whose values differ, with both."""
    keys = sorted({*here, *there})
    return [f"{key}: here {here.get(key)}, there {there.get(key)}" for key in keys if here.get(key) != there.get(key)]


@dataclass
class Verdict:
    """A line for each thing that must hold."""

    broken: list[str] = field(default_factory=list, kw_only=True)

    def holds(self, what: str, problems: Sequence[str]) -> None:
        print(f"  {'NO ' if problems else 'yes'}  {what}", *problems, sep="\n       ", flush=True)
        self.broken += problems

    def told(self) -> int:
        """Sum it up; the exit code is 0 where everything held."""
        print(f"\n{len(self.broken)} things did not hold" if self.broken else "\neverything held")
        return 1 if self.broken else 0
